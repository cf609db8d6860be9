"""Thresholds: chosen on validation films, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.errors import UsageError
from zoo.evaluation.predictions import Predictions

DEFAULT = 0.5


@dataclass(frozen=True)
class ThresholdRule:
    """How thresholds come about: "fixed" at `value`, or per label the best "youden" (sensitivity + specificity - 1,
    Youden 1950) or the best "f1" on validation. `value` is a probability in [0, 1] and matters for "fixed" alone."""

    rule: Literal["fixed", "youden", "f1"]
    value: float = DEFAULT

    def __post_init__(self) -> None:
        if self.rule not in ("fixed", "youden", "f1"):
            raise UsageError(f"unknown threshold rule {self.rule!r}. Valid: f1, fixed, youden.")
        if not 0 <= self.value <= 1:
            raise UsageError(f"a threshold is a probability from 0 to 1, not {self.value!r}.")


def choose_thresholds(predictions: Predictions, rule: ThresholdRule) -> dict[str, float]:
    """Choose one threshold per label, a probability: a film is positive at or above it.

    A chosen threshold lies halfway between two neighbouring probabilities of the validation films; of several that are
    equally good the one nearest to .5 is taken. Where the films cannot tell (a class is absent, or no threshold is
    better than chance) it is .5, and `threshold_notes` says so. A multiclass task takes the most probable class and
    has no thresholds to choose: they are all .5.

    Raises:
        DataError: the predictions have no films, a logit that is not finite, or a film twice.
    """
    if predictions.task.exclusive:
        return dict.fromkeys(predictions.task.labels, DEFAULT)
    if rule.rule == "fixed":
        return dict.fromkeys(predictions.task.labels, rule.value)
    return {label: DEFAULT if t is None else t for label, t in _best(predictions, rule).items()}


def threshold_notes(predictions: Predictions, rule: ThresholdRule) -> tuple[str, ...]:
    """Sentences on the labels whose threshold could not be chosen and fell back to .5."""
    if predictions.task.exclusive or rule.rule == "fixed":
        return ()
    fallen = [label for label, t in _best(predictions, rule).items() if t is None]
    if not fallen:
        return ()
    return (
        f"The validation films cannot tell the {'thresholds' if len(fallen) > 1 else 'threshold'} of "
        f"{', '.join(fallen)}; .5 is used.",
    )


def _best(predictions: Predictions, rule: ThresholdRule) -> dict[str, float | None]:
    predictions.check("validation predictions")
    probability = predictions.probabilities
    return {
        label: _best_threshold(predictions.labels[:, k], probability[:, k], rule.rule)
        for k, label in enumerate(predictions.task.labels)
    }


def _best_threshold(labels: np.ndarray, probability: np.ndarray, rule: str) -> float | None:
    known = ~np.isnan(labels)
    positive, probability = labels[known] > 0.5, probability[known]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    cuts, group = np.unique(probability, return_inverse=True)
    tp = np.bincount(group, positive)[::-1].cumsum()[::-1]  # positives at or above each distinct probability
    fp = np.bincount(group, ~positive)[::-1].cumsum()[::-1]
    if rule == "youden":
        # sensitivity - false positive rate, times both class sizes: whole numbers, so that ties are ties
        goodness = tp * negatives - fp * positives
        if goodness.max() <= 0:
            return None
    else:
        goodness = 2 * tp / (tp + fp + positives)
    lower = np.concatenate([[0.0], cuts[:-1]])
    middle = (lower + cuts) / 2
    threshold = np.where(middle > lower, middle, cuts)  # neighbours one rounding apart have no middle
    threshold[0] = cuts[0]
    best = threshold[goodness == goodness.max()]
    return float(best[np.abs(best - DEFAULT).argmin()])
