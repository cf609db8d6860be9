"""A value with its confidence interval, and how each metric gets one: see `METHODS`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.bootstrap import percentile_interval
from zoo.evaluation.influence import FEWEST, Influence, effective, image_means

# The fewest degrees of freedom of a single label's interval: the scales that these intervals have take in most of what Student's
# quantile allows for, so that from 2 to 7 of them it makes the intervals too wide (benchmarks/coverage.py).
LEAST_FREEDOM = {"auroc": 16.0}
LEAST_FREEDOM_ELSE = 8.0
FEWEST_MCC = 8  # patients of the rarer class; with fewer its interval, for the same reason, is too wide to say anything
# Patients that each label needs for the interval of a mean. A label that happens to have more positives has a higher AUPRC too, and
# counts more where it is weighted by them, so that with fewer the interval of that mean holds the value too rarely.
FEWEST_OF_MEANS = {"auprc": 30, "mcc": FEWEST_MCC}

# Which interval a single label's metric gets; a mean over labels gets "t", on the scale of `_on_its_scale`.
METHODS = {
    "auroc": "t",
    "auprc": "t",
    "mcc": "t",
    "sensitivity": "wilson",
    "specificity": "wilson",
    "precision": "wilson",
    "npv": "wilson",
    "accuracy": "wilson",
    "prevalence": "wilson",
    "f1": "jaccard",
    "balanced_accuracy": "both",
}


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its confidence interval; each NaN where undefined."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        # one NaN object throughout: tuples, and so intervals, compare it by identity before by value
        for name, part in zip(("value", "low", "high"), (self.value, self.low, self.high), strict=True):
            if math.isnan(part):
                object.__setattr__(self, name, math.nan)

    @classmethod
    def from_dict(cls, saved: Mapping[str, float | None]) -> Interval:
        """Read back what JSON holds, where undefined is null; raises KeyError where a part is missing."""
        parts = (saved[name] for name in ("value", "low", "high"))
        return cls(*(math.nan if part is None else float(part) for part in parts))

    def __str__(self) -> str:
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


UNDEFINED = Interval(math.nan, math.nan, math.nan)


def short(value: float) -> str:
    """A number as all tables show it: `.934`, `1.000`, `-.120`; `–` where undefined."""
    if math.isnan(value):
        return "–"
    text = f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"
    return ".000" if text == "-.000" else text


def interval(value: float | np.ndarray, replicates: np.ndarray, level: float) -> Interval:
    """The value with the percentiles of its replicates `(R,)`; an undefined value has no interval."""
    if np.isnan(value):
        return UNDEFINED
    low, high, _ = percentile_interval(replicates, level)
    return Interval(float(value), low, high)


def quantile(level: float, freedom: float) -> float:
    """The two-sided quantile of Student's t distribution, such as 1.960 for 0.95 and infinitely many degrees of freedom."""
    from scipy.special import ndtri, stdtrit

    share = (1 + level) / 2
    return float(ndtri(share) if math.isinf(freedom) else stdtrit(max(freedom, 1.0), share))


def wilson(share: float, number: float, quantile: float) -> tuple[float, float]:
    """The score interval of a share of `number` independent images (Wilson 1927), at a normal or t quantile."""
    z = quantile
    centre = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return (0.0 if share == 0 else max(0.0, centre - half)), (1.0 if share == 1 else min(1.0, centre + half))


def intervals(found: Mapping[str, Influence], level: float) -> dict[str, list[Interval]]:
    """The interval of every label's metrics, each by its method of `METHODS`.

    "wilson": of a share of images, with as many independent images as the patients' variance implies, see `_share`.
    "jaccard": F1 is 2J / (1 + J), J = tp / (tp + fp + fn) being such a share (Lam, Gopal & Qian 2023, arXiv:2309.14621).
    "both": the mean of sensitivity and specificity, whose intervals are put together by the squares of their arms (MOVER:
    Zou & Donner 2008, Statistics in Medicine 27:1693). "t": see `spread_interval`.
    """
    made: dict[str, list[Interval]] = {}
    for metric, each in found.items():
        method = METHODS[metric]
        make = {"wilson": _share, "jaccard": _f1}.get(method, spread_interval)
        least = LEAST_FREEDOM.get(metric, LEAST_FREEDOM_ELSE)
        enough = dataclasses.replace(each, freedom=np.maximum(each.freedom, least))
        made[metric] = [make(metric, enough, k, level) for k in range(len(each.value))]
    if "mcc" in made:
        few = found["mcc"].clusters < FEWEST_MCC
        made["mcc"] = [without_bounds(each) if less else each for each, less in zip(made["mcc"], few, strict=True)]
    if "balanced_accuracy" in made and {"sensitivity", "specificity"} <= set(made):
        pairs = zip(made["sensitivity"], made["specificity"], strict=True)
        made["balanced_accuracy"] = [_half(*pair) for pair in pairs]
    return made


def without_bounds(found: Interval) -> Interval:
    """The value alone: too few to say how uncertain it is."""
    return Interval(found.value, math.nan, math.nan)


def spread_interval(metric: str, found: Influence, k: int, level: float) -> Interval:
    """Value ± t quantile × standard error on the logit scale (AUROC, AUPRC: Boyd, Eng & Page 2013), for MCC on Fisher's.

    Where the value is at an end of its range there is no standard error: the bound on the other side is Wilson's for as many
    images as there are patients. Where the metric rests on fewer than `FEWEST` patients nothing can be said.
    """
    value, variance = float(found.value[k]), float(found.variance[k])
    if math.isnan(value) or found.patients[k] < FEWEST:
        return Interval(value, math.nan, math.nan)
    low = -1.0 if metric == "mcc" else 0.0
    share = min(1.0, max(0.0, (value - low) / (1 - low)))
    q = quantile(level, float(found.freedom[k]))
    if min(share, 1 - share) < 1e-12:
        ends = wilson(round(share), float(found.clusters[k]), q)
    else:
        arm = min(q * math.sqrt(variance) / (1 - low) / (share * (1 - share)), 700.0)
        odds = math.log(share / (1 - share))
        ends = (1 / (1 + math.exp(min(arm - odds, 700.0))), 1 / (1 + math.exp(-arm - odds)))
    bottom, top = (low + (1 - low) * end for end in ends)
    return Interval(value, min(value, bottom), max(value, top))


def _share(metric: str, found: Influence, k: int, level: float) -> Interval:
    """Wilson's interval of a share, its number of independent images being images / design effect.

    The design effect is the patients' variance over that of independent images, at least 1; half-unseen clustering is
    guarded against by one patient more, whose images all count as one. It weighs against no more than three times the patients
    who carry the variance (Kish's effective number of the squared influences): where few patients with many images make all the
    mistakes, as of NPV, too little of the clustering is seen. 1 gives too wide intervals, no limit too narrow ones
    (benchmarks/coverage.py). At 0 or 1, where the variance vanishes, the number is that of the patients. Where each patient
    has one image it is that of the images, with the normal quantile.
    """
    value, images, patients = float(found.value[k]), float(found.images[k]), float(found.patients[k])
    clusters = float(found.clusters[k])
    if math.isnan(value) or patients < FEWEST:
        return Interval(value, math.nan, math.nan)
    if images == patients:
        return Interval(value, *wilson(value, images, quantile(level, math.inf)))
    number, binomial = clusters, value * (1 - value)
    if binomial > 0:
        weight = min(patients, 3 * float(effective(found.by_patient[:, [k]] ** 2)[0]))
        variance = (weight * float(found.variance[k]) + binomial / clusters) / (weight + 1)
        number = min(images, binomial / variance)
    return Interval(value, *wilson(value, number, quantile(level, max(clusters - 1, LEAST_FREEDOM_ELSE))))


def _f1(metric: str, found: Influence, k: int, level: float) -> Interval:
    f1 = found.value
    share = dataclasses.replace(found, value=f1 / (2 - f1), variance=found.variance * (2 / (2 - f1) ** 2) ** 2)
    j = _share(metric, share, k, level)
    return Interval(float(f1[k]), 2 * j.low / (1 + j.low), 2 * j.high / (1 + j.high))


def mean_intervals(
    values: np.ndarray, codes: np.ndarray, patients: int, level: float, *, kind: str = "difference"
) -> list[Interval]:
    """Means over images of `values` `(N, M)`, NaN left out, with intervals over patients.

    Args:
        values: "share": 0 or 1; "fraction": in [0, 1]; "difference": in [-1, 1].
        codes: of each image's patient, `(N,)`, see `bootstrap.patient_codes`.
        patients: their number.
        level: in (0, 1).
        kind: decides the method: `_share`, `spread_interval`, or value ± t quantile × standard error. Differences that are
            all the same have no standard error; their arm is then Wilson's upper bound of none of as many patients.
    """
    found = image_means(np.asarray(values, dtype=np.float64), codes, patients)
    make = {"share": _share, "fraction": spread_interval, "difference": _symmetric}[kind]
    return [make("mean", found, k, level) for k in range(len(found.value))]


def _symmetric(metric: str, found: Influence, k: int, level: float) -> Interval:
    value = float(found.value[k])
    if math.isnan(value) or found.patients[k] < FEWEST:
        return Interval(value, math.nan, math.nan)
    q, error = quantile(level, float(found.freedom[k])), math.sqrt(found.variance[k])
    arm = q * error if error > 1e-12 else wilson(0.0, float(found.clusters[k]), q)[1]
    return Interval(value, value - arm, value + arm)


def _half(one: Interval, two: Interval) -> Interval:
    value = (one.value + two.value) / 2
    below, above = (
        math.hypot(one.value - one.low, two.value - two.low),
        math.hypot(one.high - one.value, two.high - two.value),
    )
    return Interval(value, value - below / 2, value + above / 2)


def interval_p(make: Callable[[float], Interval]) -> float:
    """The p value of 0 that belongs to an interval: 1 minus the highest level at which it still excludes 0.

    Args:
        make: the interval at a level in (0, 1).

    Returns:
        1 where 0 is the value itself, at least 1e-12; NaN where there is no interval.
    """
    if math.isnan(make(0.5).low):
        return math.nan
    low, high = -12.0, 0.0  # of the logarithm of p
    for _ in range(30):
        middle = (low + high) / 2
        found = make(1 - 10**middle)
        low, high = (middle, high) if found.low <= 0 <= found.high else (low, middle)
    return float(10**high)


def difference(one: Interval, two: Interval) -> Interval:
    """One minus two, of images that have nothing to do with each other, from the arms of both intervals (MOVER, as Newcombe
    1998, Statistics in Medicine 17:873, method 10, for shares)."""
    value = one.value - two.value
    below, above = (
        math.hypot(one.value - one.low, two.high - two.value),
        math.hypot(one.high - one.value, two.value - two.low),
    )
    return Interval(value, value - below, value + above)
