"""p values: of one difference, of any difference among several runs, and corrected for several labels."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

ALPHA = 0.05  # a corrected p below this is called significant


def range_p(distance: float, runs: int, freedom: float) -> float:
    """The p of a difference of `distance` standard errors, where it is one of all pairs of `runs` runs.

    That is the chance that of as many equal runs any two lie so far apart, so that picking out the best of them on the same
    images is paid for: Tukey's studentised range with each pair's own standard error (Tukey-Kramer; Hayter 1984, Annals of
    Statistics 12:61). With two runs it is Student's two-sided p.

    Args:
        distance: |difference| / standard error, NaN for unknown.
        runs: how many runs the two were picked from, at least 2.
        freedom: degrees of freedom of the standard error.
    """
    from scipy.special import ndtr, stdtr

    freedom = max(freedom, 1.0)
    if math.isnan(distance) or runs == 2:
        return float(2 * stdtr(freedom, -distance))
    # the range of standard normal values is below w with chance N ∫ φ(z) (Φ(z) - Φ(z - w))^(N-1) dz, w being q × the estimated
    # standard deviation over the true one, whose quantiles are averaged over
    deviations, weights = _deviations(freedom)
    z = np.linspace(-8, 8, 257)
    w = distance * math.sqrt(2) * deviations[:, None]
    inner = runs * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (ndtr(z) - ndtr(z - w)) ** (runs - 1)
    below = inner.sum(axis=1) * (z[1] - z[0])
    return float(min(1.0, max(0.0, weights @ (1 - below))))


def range_quantile(level: float, runs: int, freedom: float) -> float:
    """How many standard errors from its value a pair's simultaneous interval reaches; the inverse of `range_p`."""
    low, high = 0.0, 4.0
    while range_p(high, runs, freedom) > 1 - level:
        low, high = high, 2 * high
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if range_p(middle, runs, freedom) > 1 - level else (low, middle)
    return high


@functools.lru_cache(maxsize=256)
def _deviations(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of √(χ²/freedom), and the weights to average over them; finest where they are small."""
    from scipy.special import gammaincinv

    nodes, weights = np.polynomial.legendre.leggauss(96)
    v = (nodes + 1) / 2
    quantiles = gammaincinv(freedom / 2, v**4) if freedom < 1e5 else np.full(len(v), freedom / 2)
    return np.sqrt(2 * quantiles / freedom), weights / 2 * 4 * v**3


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
