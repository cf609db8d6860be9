"""Multi-reader multi-case studies: do modalities differ, for readers and images like these?

The analysis of variance of Obuchowski & Rockette (1995, Communications in Statistics: Simulation and Computation 24) with the
degrees of freedom of Hillis (2007, Statistics in Medicine 26), of any figure of merit with its covariance, and as a second
opinion the one-shot estimate of Gallas (2006, Academic Radiology 13).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from zoo.evaluation.interval import Interval
from zoo.evaluation.serialise import Serialisable


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and t interval; `p` is of the value being 0, `df` infinite for a normal one."""

    value: Interval
    standard_error: float
    df: float
    p: float


@dataclass(frozen=True)
class Pair:
    """One modality minus another: readers and images random, only images random, and Gallas' (None: not computed)."""

    first: str
    second: str
    random: Estimate
    fixed: Estimate
    one_shot: Estimate | None = None


@dataclass(frozen=True)
class MRMC(Serialisable):
    """The analysis of I modalities and J readers.

    `values[modality][reader]` are figures of merit, `means[modality]` their means (readers and images random). `f`, `df1`,
    `df2` and `p` test that all modalities are equal for random readers and images; `p_fixed` for these readers alone (χ² with
    `df1`). `components` has var_reader, var_interaction, cov1, cov2, cov3 and var_error of the model; with one reader there is
    no spread of readers, and what rests on it is NaN.
    """

    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    values: dict[str, dict[str, float]]
    means: dict[str, Estimate]
    f: float
    df1: int
    df2: float
    p: float
    p_fixed: float
    pairs: tuple[Pair, ...]
    components: dict[str, float]


def estimate(value: float, variance: float, df: float, level: float = 0.95) -> Estimate:
    """A t interval and two-sided p from a variance; where there is none, a value of 0 has p 1 and any other none."""
    from scipy.special import stdtr, stdtrit

    if not variance > 1e-16:  # what rounding leaves of nothing is about 1e-17
        known = not math.isnan(variance) and not math.isnan(value)
        same = known and abs(value) < 1e-12
        return Estimate(
            Interval(value, value if same else math.nan, value if same else math.nan),
            0.0 if known else math.nan,
            df,
            1.0 if same else math.nan,
        )
    error = math.sqrt(variance)
    reach = float(stdtrit(df, (1 + level) / 2)) * error
    p = 2 * float(stdtr(df, -abs(value) / error))
    return Estimate(Interval(value, value - reach, value + reach), error, df, p)


def mean_over_readers(values: np.ndarray, covariance: np.ndarray, level: float = 0.95) -> Estimate:
    """The mean of what J readers each have, for readers and images like these (Hillis 2007, single modality).

    Args:
        values: `(J,)`, such as the AUROC of each reader, or a model's minus each reader's.
        covariance: `(J, J)`, of the values through the images.
        level: of the interval, in (0, 1).

    Returns:
        Variance (MS(R) + J max(Cov2, 0)) / J with (MS(R) + J max(Cov2, 0))² / (MS(R)² / (J − 1)) degrees of freedom, Cov2
        the mean covariance of two readers. Of one reader, the value with its own variance.
    """
    readers = len(values)
    if readers == 1:
        return estimate(float(values[0]), float(covariance[0, 0]), math.inf, level)
    spread = float(np.var(values, ddof=1))
    total = spread + readers * max(_off_diagonal(covariance), 0.0)
    return estimate(float(values.mean()), total / readers, _df(total, spread, readers - 1), level)


def obuchowski_rockette(
    modalities: tuple[str, ...],
    readers: tuple[str, ...],
    values: np.ndarray,
    covariance: np.ndarray,
    *,
    one_shot: dict[tuple[str, str], float] | None = None,
    level: float = 0.95,
) -> MRMC:
    """The analysis from figures of merit and their covariance.

    Args:
        modalities: I names, at least two.
        readers: J names.
        values: `(I, J)`.
        covariance: `(I, J, I, J)`, through the images, by the jackknife, DeLong's or any other estimate.
        one_shot: the variance of the difference of two modalities by Gallas' method, where it is known.
        level: of the intervals, in (0, 1).
    """
    count, number = values.shape
    var_error, cov1, cov2, cov3 = _components(covariance)
    effect = values.mean(axis=1) - values.mean()
    ms_t = number * float((effect**2).sum()) / (count - 1)
    ms_r, ms_tr = math.nan, math.nan
    if number > 1:
        rest = values - values.mean(axis=0) - effect[:, None]
        ms_tr = float((rest**2).sum()) / ((count - 1) * (number - 1))
        ms_r = count * float(np.var(values.mean(axis=0), ddof=1))
    random = ms_tr + number * max(cov2 - cov3, 0.0)
    df2 = _df(random, ms_tr, (count - 1) * (number - 1))
    fixed = var_error - cov1 + ((number - 1) * max(cov2 - cov3, 0.0) if number > 1 else 0.0)
    pairs = []
    for i, j in combinations(range(count), 2):
        difference = float(values[i].mean() - values[j].mean())
        names = (modalities[i], modalities[j])
        shot = None
        if one_shot is not None and names in one_shot:
            shot = estimate(difference, one_shot[names], df2 if number > 1 else math.inf, level)
        pairs.append(
            Pair(
                *names,
                estimate(difference, 2 * random / number, df2, level),
                estimate(difference, 2 * fixed / number, math.inf, level),
                shot,
            )
        )
    f, p, p_fixed = _tests(ms_t, random, fixed, count - 1, df2)
    return MRMC(
        modalities=modalities,
        readers=readers,
        values={m: dict(zip(readers, map(float, row), strict=True)) for m, row in zip(modalities, values, strict=True)},
        means={m: mean_over_readers(values[i], covariance[i, :, i, :], level) for i, m in enumerate(modalities)},
        f=f,
        df1=count - 1,
        df2=df2,
        p=p,
        p_fixed=p_fixed,
        pairs=tuple(pairs),
        components={
            "var_reader": (ms_r - ms_tr) / count - cov1 + cov3,
            "var_interaction": ms_tr - var_error + cov1 + cov2 - cov3,
            "cov1": cov1,
            "cov2": cov2,
            "cov3": cov3,
            "var_error": var_error,
        },
    )


def _off_diagonal(square: np.ndarray) -> float:
    """The mean of what stands beside the diagonal."""
    number = len(square)
    return float((square.sum() - np.trace(square)) / (number * (number - 1))) if number > 1 else 0.0


def _components(covariance: np.ndarray) -> tuple[float, float, float, float]:
    """Var(error), Cov1 (same reader), Cov2 (same modality) and Cov3 (neither), means over all pairs of that kind."""
    count, number = covariance.shape[:2]
    within = np.array([covariance[i, :, i, :] for i in range(count)])  # (I, J, J)
    own = np.array([covariance[:, j, :, j] for j in range(number)])  # (J, I, I)
    var_error = float(np.mean([np.trace(each) / number for each in within]))
    cov1 = float(np.mean([_off_diagonal(each) for each in own]))
    if number == 1:
        return var_error, cov1, 0.0, 0.0
    cov2 = float(np.mean([_off_diagonal(each) for each in within]))
    across = [_off_diagonal(covariance[i, :, k, :]) for i in range(count) for k in range(count) if i != k]
    return var_error, cov1, cov2, float(np.mean(across))


def _df(total: float, spread: float, df: int) -> float:
    """Hillis' degrees of freedom of a mean square `spread` with `df` that is part of `total`."""
    if math.isnan(spread):
        return math.nan
    return total**2 / (spread**2 / df) if spread > 1e-16 else math.inf


def _tests(ms_t: float, random: float, fixed: float, df1: int, df2: float) -> tuple[float, float, float]:
    """F and its p for random readers, and the p of χ² for fixed ones; of equal modalities 0, 1 and 1."""
    from scipy.special import chdtrc, fdtrc

    if ms_t < 1e-16:
        return (0.0, 1.0, 1.0) if not math.isnan(random) else (math.nan, math.nan, 1.0)
    p_fixed = float(chdtrc(df1, df1 * ms_t / fixed)) if fixed > 1e-16 else math.nan
    if not random > 1e-16:
        return math.nan, math.nan, p_fixed
    f = ms_t / random
    return f, float(fdtrc(df1, min(df2, 1e15), f)), p_fixed
