"""Net benefit and decision curves: is acting on the network better than acting on everybody or on nobody?

Vickers & Elkin, "Decision curve analysis: a novel method for evaluating prediction models", Medical Decision Making 26
(2006): whoever acts from a probability of t on weighs a false positive t / (1 − t) times as much as a true positive.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.interval import Interval, interval
from zoo.evaluation.p_values import holm
from zoo.evaluation.serialise import Serialisable

# threshold probabilities, closer together where rare findings are decided
_RARE = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1, 0.125, 0.15, 0.175)
THRESHOLDS = np.array([*_RARE, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9])


@dataclass(frozen=True)
class NetBenefit:
    """Net benefits at one threshold probability, in true positives per image; of treating nobody it is 0.

    `advantage` is that of the network minus the better of treating everybody and nobody, in the same resamples.
    """

    threshold: float
    network: Interval
    treat_all: Interval
    advantage: Interval


@dataclass(frozen=True)
class DecisionCurve(Serialisable):
    """One label's net benefits over `THRESHOLDS`; no points where the label is unknown on every image.

    `useful` are the first and last of the longest run of thresholds at each of which the network is better than both beyond
    chance, None where there is none. It is better than treating nobody where the share of positives among the images that
    reach the threshold is above the threshold, and better than treating everybody where that among the others is below:
    two one-sided exact binomial tests, of images divided by the label's clustering within patients, corrected over all
    thresholds and labels (Holm). The intervals of `points` stand each on its own, and are too narrow where a handful of
    images lies on one side of the threshold.
    """

    label: str
    points: tuple[NetBenefit, ...]
    useful: tuple[float, float] | None


def net_benefit(
    true: np.ndarray | float, false: np.ndarray | float, images: np.ndarray | float, threshold: np.ndarray | float
) -> np.ndarray:
    """True positives minus false positives at the threshold's exchange rate, per image; all arrays broadcast."""
    return np.asarray((true - false * threshold / (1 - threshold)) / images)


def threshold_bins(probabilities: np.ndarray) -> np.ndarray:
    """How many of `THRESHOLDS` each probability `(N,)` reaches: what `decision_curves` counts images by."""
    return np.searchsorted(THRESHOLDS, probabilities, side="right")


def decision_curves(
    labels: Sequence[str],
    counts: Sequence[np.ndarray],
    drawn: Sequence[np.ndarray],
    clustering: Sequence[float],
    level: float,
) -> tuple[DecisionCurve, ...]:
    """The decision curve of each label.

    Args:
        labels: their names.
        counts: for each, images without and with it by `threshold_bins`, `(2, T + 1)`.
        drawn: the same in every resample of the patients, `(R, 2, T + 1)`.
        clustering: for each, by how much its variance between patients exceeds that between images, 1 or more.
        level: of the intervals, in (0, 1).
    """
    p = np.array([_p_values(each, factor) for each, factor in zip(counts, clustering, strict=True)])
    useful = np.array(holm(p.ravel())).reshape(p.shape) <= (1 - level) / 2
    points = [_points(_benefits(a[None])[:, 0], _benefits(b), level) for a, b in zip(counts, drawn, strict=True)]
    return tuple(
        DecisionCurve(label, found if each.sum() else (), _longest(better))
        for label, found, each, better in zip(labels, points, counts, useful, strict=True)
    )


def _p_values(counts: np.ndarray, clustering: float) -> np.ndarray:
    """Of "no better than treating everybody or nobody" at each threshold `(T,)`: the larger of the two."""
    total = counts.sum(axis=1)
    above = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:] / clustering
    below = total[:, None] / clustering - above
    size = int(np.ceil(total.sum() / clustering)) + 2
    factorials = np.append(0.0, np.cumsum(np.log(np.arange(1, size + 1))))
    found = []
    for t, (n0, n1), (m0, m1) in zip(THRESHOLDS.tolist(), above.T, below.T, strict=True):
        # fewer positives above and more below than there are, where clustering leaves no whole number
        none = _binomial_cdf(int(np.ceil(n0)), int(n1), 1 - t, factorials)
        everybody = _binomial_cdf(int(np.ceil(m1)), int(m0), t, factorials)
        found.append(max(none, everybody))
    return np.array(found)


def _binomial_cdf(hits: int, others: int, share: float, factorials: np.ndarray) -> float:
    """The probability of at most so many hits among `hits` + `others` images, 1 without any."""
    number, k = hits + others, np.arange(hits + 1)
    log = factorials[number] - factorials[k] - factorials[number - k]
    log = log + k * math.log(share) + (number - k) * math.log1p(-share)
    return min(1.0, float(np.exp(log).sum()))


def _points(value: np.ndarray, drawn: np.ndarray, level: float) -> tuple[NetBenefit, ...]:
    return tuple(
        NetBenefit(float(t), *(interval(value[kind, i], drawn[kind, :, i], level) for kind in range(3)))
        for i, t in enumerate(THRESHOLDS)
    )


def _longest(useful: np.ndarray) -> tuple[float, float] | None:
    """The ends of the longest run of thresholds that are true."""
    best: list[float] = []
    run: list[float] = []
    for threshold, each in zip(THRESHOLDS.tolist(), useful, strict=True):
        run = [*run, threshold] if each else []
        best = max(best, run, key=len)
    return (best[0], best[-1]) if best else None


def _benefits(counts: np.ndarray) -> np.ndarray:
    """Of the network, of treating everybody, and the advantage, `(3, R, T)`, from counts `(R, 2, T + 1)`."""
    reached = counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
    false, true = reached[:, 0, 1:], reached[:, 1, 1:]
    negatives, positives = reached[:, 0, :1], reached[:, 1, :1]
    with np.errstate(invalid="ignore"):  # no image has the label known
        network = net_benefit(true, false, positives + negatives, THRESHOLDS)
        everybody = net_benefit(positives, negatives, positives + negatives, THRESHOLDS)
    return np.stack([network, everybody, network - np.maximum(everybody, 0.0)])
