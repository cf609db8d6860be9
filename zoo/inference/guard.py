"""The guard: whether a film resembles those that a run was validated on, before its probabilities are believed."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import DataError, ZooError
from zoo.files import replacing
from zoo.inference.film_statistics import contrast, film_statistics
from zoo.run import Run

FILE = "guard.npz"
VERSION = 1
FALSE_FLAGS = 0.02  # of films like those of validation, half of it by each check
LEAST = 20  # validation films: fewer say too little of what films look like
MOST = 1500  # more would not fit into the ten megabytes that a guard may take
NEIGHBOURS = 5
COMPONENTS = 20
FOLDS, REPEATS = 5, 4
FLAT = 16.0  # grey levels of contrast below which a flagged film is called blank
TINY = 1e-12
# what a film is whose negative, or half turn, or quarter turn, resembles the validation films
LIKELY = ("inverted?", "upside down?", "turned to its side?", "turned to its side?")


@dataclass(frozen=True)
class Verdict:
    """What the guard says of one film.

    `distance` is that of the worse check, in units of its limit, so that `limit` is 1; `reason` is "" if not flagged.
    """

    flagged: bool
    distance: float
    limit: float
    reason: str


@dataclass(frozen=True)
class Neighbours:
    """Distance to the fifth nearest of the reference films, in the directions of their features.

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
    """Distance from what principal components know of the film statistics, within and beside their subspace.

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
        least = max(1e-6 * spread, TINY)  # where films do not vary at all
        beside = max(float(np.linalg.norm(deviations[kept:])), least)
        return cls(mean, axes[:kept], deviations[:kept].clip(least), beside)

    def distance(self, statistics: np.ndarray) -> np.ndarray:
        """`(N,)` for statistics `(N, M)`."""
        centred = statistics - self.mean
        within = centred @ self.axes.T
        beside = np.square(centred - within @ self.axes).sum(axis=1) / self.residual**2
        return np.asarray(np.sqrt(np.square(within / self.deviations).mean(axis=1) + beside))


@dataclass(frozen=True)
class Guard:
    """Two checks fitted on validation films, each with a limit: the features of the network, and statistics of the pixels.

    `rate` is the share of films like those of validation that is expected to be flagged, at most.
    """

    neighbours: Neighbours
    subspace: Subspace
    feature_limit: float
    pixel_limit: float
    image_size: int
    films: int
    rate: float

    def judge(self, features: np.ndarray, films: np.ndarray) -> list[Verdict]:
        """Judge films.

        Args:
            features: `(N, D)` float32, by `zoo.inference.features.with_features` of the run's network.
            films: the same films as the network saw them, `(N, S, S)` uint8.

        Raises:
            ZooError: the shapes are not those that the guard was fitted on.
        """
        wanted = (self.neighbours.reference.shape[1], (self.image_size, self.image_size))
        if (features.shape[1], films.shape[1:]) != wanted or len(features) != len(films):
            raise ZooError(
                f"the guard takes {wanted[0]} features of films of {self.image_size}×{self.image_size} pixels, not features "
                f"{features.shape} and films {films.shape}: was it fitted for another network?"
            )
        if not len(films):
            return []
        by_features = self.neighbours.distance(features) / self.feature_limit
        by_features = np.where(np.isfinite(features).all(axis=1), by_features, np.inf)
        by_pixels = self.subspace.distance(film_statistics(films)) / self.pixel_limit
        verdicts = []
        for film, seen, drawn in zip(films, by_features.tolist(), by_pixels.tolist(), strict=True):
            distance = max(seen, drawn)
            reason = "" if distance <= 1 else self._reason(film, seen, drawn)
            verdicts.append(Verdict(distance > 1, distance, 1.0, reason))
        return verdicts

    def _reason(self, film: np.ndarray, by_features: float, by_pixels: float) -> str:
        if by_pixels <= 1:
            return "its features are unlike those of the validation films"
        if contrast(film[None])[0] < FLAT:
            return "almost no contrast: blank?"
        others = np.stack([255 - film, film[::-1, ::-1], np.rot90(film), np.rot90(film, -1)])
        distances = self.subspace.distance(film_statistics(others))
        if distances.min() <= self.pixel_limit:
            return f"unlike the validation films: {LIKELY[int(distances.argmin())]}"
        both = " in its pixels and its features" if by_features > 1 else " in its pixels"
        return f"unlike the validation films{both}"

    def save(self, file: Path) -> None:
        """Write the guard, atomically.

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
            "counts": np.array([self.image_size, self.films]),
            "rate": np.array(self.rate),
        }
        with replacing(file) as unfinished, unfinished.open("wb") as out:
            np.savez(out, **arrays)

    @classmethod
    def load(cls, file: Path) -> Guard:
        """Read a guard.

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
            raise ZooError(f"{file} cannot be read as a guard ({error}). Delete it and fit it again.") from error
        raise ZooError(f"{file} is a guard of version {version}, this zoo reads {VERSION}. Delete it and fit it again.")

    @classmethod
    def _of(cls, arrays: dict[str, np.ndarray]) -> Guard:
        for name, values in arrays.items():
            if not np.isfinite(values).all():
                raise ValueError(f"{name} is not finite")
        reference, axes, mean, deviations = (arrays[n] for n in ("reference", "axes", "mean", "deviations"))
        if reference.ndim != 2 or axes.shape != (len(deviations), len(mean)):
            raise ValueError("arrays of shapes that do not belong together")
        by_features, by_pixels = arrays["limits"].tolist()
        size, films = arrays["counts"].tolist()
        subspace = Subspace(mean, axes, deviations, float(arrays["residual"]))
        return cls(Neighbours(reference), subspace, by_features, by_pixels, size, films, float(arrays["rate"]))


def fit_guard(
    features: np.ndarray,
    films: np.ndarray,
    patients: Sequence[str] | None = None,
    *,
    false_flags: float = FALSE_FLAGS,
    seed: int = 0,
) -> Guard:
    """Fit the guard.

    A film that a check was fitted on looks nearer than it is. The limits are therefore quantiles of the distances of films
    that were left out, with their patients: five folds, drawn four times. They are the quantiles of split conformal
    prediction (Vovk, Gammerman and Shafer 2005), the k-th smallest of n with k = ⌈(n + 1)(1 - false_flags / 2)⌉; where there
    are too few films for that, the largest.

    Args:
        features: `(N, D)` of the validation films.
        films: the same films, `(N, S, S)` uint8.
        patients: whose they are; each film its own patient's if None.
        false_flags: wanted share of flags on such films, half of it for each check.
        seed: of the folds, and of the choice where there are more than `MOST` films.

    Raises:
        DataError: fewer than `LEAST` films, or features that are not finite.
    """
    count = len(films)
    if count < LEAST:
        raise DataError(f"a guard needs at least {LEAST} validation films, there are {count}.")
    if not np.isfinite(features).all():
        raise DataError("the network gives features that are not finite: no guard can be fitted.")
    chosen = choose(count, seed)
    features, films = features[chosen], films[chosen]
    names = np.arange(count)[chosen] if patients is None else np.asarray(patients, dtype=str)[chosen]
    statistics = film_statistics(films)
    rank = min(int(np.ceil((len(films) + 1) * (1 - false_flags / 2))), len(films))
    folds = _folds(names, seed)
    # as many components in the folds as in the whole, or their distances would not be of one scale
    subspace = partial(Subspace.fit, components=max(1, min(COMPONENTS, len(films) // 10)))
    return Guard(
        neighbours=Neighbours.fit(features),
        subspace=subspace(statistics),
        feature_limit=_limit(Neighbours.fit, features, folds, rank),
        pixel_limit=_limit(subspace, statistics, folds, rank),
        image_size=films.shape[1],
        films=len(films),
        rate=2 * (len(films) + 1 - rank) / (len(films) + 1),
    )


def choose(count: int, seed: int = 0) -> np.ndarray:
    """Which of so many validation films a guard is fitted on: all, or `MOST` of them, in ascending order."""
    if count <= MOST:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MOST, replace=False))


def load_guard(run: Run) -> Guard | None:
    """The guard of a run; None where it has none, as one trained before there were guards.

    Raises:
        ZooError: the file is damaged.
    """
    file = run.path / FILE
    return Guard.load(file) if file.exists() else None


def _directions(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(TINY)


def _folds(names: np.ndarray, seed: int) -> list[np.ndarray]:
    """`REPEATS` assignments of the films to folds, each patient's films in one."""
    _, patient = np.unique(names, return_inverse=True)
    generator = np.random.default_rng(seed)
    number = int(patient.max()) + 1
    folds = min(FOLDS, number)
    return [(generator.permutation(number) % folds)[patient] for _ in range(REPEATS)]


def _limit(fit: Callable[[np.ndarray], Any], values: np.ndarray, folds: list[np.ndarray], rank: int) -> float:
    """The `rank`-th smallest distance to a check fitted without the film's fold, the mean over the assignments.

    The mean is of the quantiles: distances averaged first would be less extreme than those of a new film.
    """
    limits = []
    for fold in folds:
        distances = np.empty(len(values))
        for number in range(int(fold.max()) + 1):
            out = fold == number
            distances[out] = fit(values[~out]).distance(values[out])
        limits.append(np.partition(distances, rank - 1)[rank - 1])
    return max(float(np.mean(limits)), TINY)
