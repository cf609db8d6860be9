"""Thresholds: chosen on validation images, then kept."""

from __future__ import annotations

import numpy as np

from zoo.core.thresholds import DEFAULT, ThresholdRule, check_rule
from zoo.evaluation.notes import FEW, Note
from zoo.evaluation.predictions import Predictions


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
