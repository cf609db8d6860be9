"""The numbers behind the curves: ROC and precision-recall, their bands from the patient bootstrap, and thinning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.evaluation.bootstrap import weight_chunks

GRID = np.linspace(0.0, 1.0, 101)
_CELLS = 512  # a drawn curve is rounded to this many steps each way, finer than a screen shows it


@dataclass(frozen=True)
class Curve:
    """A line through `x` and `y` `(P,)`, and pointwise bounds `low` and `high` `(101,)` over `GRID`, NaN where undefined."""

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Curves:
    """ROC (x false-positive rate, y sensitivity) and precision-recall (x recall, y precision) of one label."""

    label: str
    roc: Curve
    pr: Curve
    prevalence: float


@dataclass(frozen=True)
class _Ranked:
    """One label's known images from the highest score down; `ends` is the last place of each distinct score `(G,)`."""

    images: np.ndarray
    positive: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> _Ranked:
        known = np.flatnonzero(~np.isnan(labels))
        images = known[np.argsort(-scores[known], kind="stable")]
        ranked = scores[images]
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(images) else np.empty(0, np.intp)
        return cls(images, labels[images] > 0.5, ends)

    def count(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """True and false positives `(R, G)` when all images down to each score are called positive, from weights `(R, N)`."""
        ranked = weights[:, self.images]
        hits = np.cumsum(ranked * self.positive, axis=1)[:, self.ends]
        return hits, np.cumsum(ranked, axis=1)[:, self.ends] - hits


def roc_points(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False-positive rate and sensitivity from (0, 0) to (1, 1), one point per distinct score.

    Args:
        labels: `(N,)`, 1 or 0, NaN for unknown.
        scores: `(N,)`, higher means more likely positive.

    Returns:
        Two arrays `(G + 1,)`; empty where a class is absent.
    """
    ranked = _Ranked.of(labels, scores)
    hits, alarms = (part[0] for part in ranked.count(np.ones((1, len(labels)))))
    if not len(hits) or not hits[-1] or not alarms[-1]:
        return np.empty(0), np.empty(0)
    return np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1])


def pr_points(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision, one point per distinct score from the highest down, as `roc_points`."""
    ranked = _Ranked.of(labels, scores)
    hits, alarms = (part[0] for part in ranked.count(np.ones((1, len(labels)))))
    if not len(hits) or not hits[-1] or not alarms[-1]:
        return np.empty(0), np.empty(0)
    return hits / hits[-1], hits / (hits + alarms)


def curves(
    names: tuple[str, ...],
    labels: np.ndarray,
    scores: np.ndarray,
    patients: pd.Series,
    *,
    replicates: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Curves, ...]:
    """The curves of every label where both classes are present, with percentile bands over resampled patients.

    Bands are pointwise: at each false-positive rate (recall) the quantiles of sensitivity (precision) over replicates.

    Args:
        names: K labels.
        labels: `(N, K)`, 1, 0 or NaN.
        scores: `(N, K)`.
        patients: `(N,)`.
        replicates: resamples of the patients; 500 are enough to draw a band.
        level: of the bands, in (0, 1).
        seed: of the draws.
    """
    ranked = [_Ranked.of(labels[:, k], scores[:, k]) for k in range(len(names))]
    both = [k for k, each in enumerate(ranked) if each.positive.any() and not each.positive.all()]
    drawn: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {k: [] for k in both}
    for weights in weight_chunks(patients, replicates, seed):
        for k in both:
            drawn[k].append(_on_grid(*ranked[k].count(weights)))
    found = []
    for k in both:
        roc, pr = (_bounds([part[i] for part in drawn[k]], level) for i in (0, 1))
        recall, precision = pr_points(labels[:, k], scores[:, k])
        higher = (
            np.diff(recall, prepend=0.0) > 0
        )  # each recall once, where it is reached, as average precision counts it
        found.append(
            Curves(
                names[k],
                Curve(*roc_points(labels[:, k], scores[:, k]), *roc),
                Curve(recall[higher], precision[higher], *pr),
                float(ranked[k].positive.mean()),
            )
        )
    return tuple(found)


def _on_grid(hits: np.ndarray, alarms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity at each false-positive rate and precision at each recall of `GRID`, `(R, 101)`; NaN without a class."""
    sensitivity = np.full((len(hits), len(GRID)), np.nan)
    precision = np.full_like(sensitivity, np.nan)
    for row in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
        recall, rate = hits[row] / hits[row, -1], alarms[row] / alarms[row, -1]
        sensitivity[row] = np.interp(GRID, np.append(0.0, rate), np.append(0.0, recall))
        # the first score that reaches a recall, as average precision counts it; a hair less, for rounding
        at = np.searchsorted(recall, np.maximum(GRID, GRID[1] / 2) - 1e-9)
        precision[row] = hits[row, at] / (hits[row, at] + alarms[row, at])
    return sensitivity, precision


def _bounds(parts: list[np.ndarray], level: float) -> tuple[np.ndarray, np.ndarray]:
    """The percentile bounds `(101,)` over replicates; NaN where more than half of them are undefined."""
    undefined = np.full(len(GRID), np.nan)
    if not parts:
        return undefined, undefined
    rows = np.concatenate(parts)
    defined = rows[~np.isnan(rows[:, -1])]
    if not len(defined) or len(defined) < len(rows) / 2:
        return undefined, undefined
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same line with fewer points: rounded to 1/512, without repeats and without points amid a straight stretch.

    No point moves by more than 1/1024 in either direction, and the line has at most about a thousand points however many
    images there are.
    """
    if not len(x):
        return x, y
    points = np.stack([np.round(x * _CELLS), np.round(y * _CELLS)], axis=1)
    points = points[np.append(True, (np.diff(points, axis=0) != 0).any(axis=1))]
    if len(points) > 2:
        before, after = points[1:-1] - points[:-2], points[2:] - points[1:-1]
        turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        back = (before * after).sum(axis=1) < 0
        points = points[np.concatenate([[True], (turn != 0) | back, [True]])]
    return points[:, 0] / _CELLS, points[:, 1] / _CELLS
