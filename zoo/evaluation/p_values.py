"""p values: of a paired bootstrap, and corrected for several comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

ALPHA = 0.05  # a corrected p below this is called significant


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p of "no difference" from resampled differences `(R,)`, NaN among them left out.

    Twice the smaller of the shares at or below and at or above zero, which is 1 − level where the percentile interval of
    that level touches zero; one is added to counts and number, so that p is never 0 but at least 2 / (R + 1) (Davison &
    Hinkley, Bootstrap Methods and their Application, 1997, sections 4.2 and 5.2).
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return math.nan
    fewest = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (fewest + 1) / (len(defined) + 1))


def holm(p_values: Sequence[float] | np.ndarray) -> list[float]:
    """Holm's step-down correction (Holm, Scandinavian Journal of Statistics 6, 1979) for several comparisons.

    The smallest of n p values is multiplied by n, the next by n − 1 and so on, none getting smaller than the one before
    it nor larger than 1. A NaN stays one and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    result = np.full(len(p), np.nan)
    result[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in result]
