"""Thresholds: chosen on validation images, then kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from zoo.core.errors import UsageError, unknown
from zoo.core.tasks import TaskKind
from zoo.evaluation.notes import FEW, Note
from zoo.evaluation.predictions import Predictions

DEFAULT = 0.5
TARGETS = ("sensitivity", "specificity")
RULES = ("fixed", "youden", "f1", *TARGETS)


@dataclass(frozen=True)
class ThresholdRule:
    """How thresholds are chosen, per label, on validation images.

    "fixed" is `value` itself; "youden" the best sensitivity + specificity - 1 (Youden 1950); "f1" the best F1;
    "sensitivity" the highest threshold whose sensitivity is at least `value`, and "specificity" the lowest whose
    specificity is. `value` is a threshold in [0, 1] for "fixed", .5 unless given; for the last two it is the target in
    (0, 1] and must be given; the others do not use it.

    Raises:
        UsageError: there is no such rule, or the value is not valid for it.
    """

    rule: Literal["fixed", "youden", "f1", "sensitivity", "specificity"]
    # None, which only the default can be, stands for "not given" and never stays
    value: float = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("threshold rule", str(self.rule), RULES)
        if self.value is None and self.rule in TARGETS:
            raise UsageError(
                f"the threshold rule {self.rule} needs its target: give threshold.value after threshold.rule, such as .95."
            )
        if self.value is None:
            object.__setattr__(self, "value", DEFAULT)
        if not 0 <= self.value <= 1 or (self.rule in TARGETS and self.value == 0):
            what = f"a target {self.rule} lies above 0 and goes up to 1" if self.rule in TARGETS else _RANGE
            raise UsageError(f"{what}, not {self.value!r}.")

    @property
    def target(self) -> float | None:
        """The sensitivity or specificity asked for; None for the rules without one."""
        return self.value if self.rule in TARGETS else None


_RANGE = "a threshold is a probability from 0 to 1"


def check_rule(kind: TaskKind, rule: ThresholdRule) -> None:
    """Make sure that the rule means something for this kind of task.

    Raises:
        UsageError: a target is asked for on a multiclass task.
    """
    if kind == "multiclass" and rule.target is not None:
        raise UsageError(
            f"a target {rule.rule} needs a threshold, and a multiclass task has none: the most probable class decides. "
            "Leave the threshold rule out, or train the task as binary or multilabel."
        )


def monitor_threshold(rule: ThresholdRule) -> float:
    """The threshold of what is monitored in training: that of a fixed rule; .5 where it will be chosen on validation in the end."""
    return float(rule.value) if rule.rule == "fixed" else DEFAULT


def choose_thresholds(predictions: Predictions, rule: ThresholdRule) -> dict[str, float]:
    """Choose one threshold per label, a probability: an image is positive at or above it.

    A chosen threshold lies halfway between two neighbouring probabilities of the validation images, or between the
    highest of them and 1 where no image may be predicted positive; of several that are equally good by Youden or F1 the one
    nearest to .5 is taken. Where the images do not determine it (a class that the rule needs is absent, or no threshold is
    better than chance) it is .5, which `threshold_notes` reports. A multiclass task takes the most probable class and has no
    thresholds to choose: they are all .5.

    Raises:
        DataError: the predictions have no images, a logit that is not finite, or an image twice.
        UsageError: a target is asked for on a multiclass task.
    """
    check_rule(predictions.task.kind, rule)
    if predictions.task.exclusive:
        return dict.fromkeys(predictions.task.labels, DEFAULT)
    if rule.rule == "fixed":
        return dict.fromkeys(predictions.task.labels, float(rule.value))
    return {label: DEFAULT if t is None else t for label, t in _best(predictions, rule).items()}


def threshold_notes(predictions: Predictions, rule: ThresholdRule) -> tuple[Note, ...]:
    """The labels whose threshold could not be determined and fell back to .5, whose target is only reached by one prediction
    for every image, or whose target rests on fewer than ten images."""
    task = predictions.task
    check_rule(task.kind, rule)
    if task.exclusive or rule.rule == "fixed":
        return ()
    best = _best(predictions, rule)
    fallen = [label for label, threshold in best.items() if threshold is None]
    probability, wanted = predictions.probabilities, rule.rule == "sensitivity"
    same, few = [], {}
    for k, label in enumerate(task.labels if rule.target is not None else ()):
        if (threshold := best[label]) is None:
            continue
        labels = predictions.labels[:, k]
        positive = probability[~np.isnan(labels), k] >= threshold
        if (positive == wanted).all():
            same.append(label)
        if (count := int((labels == wanted).sum())) < FEW:
            few[label] = count
    notes = (
        Note("undetermined_threshold", tuple(fallen)),
        Note("target_by_one_decision", tuple(same)),
        Note("target_on_few_images", tuple(few), tuple(few.values())),
    )
    return tuple(note for note in notes if note.labels)


def _best(predictions: Predictions, rule: ThresholdRule) -> dict[str, float | None]:
    predictions.check("validation predictions")
    probability = predictions.probabilities
    return {
        label: _best_threshold(predictions.labels[:, k], probability[:, k], rule)
        for k, label in enumerate(predictions.task.labels)
    }


def _best_threshold(labels: np.ndarray, probability: np.ndarray, rule: ThresholdRule) -> float | None:
    known = ~np.isnan(labels)
    positive, probability = labels[known] > 0.5, probability[known]
    positives, negatives = int(positive.sum()), int((~positive).sum())
    needed = {"sensitivity": positives, "specificity": negatives}.get(rule.rule, positives * negatives)
    if not needed:
        return None
    cuts, group = np.unique(probability, return_inverse=True)
    tp = np.bincount(group, positive)[::-1].cumsum()[::-1]  # positives at or above each distinct probability
    fp = np.bincount(group, ~positive)[::-1].cumsum()[::-1]
    if rule.rule == "sensitivity":  # falls from 1 with the threshold
        return float(_between(cuts)[np.flatnonzero(tp / positives >= rule.value)[-1]])
    if rule.rule == "specificity":  # rises to 1, which it reaches at the latest above all images
        met = np.flatnonzero((negatives - fp) / negatives >= rule.value)
        if len(met):
            return float(_between(cuts)[met[0]])
        above = max((cuts[-1] + 1) / 2, np.nextafter(cuts[-1], 2))
        return float(above) if above <= 1 else None  # a negative image has probability 1
    if rule.rule == "youden":
        # sensitivity - false positive rate, times both class sizes: whole numbers, so that ties are ties
        goodness = tp * negatives - fp * positives
        if goodness.max() <= 0:
            return None
    else:
        goodness = 2 * tp / (tp + fp + positives)
    best = _between(cuts)[goodness == goodness.max()]
    return float(best[np.abs(best - DEFAULT).argmin()])


def _between(cuts: np.ndarray) -> np.ndarray:
    """The threshold with each distinct probability and all above it positive: halfway to the one below."""
    lower = np.concatenate([[0.0], cuts[:-1]])
    middle = (lower + cuts) / 2
    threshold = np.where(middle > lower, middle, cuts)  # neighbours one rounding apart have no middle
    threshold[0] = cuts[0]
    return threshold
