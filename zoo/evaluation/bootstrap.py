"""Confidence intervals from a bootstrap over patients (Efron & Tibshirani 1993, ch. 8: resample the independent unit).

Images of one patient are not independent, so patients are drawn with replacement, and every image weighs as often as its
patient was drawn. The images are sorted once per label; replicates then cost one sparse product per label. Of a single
patient there is nothing to resample: whatever number R of replicates is asked for, there are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

_CHUNK = 4_000_000  # numbers in the largest temporary array, 32 MB
_AT_ONCE = 64  # replicates of an AUROC: a row of them is summed in one go and stays in the cache


def patient_codes(patients: Sequence[str] | np.ndarray | pd.Series) -> tuple[np.ndarray, int]:
    """Number the patients: the code of each image `(N,)` and how many there are.

    Codes follow the sorted names, so the draws do not depend on the order of the images. An image without a patient (missing
    or blank) stands for one of its own.
    """
    names = pd.Series(patients).reset_index(drop=True)
    unknown = unknown_patients(names)
    codes, found = pd.factorize(names.where(~unknown).astype(str).where(~unknown), sort=True)
    codes = codes.astype(np.intp)
    codes[unknown.to_numpy()] = len(found) + np.arange(int(unknown.sum()))
    return codes, len(found) + int(unknown.sum())


def unknown_patients(patients: Sequence[str] | np.ndarray | pd.Series) -> pd.Series:
    """Which images `(N,)` have no patient: missing or blank."""
    names = pd.Series(patients)
    return names.isna() | (names.astype(str).str.strip() == "")


def patient_weights(patients: Sequence[str] | np.ndarray | pd.Series, replicates: int, seed: int) -> np.ndarray:
    """How often each image counts in each replicate, float64 `(R, N)`: as often as its patient was drawn."""
    return np.concatenate([np.empty((0, len(patients))), *weight_chunks(patients, replicates, seed)])


def weight_chunks(
    patients: Sequence[str] | np.ndarray | pd.Series, replicates: int, seed: int, chunk: int | None = None
) -> Iterator[np.ndarray]:
    """The rows of `patient_weights` in pieces `(≤ chunk, N)`, so that memory stays bounded whatever R is.

    Equal patients, R and seed give equal draws, whatever `chunk` is. Without
    it a piece holds as many replicates as fit into 32 MB.
    """
    codes, number = patient_codes(patients)
    size = chunk or max(1, _CHUNK // max(len(codes), number, 1))
    for counts in _draws(number, replicates, seed, size):
        yield counts[:, codes]


def auroc_replicates(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: Sequence[str] | np.ndarray | pd.Series,
    replicates: int,
    seed: int,
) -> np.ndarray:
    """AUROC of every label in every resample of the patients, `(R, K)`, from the draws of `weight_chunks`.

    Args:
        labels: `(N, K)`, 1, 0 or NaN for unknown.
        scores: `(N, K)`, higher means more likely positive.
        patients: `(N,)`.
        replicates: how many times the patients are drawn, R.
        seed: of the draws. Calls with equal patients, R and seed may be subtracted row by row: they are paired.

    Returns:
        NaN where a resample lacks one of the classes, and for a label with a NaN score on an image whose label is known.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    codes, number = patient_codes(patients)
    usable = ~(np.isnan(scores) & ~np.isnan(labels)).any(axis=0)
    rankings = {int(k): _Ranking(labels[:, k], scores[:, k], codes, number) for k in np.flatnonzero(usable)}
    found = np.full((replicates if number > 1 else 0, labels.shape[1]), np.nan)
    start = 0
    for counts in _draws(number, replicates, seed, _AT_ONCE):
        stop = start + len(counts)
        drawn = np.ascontiguousarray(counts.T)
        for k, ranking in rankings.items():
            found[start:stop, k] = ranking.auroc(drawn)
        start = stop
    return found


def _draws(patients: int, replicates: int, seed: int, chunk: int) -> Iterator[np.ndarray]:
    """Draw counts of patients in chunks `(≤ chunk, patients)`; the same counts whatever the chunk."""
    rng = np.random.default_rng(seed)
    for start in range(0, replicates if patients > 1 else 0, chunk):
        rows = [
            np.bincount(rng.integers(0, patients, patients), minlength=patients)
            for _ in range(min(chunk, replicates - start))
        ]
        yield np.array(rows, dtype=np.float64)


def mean_replicates(
    values: np.ndarray, patients: Sequence[str] | np.ndarray | pd.Series, replicates: int, seed: int
) -> np.ndarray:
    """Means over images of `values` `(N, M)`, NaN left out, in every resample of the patients `(R, M)`."""
    codes, number = patient_codes(patients)
    columns = np.concatenate([np.nan_to_num(values), ~np.isnan(values)], axis=1)
    tallies = np.stack([np.bincount(codes, column, minlength=number) for column in columns.T], axis=1)
    total, count = np.split(drawn_sums(tallies, number, replicates, seed), 2, axis=1)
    with np.errstate(invalid="ignore"):
        return total / count


def drawn_sums(tallies: np.ndarray, patients: int, replicates: int, seed: int) -> np.ndarray:
    """Sums over the drawn patients `(R, M)` of what each of them adds `(patients, M)`."""
    draws = _draws(patients, replicates, seed, max(1, _CHUNK // max(patients, 1)))
    return np.concatenate([np.empty((0, tallies.shape[1])), *(counts @ tallies for counts in draws)])


class _Ranking:
    """One label's images counted by place and patient, so that a weighting of the patients `(P, R)` gives its AUROC, ties exact.

    With G distinct scores among the positives, row 2g+1 of the negatives counts those that equal the g-th of them, row 2g
    those between it and the one before; row g of the positives counts those of that score. The matrices are sparse: most
    patients have a few images.
    """

    def __init__(self, labels: np.ndarray, scores: np.ndarray, codes: np.ndarray, patients: int) -> None:
        from scipy.sparse import csr_array

        def count(rows: np.ndarray, which: np.ndarray, height: int) -> csr_array:
            return csr_array((np.ones(len(rows)), (rows, codes[which])), (height, patients))

        known = ~np.isnan(labels)
        positive, negative = np.flatnonzero(known & (labels > 0.5)), np.flatnonzero(known & (labels <= 0.5))
        distinct, group = np.unique(scores[positive], return_inverse=True)
        below = scores[negative]
        place = np.searchsorted(distinct, below, "left") + np.searchsorted(distinct, below, "right")
        self.negative = count(place, negative, 2 * len(distinct) + 1)
        self.positive = count(group, positive, len(distinct))

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """AUROC `(R,)` from the weights of the patients `(P, R)`."""
        negative, positive = self.negative @ weights, self.positive @ weights
        cumulated = np.cumsum(negative, axis=0)
        below, total = cumulated[0:-1:2], cumulated[-1]
        below += negative[1::2] / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.einsum("gr,gr->r", positive, below) / (positive.sum(axis=0) * total)
        return np.asarray(found)


def percentile_interval(values: np.ndarray, level: float) -> tuple[float, float, int]:
    """The percentile interval of replicates `(R,)` and how many of them were undefined and left out.

    The bounds are NaN where more than half of the replicates are undefined, or there are none.
    """
    defined = values[~np.isnan(values)]
    dropped = len(values) - len(defined)
    if not len(defined) or dropped > len(values) / 2:
        return float("nan"), float("nan"), dropped
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), dropped
