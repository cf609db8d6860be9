"""The out-of-distribution (OOD) detector: does an image resemble those that a run was validated on?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError, ZooError
from zoo.core.files import replacing
from zoo.core.npz import read_arrays
from zoo.inference.image_statistics import contrast, image_statistics
from zoo.runs.run import Run

FILE = "ood.npz"
VERSION = 1
FALSE_FLAGS = 0.02  # share of images like those of validation; each check gets half
LEAST = 20  # validation images that fitting needs
MOST = 1500  # validation images used: the file stays below 10 MB
NEIGHBOURS = 5
COMPONENTS = 20
FOLDS, REPEATS = 5, 4
FLAT = 16.0  # gray levels: a flagged image of less contrast is reported as blank
TINY = 1e-12
# the likely fault of an image whose negative, half turn or quarter turn resembles the validation images
LIKELY = ("inverted?", "upside down?", "turned to its side?", "turned to its side?")


@dataclass(frozen=True)
class OODScore:
    """How much one image differs from the validation images.

    Attributes:
        flagged: whether the score is above the threshold.
        score: the larger of the two checks' distances, each divided by its limit; ≥ 0.
        threshold: images with a higher score are flagged; always 1.
        reason: what is unusual; "" if not flagged.
    """

    flagged: bool
    score: float
    threshold: float
    reason: str


@dataclass(frozen=True)
class Neighbours:
    """Distance to the fifth nearest reference image, between features scaled to length 1.

    Deep nearest neighbours: Sun, Ming, Zhu and Li 2022, arXiv:2204.06507. `reference` `(M, D)` float32 has rows of length 1.
    """

    reference: np.ndarray

    @cached_property
    def _reference(self) -> np.ndarray:
        return self.reference.astype(np.float64)

    @classmethod
    def fit(cls, features: np.ndarray) -> Neighbours:
        return cls(_directions(features).astype(np.float32))

    def distance(self, features: np.ndarray) -> np.ndarray:
        """`(N,)` for features `(N, D)`; in float64, since the directions of a weak network hardly differ."""
        cosine = _directions(features) @ self._reference.T
        # a row's float32 length is not 1 to the last digit, hence the clip
        squares = (2 - 2 * cosine).clip(0)
        place = min(NEIGHBOURS, squares.shape[1]) - 1
        return np.asarray(np.sqrt(np.partition(squares, place, axis=1)[:, place]))


@dataclass(frozen=True)
class Subspace:
    """Distance of image statistics from their mean, within and outside the subspace of their principal components.

    The combined index of Yue and Qin 2001 (Ind. Eng. Chem. Res. 40, 4403): mean square of the whitened components
    (Hotelling's T² over their number) plus the squared residual over its mean; here the root of that sum.
    """

    mean: np.ndarray
    axes: np.ndarray  # (components, statistics), rows of length 1
    deviations: np.ndarray
    residual: float

    @classmethod
    def fit(cls, statistics: np.ndarray, components: int = COMPONENTS) -> Subspace:
        mean = statistics.mean(axis=0)
        _, values, axes = np.linalg.svd(statistics - mean, full_matrices=False)
        kept = min(components, len(values))
        deviations = values / np.sqrt(len(statistics))
        spread = float(np.linalg.norm(deviations))
        least = max(1e-6 * spread, TINY)  # where images do not vary at all
        beside = max(float(np.linalg.norm(deviations[kept:])), least)
        return cls(mean, axes[:kept], deviations[:kept].clip(least), beside)

    def distance(self, statistics: np.ndarray) -> np.ndarray:
        """`(N,)` for statistics `(N, M)`."""
        centred = statistics - self.mean
        within = centred @ self.axes.T
        beside = np.square(centred - within @ self.axes).sum(axis=1) / self.residual**2
        return np.asarray(np.sqrt(np.square(within / self.deviations).mean(axis=1) + beside))


@dataclass(frozen=True)
class OODDetector:
    """Two checks fitted on validation images, each with a limit: one on network features, one on pixel statistics.

    At most a share `rate` of images like those of validation is expected to be flagged.
    """

    neighbours: Neighbours
    subspace: Subspace
    feature_limit: float
    pixel_limit: float
    image_size: int
    images: int
    rate: float

    def score(self, features: np.ndarray, images: np.ndarray) -> list[OODScore]:
        """Score images.

        Args:
            features: `(N, D)` float32, by `zoo.inference.features.with_features` of the run's network.
            images: the same images as prepared for the network, `(N, S, S)` uint8.

        Raises:
            ZooError: the shapes differ from those that the detector was fitted on.
        """
        wanted = (self.neighbours.reference.shape[1], (self.image_size, self.image_size))
        if (features.shape[1], images.shape[1:]) != wanted or len(features) != len(images):
            raise ZooError(
                f"the OOD detector takes {wanted[0]} features of images of {self.image_size}×{self.image_size} pixels, not "
                f"features {features.shape} and images {images.shape}: was it fitted for another network?"
            )
        if not len(images):
            return []
        by_features = self.neighbours.distance(features) / self.feature_limit
        by_features = np.where(np.isfinite(features).all(axis=1), by_features, np.inf)
        by_pixels = self.subspace.distance(image_statistics(images)) / self.pixel_limit
        scores = []
        for image, seen, drawn in zip(images, by_features.tolist(), by_pixels.tolist(), strict=True):
            distance = max(seen, drawn)
            reason = "" if distance <= 1 else self._reason(image, seen, drawn)
            scores.append(OODScore(distance > 1, distance, 1.0, reason))
        return scores

    def _reason(self, image: np.ndarray, by_features: float, by_pixels: float) -> str:
        if by_pixels <= 1:
            return "its features are unlike those of the validation images"
        if contrast(image[None])[0] < FLAT:
            return "almost no contrast: blank?"
        others = np.stack([255 - image, image[::-1, ::-1], np.rot90(image), np.rot90(image, -1)])
        distances = self.subspace.distance(image_statistics(others))
        if distances.min() <= self.pixel_limit:
            return f"unlike the validation images: {LIKELY[int(distances.argmin())]}"
        both = " in its pixels and its features" if by_features > 1 else " in its pixels"
        return f"unlike the validation images{both}"

    def save(self, file: Path) -> None:
        """Write the detector atomically.

        Raises:
            OSError: the file cannot be written.
        """
        subspace = self.subspace
        arrays: dict[str, Any] = {
            "version": np.array(VERSION),
            "reference": self.neighbours.reference,
            "mean": subspace.mean,
            "axes": subspace.axes,
            "deviations": subspace.deviations,
            "residual": np.array(subspace.residual),
            "limits": np.array([self.feature_limit, self.pixel_limit]),
            "counts": np.array([self.image_size, self.images]),
            "rate": np.array(self.rate),
        }
        with replacing(file) as unfinished, unfinished.open("wb") as out:
            np.savez(out, **arrays)

    @classmethod
    def load(cls, file: Path) -> OODDetector:
        """Read a detector.

        Raises:
            ZooError: the file is damaged, or from another version of zoo.
        """
        try:
            arrays = read_arrays(file)
            version = int(arrays["version"])
            if version == VERSION:
                return cls._of(arrays)
        except (DataError, OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ZooError(
                f"{file} cannot be read as an OOD detector ({error}). Delete it and fit it again."
            ) from error
        raise ZooError(
            f"{file} is an OOD detector of version {version}, this zoo reads {VERSION}. Delete it and fit it again."
        )

    @classmethod
    def _of(cls, arrays: dict[str, np.ndarray]) -> OODDetector:
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name} is not finite")
        reference, axes, mean, deviations = (arrays[n] for n in ("reference", "axes", "mean", "deviations"))
        if reference.ndim != 2 or axes.shape != (len(deviations), len(mean)):
            raise ValueError("shapes of its arrays do not match")
        by_features, by_pixels = arrays["limits"].tolist()
        size, images = arrays["counts"].tolist()
        subspace = Subspace(mean, axes, deviations, float(arrays["residual"]))
        return cls(Neighbours(reference), subspace, by_features, by_pixels, size, images, float(arrays["rate"]))


def fit_detector(
    features: np.ndarray,
    images: np.ndarray,
    patients: Sequence[str] | None = None,
    *,
    false_flags: float = FALSE_FLAGS,
    seed: int = 0,
) -> OODDetector:
    """Fit the OOD detector.

    A check gives too small a distance for an image it was fitted on. So each limit is a quantile of cross-validated distances:
    five folds by patient, drawn four times. The quantile is that of split conformal prediction (Vovk, Gammerman and Shafer
    2005), the k-th smallest of n with k = ⌈(n + 1)(1 - false_flags / 2)⌉, or the largest if there are too few images.

    Args:
        features: `(N, D)` of the validation images.
        images: the same images, `(N, S, S)` uint8.
        patients: one per image; None: each image is of another patient.
        false_flags: share of such images to be flagged, half of it by each check.
        seed: of the folds, and of the sample if there are more than `MOST` images.

    Raises:
        DataError: fewer than `LEAST` images, or features that are not finite.
    """
    count = len(images)
    if count < LEAST:
        raise DataError(f"an OOD detector needs at least {LEAST} validation images, there are {count}.")
    if not np.isfinite(features).all():
        raise DataError("the network gives features that are not finite: no OOD detector can be fitted.")
    chosen = choose(count, seed)
    features, images = features[chosen], images[chosen]
    names = np.arange(count)[chosen] if patients is None else np.asarray(patients, dtype=str)[chosen]
    statistics = image_statistics(images)
    rank = min(int(np.ceil((len(images) + 1) * (1 - false_flags / 2))), len(images))
    folds = _folds(names, seed)
    # the folds use as many components as the final fit, so that distances have one scale
    subspace = partial(Subspace.fit, components=max(1, min(COMPONENTS, len(images) // 10)))
    return OODDetector(
        neighbours=Neighbours.fit(features),
        subspace=subspace(statistics),
        feature_limit=_limit(Neighbours.fit, features, folds, rank),
        pixel_limit=_limit(subspace, statistics, folds, rank),
        image_size=images.shape[1],
        images=len(images),
        rate=2 * (len(images) + 1 - rank) / (len(images) + 1),
    )


def choose(count: int, seed: int = 0) -> np.ndarray:
    """Rows of the `count` validation images to fit on: all, or a sample of `MOST`, in ascending order."""
    if count <= MOST:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MOST, replace=False))


def load_detector(run: Run) -> OODDetector | None:
    """The OOD detector of a run; None if it has none.

    Raises:
        ZooError: the file is damaged.
    """
    file = run.path / FILE
    return OODDetector.load(file) if file.exists() else None


def _directions(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(TINY)


def _folds(names: np.ndarray, seed: int) -> list[np.ndarray]:
    """`REPEATS` assignments of the images to folds, each patient's images in one."""
    _, patient = np.unique(names, return_inverse=True)
    generator = np.random.default_rng(seed)
    number = int(patient.max()) + 1
    folds = min(FOLDS, number)
    return [(generator.permutation(number) % folds)[patient] for _ in range(REPEATS)]


def _limit(fit: Callable[[np.ndarray], Any], values: np.ndarray, folds: list[np.ndarray], rank: int) -> float:
    """The `rank`-th smallest cross-validated distance, averaged over the assignments.

    Quantiles are averaged, not distances, which would then be less extreme than those of a new image.
    """
    limits = []
    for fold in folds:
        distances = np.empty(len(values))
        for number in range(int(fold.max()) + 1):
            out = fold == number
            distances[out] = fit(values[~out]).distance(values[out])
        limits.append(np.partition(distances, rank - 1)[rank - 1])
    return max(float(np.mean(limits)), TINY)
