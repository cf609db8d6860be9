"""Thresholds: chosen on validation images, then kept."""

from __future__ import annotations

import numpy as np

import zoo.evaluation.metrics as metrics
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
    nearest to .5 is taken. Between images whose logits differ but whose probabilities round to the same number, near 1, it
    is a logit instead and lies above 1, which `metrics.decisions` knows. Where the images do not determine it (a class that
    the rule needs is absent, or no threshold is better than chance) it is .5, which `threshold_notes` reports. A multiclass
    task takes the most probable class and has no thresholds to choose: they are all .5.

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
    for every image, whose threshold rests on fewer than ten images (of the class of a target, else of the rarer class), or
    whose threshold is a logit."""
    task = predictions.task
    check_rule(task.kind, rule)
    if task.exclusive or rule.rule == "fixed":
        return ()
    best = _best(predictions, rule)
    chosen = {label: DEFAULT if threshold is None else threshold for label, threshold in best.items()}
    positive, wanted = metrics.decisions(task, predictions.logits, chosen), rule.rule == "sensitivity"
    same, few = [], {}
    for k, label in enumerate(task.labels):
        if best[label] is None:
            continue
        labels = predictions.labels[:, k]
        if rule.target is not None and (positive[~np.isnan(labels), k] == wanted).all():
            same.append(label)
        sizes = {True: int((labels == 1).sum()), False: int((labels == 0).sum())}
        if (count := min(sizes.values()) if rule.target is None else sizes[wanted]) < FEW:
            few[label] = count
    notes = (
        Note("undetermined_threshold", tuple(label for label, threshold in best.items() if threshold is None)),
        Note("target_by_one_decision", tuple(same)),
        Note(f"{'threshold' if rule.target is None else 'target'}_on_few_images", tuple(few), tuple(few.values())),
        Note("logit_threshold", tuple(label for label, threshold in chosen.items() if threshold > 1)),
    )
    return tuple(note for note in notes if note.labels)


def _best(predictions: Predictions, rule: ThresholdRule) -> dict[str, float | None]:
    predictions.check("validation predictions")
    # rises with the logit, and tells apart what probabilities near 1 do not
    scale = np.where(predictions.logits > 1, predictions.logits, predictions.probabilities)
    return {
        label: _best_threshold(predictions.labels[:, k], scale[:, k], rule)
        for k, label in enumerate(predictions.task.labels)
    }


def _best_threshold(labels: np.ndarray, scale: np.ndarray, rule: ThresholdRule) -> float | None:
    """The best threshold from labels `(N,)` and the images' places on the scale `(N,)`: probabilities, and logits above 1."""
    known = ~np.isnan(labels)
    positive = labels[known] > 0.5
    positives, negatives = int(positive.sum()), int((~positive).sum())
    needed = {"sensitivity": positives, "specificity": negatives}.get(rule.rule, positives * negatives)
    if not needed:
        return None
    cuts, group = np.unique(scale[known], return_inverse=True)
    tp = np.bincount(group, positive)[::-1].cumsum()[::-1]  # positives at or above each distinct place
    fp = np.bincount(group, ~positive)[::-1].cumsum()[::-1]
    if rule.rule == "sensitivity":  # falls from 1 with the threshold
        return float(_between(cuts)[np.flatnonzero(tp / positives >= rule.value)[-1]])
    if rule.rule == "specificity":  # rises to 1, which it reaches at the latest above all images
        met = np.flatnonzero((negatives - fp) / negatives >= rule.value)
        return float(_between(cuts)[met[0]]) if len(met) else _above(cuts[-1])
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
    """The threshold with each distinct place and all above it positive: halfway to the one below."""
    probability = _probability(cuts)
    lower = np.concatenate([[0.0], probability[:-1]])
    middle = (lower + probability) / 2
    threshold = np.where(middle > lower, middle, probability)  # neighbours one rounding apart have no middle
    threshold[0] = probability[0]
    equal = np.flatnonzero(probability[1:] == probability[:-1])  # logits far above 1
    threshold[equal + 1] = (cuts[equal] + cuts[equal + 1]) / 2
    return threshold


def _above(top: float) -> float:
    """A threshold that is not reached at the highest place: halfway to the probability 1, a logit where that is 1 already."""
    probability = float(_probability(top))
    return float(top + 1) if probability == 1 else float(max((probability + 1) / 2, np.nextafter(probability, 2)))


def _probability(scale: np.ndarray | float) -> np.ndarray:
    return np.where(np.asarray(scale) > 1, 1 / (1 + np.exp(-np.maximum(scale, 1.0))), scale)
