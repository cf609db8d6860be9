"""Selective prediction: how many errors are left when the least certain images are referred to a reader.

Geifman & El-Yaniv 2017, "Selective classification for deep neural networks"; the risk–coverage curve and its area as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import zoo.evaluation.metrics as metrics
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.influence import image_means
from zoo.evaluation.interval import Interval, intervals
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

REFERRED = 0.1  # share of the images, the least certain
SHARES = np.arange(1, 21) / 20  # of the images that are kept, where the risk-coverage curve is given


@dataclass(frozen=True)
class Selective(Serialisable):
    """One label's share of wrong predictions: of all images (`error`), of those that are kept when the share `referred`, the least
    certain, is left to a reader (`error_kept`), and of those referred (`error_referred`).

    `aurc` is the mean error over all shares that could be kept, from the most certain image on; certainty that says
    nothing gives the error of all images. `curve` is the error among those kept, by the share that is kept, "0.05" to "1".
    """

    label: str
    referred: float
    error: Interval
    error_kept: Interval
    error_referred: Interval
    aurc: float
    curve: dict[str, float]


def selective(
    predictions: Predictions, thresholds: Mapping[str, float], *, referred: float = REFERRED, level: float = 0.95
) -> tuple[Selective, ...]:
    """Measure each label by the distance of its logit from the threshold's; images of equal distance are kept or referred in
    the order of their names.

    Args:
        predictions: the images of one split, which have been checked.
        thresholds: a probability per label. A multiclass task has one row, "all": its certainty is the highest probability.
        referred: in (0, 1).
        level: of the intervals, in (0, 1).
    """
    task, labels = predictions.task, predictions.labels
    order = np.argsort(predictions.table["image"].astype(str).to_numpy(), kind="stable")
    codes = patient_codes(predictions.table["patient"])[0][order]
    names: tuple[str, ...]
    positive = metrics.decisions(task, predictions.logits, thresholds)
    if task.exclusive:
        wrong = np.where((labels == 1).any(axis=1), (positive != (labels == 1)).any(axis=1), np.nan)[:, None]
        certainty, names = predictions.probabilities.max(axis=1)[:, None], ("all",)
    else:
        wrong = np.where(np.isnan(labels), np.nan, positive != (labels == 1))
        certainty, names = _distance(predictions, thresholds), task.labels
    return tuple(
        _label(name, wrong[order, k], certainty[order, k], codes, referred, level) for k, name in enumerate(names)
    )


def _distance(predictions: Predictions, thresholds: Mapping[str, float]) -> np.ndarray:
    limits = np.array([thresholds[label] for label in predictions.task.labels], dtype=np.float64)
    share = np.minimum(limits, 1.0)
    with np.errstate(divide="ignore"):
        places = np.where(limits > 1, limits, np.log(share) - np.log1p(-share))  # a threshold above 1 is a logit
    return np.asarray(np.abs(predictions.logits - places))


def _label(
    name: str, wrong: np.ndarray, certainty: np.ndarray, codes: np.ndarray, referred: float, level: float
) -> Selective:
    known = np.flatnonzero(~np.isnan(wrong))
    ranked = known[np.argsort(-certainty[known], kind="stable")]
    kept = len(ranked) - round(referred * len(ranked))
    parts = np.full((len(wrong), 3), np.nan)
    for column, images in enumerate((ranked, ranked[:kept], ranked[kept:])):
        parts[images, column] = wrong[images]
    error, of_kept, of_referred = intervals({"accuracy": image_means(parts, codes, int(codes.max()) + 1)}, level)[
        "accuracy"
    ]
    risk = wrong[ranked].cumsum() / np.arange(1, len(ranked) + 1)
    places = np.maximum(np.round(SHARES * len(ranked)).astype(int), 1) - 1
    curve = {f"{share:g}": float(risk[place]) for share, place in zip(SHARES, places, strict=True) if len(ranked)}
    return Selective(
        name, referred, error, of_kept, of_referred, float(risk.mean()) if len(ranked) else float("nan"), curve
    )
