"""Partial AUROC: the area under the ROC curve where few negatives are predicted positive."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from zoo.evaluation.interval import UNDEFINED, Interval

MAX_FPR = 0.1


def partial_auroc(
    labels: np.ndarray,
    scores: np.ndarray,
    codes: np.ndarray,
    *,
    max_fpr: float = MAX_FPR,
    level: float = 0.95,
) -> Interval:
    """The area up to a false-positive rate, standardised so that chance is .5 and perfect is 1 (McClish 1989).

    The variance is that of the curve's influence function (He & Escobar 2008, Statistics in Medicine 27), summed within
    patients: at `max_fpr` 1 it is the clustered variance of Obuchowski (1997). The interval is symmetric on the logit of the
    mean sensitivity over that range.

    Args:
        labels: `(N,)`, 1, 0 or NaN for unknown (left out).
        scores: `(N,)`, higher means more likely positive.
        codes: the patient of each image as a number, `(N,)`; see `bootstrap.patient_codes`.
        max_fpr: in (0, 1].
        level: of the interval, in (0, 1).

    Returns:
        UNDEFINED where a class is absent; without bounds where it lies in one patient or every score is alike.
    """
    known = ~np.isnan(labels)
    y, codes = labels[known] > 0.5, codes[known]
    positives, negatives = int(y.sum()), int((~y).sum())
    if not positives or not negatives:
        return UNDEFINED
    _, group = np.unique(-scores[known], return_inverse=True)
    true, false = (np.append(0.0, np.bincount(group, part).cumsum() / part.sum()) for part in (y, ~y))
    start, end = np.minimum(false[:-1], max_fpr), np.minimum(false[1:], max_fpr)
    width = false[1:] - false[:-1]
    inside = np.divide(end - start, width, out=(false[1:] <= max_fpr).astype(float), where=width > 0)
    reached = true[:-1] + inside * (true[1:] - true[:-1])  # sensitivity where the group, or the range, ends
    # a positive image counts over the range right of where it lies, a negative one moves the curve above it
    right = (max_fpr - end) + (end - start) * inside / 2
    at_end = float(np.interp(max_fpr, false, true))
    moved = inside * ((true[:-1] + reached) / 2 - at_end)
    area = float((np.bincount(group, y, minlength=len(width)) * right).sum() / positives)
    added = np.where(y, (right[group] - area) / positives, (moved[group] - moved[group[~y]].mean()) / negatives)
    by_patient = np.bincount(codes, added)
    present = len(np.unique(codes))
    variance = float((by_patient**2).sum()) * present / (present - 1) if present > 1 else 0.0
    return _standardised(area, variance, max_fpr, level)


def _standardised(area: float, variance: float, max_fpr: float, level: float) -> Interval:
    least = max_fpr**2 / 2

    def scaled(share: float) -> float:
        return 0.5 * (1 + (share * max_fpr - least) / (max_fpr - least))

    share = area / max_fpr
    if not variance > 1e-16 or not 0 < share < 1:
        return Interval(scaled(share), math.nan, math.nan)
    centre = math.log(share / (1 - share))
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt(variance) / max_fpr / (share * (1 - share))
    low, high = (1 / (1 + math.exp(-bound)) for bound in (centre - half, centre + half))
    return Interval(scaled(share), scaled(low), scaled(high))
