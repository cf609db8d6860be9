"""A value with its confidence interval."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.bootstrap import percentile_interval


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its confidence interval; each NaN where undefined."""

    value: float
    low: float
    high: float

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


def mean_interval(values: np.ndarray, drawn: np.ndarray, level: float) -> Interval:
    """The mean over the labels where the value is defined, `(K,)`, with the interval of its replicates `(R, K)`.

    A replicate is the mean over those of these labels that are defined in it.
    """
    defined = ~np.isnan(values)
    if not defined.any():
        return UNDEFINED
    drawn = drawn[:, defined]
    known = ~np.isnan(drawn)
    with np.errstate(invalid="ignore"):
        means = np.where(known, drawn, 0.0).sum(axis=1) / known.sum(axis=1)
    return interval(values[defined].mean(), means, level)
