"""How probabilities fit the labels: slope, intercept, observed to expected, distances from a smooth curve, Brier skill."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from zoo.evaluation.interval import UNDEFINED, Interval, quantile
from zoo.evaluation.reliability import distance_interval
from zoo.evaluation.serialise import Serialisable

SPAN = 0.75  # share of the images that each point of the smooth curve is fitted to
_LEAST = 1e-6  # probabilities are kept this far from 0 and 1 for their logit


@dataclass(frozen=True)
class CalibrationFit(Serialisable):
    """One label's probabilities at one `stage`, "as_trained" or "calibrated" on validation.

    `slope` of the labels' logistic regression on the logit of the probability: 1 is right, below 1 the probabilities are too
    extreme. `intercept`: of the same with the slope held at 1, calibration in the large, 0 is right, below 0 the
    probabilities are too high (Cox 1958, Biometrika 45). `observed_expected`: images with the label over the sum of the
    probabilities. `ici`, `e50` and `e90`: mean, median and 90% quantile over images of the distance between the
    probability and a smooth curve of the labels (Austin & Steyerberg 2019). `brier_skill`: 1 − Brier score / that of the
    prevalence of these images; 0 or below is no better than one probability for all.
    """

    label: str
    stage: str
    slope: Interval
    intercept: Interval
    observed_expected: Interval
    ici: Interval
    e50: Interval
    e90: Interval
    brier_skill: Interval


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Logits, of probabilities kept within [1e-6, 1 − 1e-6]."""
    p = np.clip(probabilities, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(p) - np.log1p(-p))


def regressions(
    y: np.ndarray, probabilities: np.ndarray, codes: np.ndarray, level: float = 0.95
) -> tuple[Interval, Interval, Interval]:
    """Slope, intercept at slope 1 and observed to expected, from labels 1 or 0 `(N,)` and the number of each image's patient.

    Intervals are Wald's, on the logarithm for the last, with the variance between patients (sandwich: Liang & Zeger 1986);
    that of the slope at the t quantile of the patients with the rarer class.
    The slope is undefined where the probabilities are all alike or separate the labels perfectly, and all three are
    without both classes.
    """
    has = y > 0.5
    if has.all() or not has.any():
        return UNDEFINED, UNDEFINED, UNDEFINED
    _, codes = np.unique(codes, return_inverse=True)
    number = int(codes.max()) + 1
    z = NormalDist().inv_cdf((1 + level) / 2)
    rarer = min(len(np.unique(codes[each])) for each in (has, ~has))
    x = logit(probabilities)

    def clustered(scores: np.ndarray) -> np.ndarray:
        """The covariance of the sum of `scores` `(N, M)` between patients, NaN for a single one."""
        sums = np.stack([np.bincount(codes, column, minlength=number) for column in scores.T], axis=1)
        return np.asarray(sums.T @ sums * (number / (number - 1) if number > 1 else math.nan))

    def wald(design: np.ndarray, offset: np.ndarray, z: float) -> Interval:
        found, fitted = _logistic(design, y, offset)
        inverse = np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)
        half = z * math.sqrt((inverse @ clustered(design * (y - fitted)[:, None]) @ inverse)[-1, -1])
        return Interval(float(found[-1]), float(found[-1]) - half, float(found[-1]) + half)

    separated = x[has].min() >= x[~has].max() or x[has].max() <= x[~has].min()
    ones = np.ones((len(y), 1))
    slope = UNDEFINED if separated else wald(np.column_stack([ones, x]), np.zeros(len(y)), quantile(level, rarer - 1))
    ratio = float(y.sum() / probabilities.sum())
    added = y / y.sum() - probabilities / probabilities.sum()
    half = z * math.sqrt(clustered(added[:, None])[0, 0])
    spread = (math.nan, math.nan) if math.isnan(half) else (ratio * math.exp(-half), ratio * math.exp(half))
    return slope, wald(ones, x, z), Interval(ratio, *spread)


def _logistic(design: np.ndarray, y: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients `(M,)` and fitted probabilities `(N,)` of a logistic regression, by Newton's steps, halved where too far."""

    def loss(coefficients: np.ndarray) -> float:
        eta = design @ coefficients + offset
        return float((np.logaddexp(0, eta) - y * eta).sum())

    found = np.arange(design.shape[1], dtype=np.float64)  # a slope of 1
    best = loss(found)
    for _ in range(100):
        p = np.exp(-np.logaddexp(0, -(design @ found + offset)))
        hessian = (design * (p * (1 - p))[:, None]).T @ design
        step = np.linalg.solve(hessian, design.T @ (y - p))
        while loss(found + step) > best and np.abs(step).max() > 1e-12:
            step = step / 2
        found = found + step
        best = loss(found)
        if np.abs(step).max() < 1e-9:
            break
    return found, np.exp(-np.logaddexp(0, -(design @ found + offset)))


@dataclass(frozen=True, eq=False)
class Smoother:
    """Local linear regression at the points `x` `(B,)`, each holding `share` of the images.

    Each fit weighs the nearest `SPAN` of the images by the tricube of their distance: `lowess` (Cleveland 1979, Journal of
    the American Statistical Association 74) without robust steps, as in Harrell's val.prob, which labels of 0 and 1 call for.
    The reach of each fit is that of all images, also in a resample.
    """

    x: np.ndarray
    share: np.ndarray
    moments: np.ndarray  # (3, B, B): weights × distance to the power 0, 1 and 2

    @classmethod
    def of(cls, x: np.ndarray, images: np.ndarray) -> Smoother:
        """For points in order with so many images each."""
        distance = x[None] - x[:, None]
        order = np.argsort(np.abs(distance), axis=1, kind="stable")
        reached = np.cumsum(images[order], axis=1) >= int(SPAN * images.sum() + 1e-10)
        last = order[np.arange(len(x)), reached.argmax(axis=1)]
        reach = np.abs(distance)[np.arange(len(x)), last]
        relative = np.abs(distance) / np.where(reach > 0, reach, 1.0)[:, None]
        kernel = np.where(relative < 1, (1 - np.minimum(relative, 1) ** 3) ** 3, 0.0)
        return cls(x, images / images.sum(), np.stack([kernel, kernel * distance, kernel * distance**2]))

    def gaps(self, images: np.ndarray, positives: np.ndarray) -> np.ndarray:
        """The fitted share with the label minus the probability at each point, `(..., B)`, from counts `(..., B)`."""
        s0, s1, s2 = (images @ each.T for each in self.moments)
        t0, t1 = (positives @ each.T for each in self.moments[:2])
        spread = s0 * s2 - s1**2
        with np.errstate(divide="ignore", invalid="ignore"):
            local, flat = (s2 * t0 - s1 * t1) / spread, t0 / s0
            fitted = np.where(spread > 1e-12 * s0**2, local, flat)
        return np.asarray(np.clip(np.nan_to_num(fitted), 0, 1) - self.x)


def distances(
    smoother: Smoother, images: np.ndarray, positives: np.ndarray, drawn: np.ndarray, level: float
) -> tuple[Interval, Interval, Interval]:
    """ICI, E50 and E90, from counts `(B,)` and the same in every resample `(2, R, B)`, images and positives.

    Like the ECE they are too high in a sample, so their intervals are made alike; see `distance_interval`.
    """
    value, resampled = smoother.gaps(images, positives), smoother.gaps(drawn[0], drawn[1])

    def mean(gaps: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(gaps) @ smoother.share)

    found = (mean, _quantile(smoother.share, 0.5), _quantile(smoother.share, 0.9))
    ici, e50, e90 = (distance_interval(each, value, resampled, level) for each in found)
    return ici, e50, e90


def _quantile(share: np.ndarray, q: float) -> Callable[[np.ndarray], np.ndarray]:
    def of(gaps: np.ndarray) -> np.ndarray:
        size = np.abs(gaps)
        order = np.argsort(size, axis=-1)
        reached = np.cumsum(share[order], axis=-1) >= q - 1e-9
        place = np.take_along_axis(order, reached.argmax(axis=-1)[..., None], axis=-1)
        return np.asarray(np.take_along_axis(size, place, axis=-1)[..., 0])

    return of
