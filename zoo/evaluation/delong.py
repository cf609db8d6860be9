"""DeLong's variance of the AUROC and his paired test, for images that are independent of one another.

DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves: a nonparametric approach", Biometrics 44 (1988), by the algorithm of Sun & Xu, "Fast implementation of DeLong's
algorithm for comparing the areas under correlated receiver operating characteristic curves", IEEE Signal Processing
Letters 21 (2014): midranks instead of all pairs, O(n log n) instead of O(mn).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class DeLong:
    """AUROC of each of M scores, `(M,)`, and the covariance of these AUROCs, `(M, M)`; NaN where undefined."""

    aurocs: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True)
class PairedTest:
    """The difference of two AUROCs, its standard error, and its distance from zero: z and the two-sided p."""

    difference: float
    standard_error: float
    z: float
    p: float


def midranks(values: np.ndarray) -> np.ndarray:
    """The rank of each of the values `(N,)` from 1 to N, ties sharing the mean of their ranks."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[group], dtype=np.float64)


def delong(labels: np.ndarray, scores: np.ndarray) -> DeLong:
    """AUROCs and their covariance.

    Args:
        labels: `(N,)`, 1, 0 or NaN for unknown; the latter are left out.
        scores: finite `(N, M)`, M scores of the same images, higher meaning more likely positive. The images must be
            independent: with several images of a patient the variance comes out too small.

    Returns:
        AUROCs are NaN where a class is absent, the covariance also where a class has a single image.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    m, n, columns = len(positive), len(negative), scores.shape[1]
    if not m or not n:
        return DeLong(np.full(columns, np.nan), np.full((columns, columns), np.nan))
    # of each positive image the share of negatives below it, of each negative image the share of positives above it
    above, below = np.empty((columns, m)), np.empty((columns, n))
    for k in range(columns):
        pooled = midranks(np.concatenate([positive[:, k], negative[:, k]]))
        above[k] = (pooled[:m] - midranks(positive[:, k])) / n
        below[k] = 1 - (pooled[m:] - midranks(negative[:, k])) / m
    if min(m, n) < 2:
        return DeLong(above.mean(axis=1), np.full((columns, columns), np.nan))
    covariance = np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n
    return DeLong(above.mean(axis=1), covariance)


def paired_test(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Test whether two scores `(N,)` of the same images have the same AUROC.

    Takes labels as `delong` does. Scores that rank alike differ by 0 with p = 1. Where the difference is not 0 but has no
    variance (one score perfect, the other perfectly wrong) z and p are NaN: the test says nothing there.
    """
    found = delong(labels, np.column_stack([first, second]))
    difference = float(found.aurocs[0] - found.aurocs[1])
    covariance = found.covariance
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if math.isnan(variance):
        return PairedTest(difference, math.nan, math.nan, math.nan)
    error = math.sqrt(variance) if variance > 1e-16 else 0.0  # what rounding leaves of nothing is about 1e-17
    if error == 0.0:
        same = abs(difference) < 1e-12
        return PairedTest(difference, 0.0, 0.0 if same else math.nan, 1.0 if same else math.nan)
    z = difference / error
    return PairedTest(difference, error, z, math.erfc(abs(z) / math.sqrt(2)))
