"""DeLong's variance of the AUROC and his paired test, also where patients have several images.

DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver operating characteristic
curves: a nonparametric approach", Biometrics 44 (1988); for clustered images Obuchowski, "Nonparametric analysis of clustered
ROC curve data", Biometrics 53:567 (1997). Sorting instead of all pairs makes it O(n log n) instead of O(mn) (Sun & Xu, "Fast
implementation of DeLong's algorithm for comparing the areas under correlated receiver operating characteristic curves", IEEE
Signal Processing Letters 21, 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.influence import placements


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


def delong(labels: np.ndarray, scores: np.ndarray, codes: np.ndarray | None = None) -> DeLong:
    """AUROCs and their covariance.

    Args:
        labels: `(N,)`, 1, 0 or NaN for unknown; the latter are left out.
        scores: finite `(N, M)`, M scores of the same images, higher meaning more likely positive.
        codes: of each image's patient, `(N,)`, see `bootstrap.patient_codes`; without them images are independent.

    Returns:
        AUROCs are NaN where a class is absent, the covariance also where a class has the images of a single patient.
    """
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    codes = np.arange(len(labels)) if codes is None else codes
    known = ~np.isnan(labels)
    _, codes = np.unique(codes[known], return_inverse=True)
    labels, scores = labels[known], scores[known]
    columns, patients = scores.shape[1], int(codes.max(initial=-1)) + 1
    classes = labels > 0.5, labels <= 0.5
    if not all(each.any() for each in classes):
        return DeLong(np.full(columns, np.nan), np.full((columns, columns), np.nan))
    found = [placements(labels, scores[:, k]) for k in range(columns)]
    aurocs = np.array([each[0] for each in found])
    people = [len(np.unique(codes[each])) for each in classes]
    if min(people) < 2:
        return DeLong(aurocs, np.full((columns, columns), np.nan))
    # each patient's sum over positive and over negative images, of how far they lie from the AUROC
    sums = [
        np.stack([np.bincount(codes[which], each[i] - each[0], patients) for each in found]) / which.sum()
        for i, which in enumerate(classes, 1)
    ]
    own = sum(n / (n - 1) * each @ each.T for n, each in zip(people, sums, strict=True))
    both = sums[0] @ sums[1].T
    return DeLong(aurocs, own + patients / (patients - 1) * (both + both.T))


def paired_test(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, codes: np.ndarray | None = None
) -> PairedTest:
    """Test whether two scores `(N,)` of the same images have the same AUROC.

    Takes labels and codes as `delong` does. Scores that rank alike differ by 0 with p = 1. Where the difference is not 0 but has no
    variance (one score perfect, the other perfectly wrong) z and p are NaN: the test says nothing there.
    """
    found = delong(labels, np.column_stack([first, second]), codes)
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
