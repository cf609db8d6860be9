"""AUROCs of several readings of the same images, and how they vary together through the patients."""

from __future__ import annotations

import math

import numpy as np

from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.delong import DeLong
from zoo.evaluation.influence import placements


def jackknife_covariance(left_out: np.ndarray) -> np.ndarray:
    """The covariance `(M, M)` of M figures from their values with each of P patients left out, `(P, M)`.

    (P − 1) / P times the sum of products of deviations from their mean (Efron & Tibshirani 1993, section 11.5).
    """
    patients, figures = left_out.shape
    if not patients:
        return np.full((figures, figures), math.nan)
    centred = left_out - left_out.mean(axis=0)
    return np.asarray((patients - 1) / patients * (centred.T @ centred))


def jackknife_aurocs(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> DeLong:
    """AUROCs of M scores and their covariance by leaving out one patient with all images at a time.

    Args:
        labels: `(N,)`, 1, 0 or NaN for unknown; the latter are left out.
        scores: finite `(N, M)`, higher meaning more likely positive; NaN where there is none.
        patients: `(N,)`.

    Returns:
        NaN for a score that lacks a class, or has all images of one class from a single patient.
    """
    codes, number = patient_codes(patients)
    # equal columns are worked through once: a model stands beside each of several readers
    columns, place = np.unique(np.where(np.isnan(scores), np.inf, scores), axis=1, return_inverse=True)
    values, left_out = np.empty(columns.shape[1]), np.empty((number, columns.shape[1]))
    for k in range(columns.shape[1]):
        known = ~np.isnan(labels) & np.isfinite(columns[:, k])
        chosen = columns[known, k], codes[known], labels[known] > 0.5
        values[k], left_out[:, k] = _left_out(*chosen, number)
    place = place.reshape(-1)
    covariance = jackknife_covariance(left_out[np.unique(codes[~np.isnan(labels)])])
    return DeLong(values[place], covariance[np.ix_(place, place)])


def _left_out(scores: np.ndarray, codes: np.ndarray, positive: np.ndarray, number: int) -> tuple[float, np.ndarray]:
    """AUROC, and AUROC without each of the patients `(P,)`."""
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        return math.nan, np.full(number, math.nan)
    value, above, below = placements(positive.astype(float), scores)
    total = m * n * value
    gone = np.bincount(codes[positive], n * above, number) + np.bincount(codes[~positive], m * below, number)
    own = np.bincount(codes[positive], minlength=number), np.bincount(codes[~positive], minlength=number)
    order, ends = np.argsort(codes, kind="stable"), np.cumsum(own[0] + own[1])
    for patient in np.flatnonzero((own[0] > 0) & (own[1] > 0)):  # pairs within a patient were taken away twice
        here = order[ends[patient] - own[0][patient] - own[1][patient] : ends[patient]]
        gone[patient] -= successes(scores[here][~positive[here]], scores[here][positive[here]]).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return value, (total - gone) / ((m - own[0]) * (n - own[1]))


def successes(negative: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Of each negative and each positive score, `(n, m)`: 1 where the positive is higher, ½ where they are equal."""
    return np.asarray((positive > negative[:, None]) + 0.5 * (positive == negative[:, None]))


def one_shot_variance(labels: np.ndarray, first: np.ndarray, second: np.ndarray | None, patients: np.ndarray) -> float:
    """Gallas' one-shot variance of the mean AUROC of J readers, or of its difference between two modalities.

    The square of the mean over pairs of a positive and a negative image, minus the mean product of two such pairs that share
    neither reader nor patient, which estimates the square without bias (Gallas 2006, Academic Radiology 13). Where patients
    have several images, they take the place of his cases. With one reader the variance is that of fixed readers.

    Args:
        labels: `(N,)`, 1, 0 or NaN for unknown.
        first: `(N, J)`, every reader's score of every image; without NaN.
        second: the same of another modality, to be subtracted.
        patients: `(N,)`.

    Returns:
        The variance, which an unbiased estimate may give below 0; NaN where no two such pairs exist.
    """
    known = ~np.isnan(labels)
    positive, codes = labels[known] > 0.5, patient_codes(np.asarray(patients)[known])[0]
    tables = [_by_patient(column, positive, codes) for column in first[known].T]
    if second is not None:
        tables = [a - _by_patient(b, positive, codes) for a, b in zip(tables, second[known].T, strict=True)]
    counts = _by_patient(None, positive, codes)
    mixed = _mixed(positive, codes)
    readers = range(len(tables))
    couples = [(r, s) for r in readers for s in readers if (r != s or len(tables) == 1)]
    pairs = _apart(counts, counts, mixed) * len(couples)
    if not counts.size or pairs <= 0:
        return math.nan
    mean = float(np.sum(tables) / (counts.sum() * len(tables)))
    return mean**2 - sum(_apart(tables[r], tables[s], mixed) for r, s in couples) / pairs


def _by_patient(scores: np.ndarray | None, positive: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Sums of successes by the negative's and the positive's patient, `(Pn, Pp)`; without scores the number of pairs."""
    if scores is None:
        pairs = np.ones((int((~positive).sum()), int(positive.sum())))
    else:
        pairs = successes(scores[~positive], scores[positive])
    for axis, own in enumerate((codes[~positive], codes[positive])):
        order = np.argsort(own, kind="stable")
        starts = np.flatnonzero(np.diff(own[order], prepend=-1))
        if len(own):
            pairs = np.add.reduceat(np.take(pairs, order, axis), starts, axis)
    return pairs


def _mixed(positive: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of `_by_patient` of the patients that have images of both classes."""
    negatives, positives = np.unique(codes[~positive]), np.unique(codes[positive])
    both = np.intersect1d(negatives, positives)
    return np.searchsorted(negatives, both), np.searchsorted(positives, both)


def _apart(first: np.ndarray, second: np.ndarray, mixed: tuple[np.ndarray, np.ndarray]) -> float:
    """The sum of first[p, q] · second[p′, q′] over patients with {p, q} and {p′, q′} disjoint, by inclusion and exclusion."""
    rows, columns = mixed
    (r1, c1), (r2, c2) = ((each.sum(axis=1), each.sum(axis=0)) for each in (first, second))
    result = first.sum() * second.sum() - r1 @ r2 - c1 @ c2 + (first * second).sum()
    if len(rows):
        inner1, inner2 = first[np.ix_(rows, columns)], second[np.ix_(rows, columns)]
        own1, own2 = np.diag(inner1), np.diag(inner2)
        result -= r1[rows] @ c2[columns] + c1[columns] @ r2[rows]
        result += own2 @ (r1[rows] + c1[columns]) + own1 @ (r2[rows] + c2[columns]) + (inner1 * inner2.T).sum()
        result -= 3 * (own1 @ own2)
    return float(result)
