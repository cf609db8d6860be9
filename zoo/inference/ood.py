"""The OOD detector: whether an image resembles those that a run was validated on, before its probabilities are believed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError, ZooError
from zoo.core.files import replacing
from zoo.inference.image_statistics import contrast, image_statistics
from zoo.runs.run import Run

FILE = "ood.npz"
VERSION = 1
FALSE_FLAGS = 0.02  # of images like those of validation, half of it by each check
LEAST = 20  # validation images: fewer say too little of what images look like
MOST = 1500  # more would not fit into the ten megabytes that an OOD detector may take
NEIGHBOURS = 5
COMPONENTS = 20
FOLDS, REPEATS = 5, 4
FLAT = 16.0  # grey levels of contrast below which a flagged image is called blank
TINY = 1e-12
# what an image is whose negative, or half turn, or quarter turn, resembles the validation images
LIKELY = ("inverted?", "upside down?", "turned to its side?", "turned to its side?")


@dataclass(frozen=True)
class OODScore:
    """How unlike the validation images one image is.

    Attributes:
        flagged: whether the score is above the threshold.
        score: the distance of the worse check in units of that check's limit, ≥ 0.
        threshold: above which an image is flagged: 1.
        reason: what is unusual; "" if not flagged.
    """

    flagged: bool
    score: float
    threshold: float
    reason: str


@dataclass(frozen=True)
class Neighbours:
    """Distance to the fifth nearest of the reference images, in the directions of their features.

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
        """`(N,)` for features `(N, D)`; in float64, since a weak network's directions hardly differ."""
        cosine = _directions(features) @ self._reference.T
        # a row's float32 length is not 1 to the last digit, hence the clip
        squares = (2 - 2 * cosine).clip(0)
        place = min(NEIGHBOURS, squares.shape[1]) - 1
        return np.asarray(np.sqrt(np.partition(squares, place, axis=1)[:, place]))


@dataclass(frozen=True)
class Subspace:
    """Distance from what principal components know of the image statistics, within and beside their subspace.

    The combined index of Yue and Qin 2001 (Ind. Eng. Chem. Res. 40, 4403): mean square of the whitened components
    (Hotelling's T² over their number) plus the squared residual over its mean; here its root.
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
    """Two checks fitted on validation images, each with a limit: the features of the network, and statistics of the pixels.

    `rate` is the share of images like those of validation that is expected to be flagged, at most.
    """

    neighbours: Neighbours
    subspace: Subspace
    feature_limit: float
    pixel_limit: float
    image_size: int
    images: int
    rate: float

    def score(self, features: np.ndarray, images: np.ndarray) -> list[OODScore]:
        """Judge images.

        Args:
            features: `(N, D)` float32, by `zoo.inference.features.with_features` of the run's network.
            images: the same images as the network saw them, `(N, S, S)` uint8.

        Raises:
            ZooError: the shapes are not those that the OOD detector was fitted on.
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
        """Write the OOD detector, atomically.

        Raises:
            OSError: it cannot be written.
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
        """Read an OOD detector.

        Raises:
            ZooError: the file is damaged, or of another version of zoo.
        """
        try:
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            version = int(arrays["version"])
            if version == VERSION:
                return cls._of(arrays)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
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
            raise ValueError("arrays of shapes that do not belong together")
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

    An image that a check was fitted on looks nearer than it is. The limits are therefore quantiles of the distances of images
    that were left out, with their patients: five folds, drawn four times. They are the quantiles of split conformal
    prediction (Vovk, Gammerman and Shafer 2005), the k-th smallest of n with k = ⌈(n + 1)(1 - false_flags / 2)⌉; where there
    are too few images for that, the largest.

    Args:
        features: `(N, D)` of the validation images.
        images: the same images, `(N, S, S)` uint8.
        patients: whose they are; each image its own patient's if None.
        false_flags: wanted share of flags on such images, half of it for each check.
        seed: of the folds, and of the choice where there are more than `MOST` images.

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
    # as many components in the folds as in the whole, or their distances would not be of one scale
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
    """Which of so many validation images an OOD detector is fitted on: all, or `MOST` of them, in ascending order."""
    if count <= MOST:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MOST, replace=False))


def load_detector(run: Run) -> OODDetector | None:
    """The OOD detector of a run; None where it has none, as one trained before there were OOD detectors.

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
    """The `rank`-th smallest distance to a check fitted without the image's fold, the mean over the assignments.

    The mean is of the quantiles: distances averaged first would be less extreme than those of a new image.
    """
    limits = []
    for fold in folds:
        distances = np.empty(len(values))
        for number in range(int(fold.max()) + 1):
            out = fold == number
            distances[out] = fit(values[~out]).distance(values[out])
        limits.append(np.partition(distances, rank - 1)[rank - 1])
    return max(float(np.mean(limits)), TINY)
