"""Exact metrics in NumPy. Undefined is NaN, never 0; a NaN label is unknown and left out, label by label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from zoo.core.tasks import Task

METRICS = (
    "auroc",
    "auprc",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "f1",
    "accuracy",
    "balanced_accuracy",
    "mcc",
    "prevalence",
)
IMAGE_METRICS = ("sensitivity", "precision", "f1")


class Confusion(NamedTuple):
    """True and false positives and negatives; arrays of one shape, counts or sums of weights."""

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    tn: np.ndarray

    def total(self) -> Confusion:
        """The table summed over the last axis, which is kept: all labels pooled."""
        return Confusion(*(part.sum(axis=-1, keepdims=True) for part in self))


def probabilities(task: Task, logits: np.ndarray) -> np.ndarray:
    """The task's activation in float64, stable for any finite logit: sigmoid, or softmax over the last axis."""
    z = np.asarray(logits, dtype=np.float64)
    if task.exclusive:
        with np.errstate(invalid="ignore"):  # an infinite logit gives NaN, which `Predictions.check` reports
            e = np.exp(z - z.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True)
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def ranking_scores(task: Task, logits: np.ndarray) -> np.ndarray:
    """Scores `(N, K)` in the order of the probabilities, without the ties of probabilities that round to 0 or 1.

    The logits themselves for a sigmoid; for a softmax the log-odds `z_k - log(sum over j≠k of exp z_j)`.
    """
    if not task.exclusive:
        return np.asarray(logits)
    z = np.asarray(logits, dtype=np.float64)
    scores = np.empty_like(z)
    for k in range(z.shape[1]):
        others = np.delete(z, k, axis=1)
        top = others.max(axis=1, keepdims=True)
        # in one order whatever the classes: images with the same logits for other classes stay tied
        scores[:, k] = z[:, k] - top[:, 0] - np.log(np.sort(np.exp(others - top), axis=1).sum(axis=1))
    return scores


def decisions(task: Task, logits: np.ndarray, thresholds: Mapping[str, float]) -> np.ndarray:
    """The positive predictions, bool `(N, K)`: probability ≥ threshold, or the most probable class for multiclass.

    A threshold above 1 is a logit: it tells images apart whose probabilities round to 1. The first of several equally
    probable classes is taken.

    Raises:
        ValueError: a label has no threshold, unless the task is multiclass.
    """
    if task.exclusive:
        return np.asarray(logits).argmax(axis=1)[:, None] == np.arange(task.outputs)
    if missing := [label for label in task.labels if label not in thresholds]:
        raise ValueError(f"no threshold is given for {', '.join(missing)}")
    limits = np.array([thresholds[label] for label in task.labels])
    return np.where(limits > 1, logits, probabilities(task, logits)) >= limits


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, exact: the share of (positive, negative) pairs in the right order, ties counting half.

    Args:
        labels: `(N,)`, 1 or 0, NaN for unknown.
        scores: `(N,)`, higher means more likely positive; any monotone scale.

    Returns:
        A value in [0, 1]; NaN where one of the classes is absent or a score is NaN.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    positive, negative = scores[labels > 0.5], np.sort(scores[labels <= 0.5])
    pairs = len(positive) * len(negative)
    if not pairs or np.isnan(positive).any() or np.isnan(negative[-1]):
        return float("nan")
    positive = np.sort(positive)  # sorted needles search the same memory one after the other
    below = np.searchsorted(negative, positive, side="left").sum()
    up_to = np.searchsorted(negative, positive, side="right").sum()
    return float((below + up_to) / (2 * pairs))


def auprc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Average precision: the sum over distinct scores of precision × gain in recall, as scikit-learn defines it.

    Takes what `auroc` takes. NaN where one of the classes is absent: with positives alone it would be 1 for any scores.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    positive, negative = np.sort(scores[labels > 0.5]), np.sort(scores[labels <= 0.5])
    if not len(positive) or not len(negative) or np.isnan(positive[-1]) or np.isnan(negative[-1]):
        return float("nan")
    true = len(positive) - np.searchsorted(positive, positive, side="left")
    false = len(negative) - np.searchsorted(negative, positive, side="left")
    return float((true / (true + false)).mean())


def mean_auroc(task: Task, labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean AUROC over the labels where it is defined, `(N, K)` arrays; NaN where it is for none, or a logit is NaN."""
    return _mean_over_labels(auroc, task, labels, logits)


def mean_auprc(task: Task, labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean AUPRC over the labels where it is defined, as `mean_auroc`."""
    return _mean_over_labels(auprc, task, labels, logits)


def _mean_over_labels(
    metric: Callable[[np.ndarray, np.ndarray], float], task: Task, labels: np.ndarray, logits: np.ndarray
) -> float:
    scores = ranking_scores(task, logits)
    if np.isnan(scores).any():
        return float("nan")
    return float(mean_of_defined(by_label(metric, labels, scores)))


def by_label(metric: Callable[[np.ndarray, np.ndarray], float], labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """A metric of every label `(K,)`, from labels and scores `(N, K)`."""
    return np.array([metric(labels[:, k], scores[:, k]) for k in range(labels.shape[1])])


def confusion(labels: np.ndarray, positive: np.ndarray) -> Confusion:
    """Count the images of each label, arrays `(K,)`, from labels `(N, K)` and decisions bool `(N, K)`."""
    return Confusion(*(part.sum(axis=0) for part in parts(labels, positive)))


def parts(labels: np.ndarray, positive: np.ndarray) -> Confusion:
    """Which images are true and false positives and negatives, bool `(N, K)`; none of them where the label is unknown."""
    has, has_not = labels > 0.5, labels <= 0.5
    return Confusion(has & positive, has_not & positive, has & ~positive, has_not & ~positive)


def rates(table: Confusion) -> dict[str, np.ndarray]:
    """Every metric that follows from a confusion table, in arrays of its shape.

    Undefined (NaN): what divides by zero; F1 without positives; Matthews' coefficient where a margin is empty.
    """
    tp, fp, fn, tn = (np.asarray(part, dtype=np.float64) for part in table)
    total = tp + fp + fn + tn
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
        margins = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
        return {
            "sensitivity": sensitivity,
            "specificity": specificity,
            "precision": tp / (tp + fp),
            "npv": tn / (tn + fn),
            "f1": np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan),
            "accuracy": (tp + tn) / total,
            "balanced_accuracy": (sensitivity + specificity) / 2,
            "mcc": np.where(margins > 0, (tp * tn - fp * fn) / margins, np.nan),
            "prevalence": (tp + fn) / total,
        }


def decided(task: Task, labels: np.ndarray, logits: np.ndarray, threshold: float) -> dict[str, float]:
    """Macro F1, accuracy, recall and precision of the decisions at one threshold, from arrays `(N, K)`.

    The means are over the labels where a metric is defined, as in `averages`; a multiclass task decides for the most probable
    class, and its accuracy is the share of images that are right. NaN where a metric is defined for no label or a logit is NaN.
    """
    names = {"f1": "f1", "accuracy": "accuracy", "recall": "sensitivity", "precision": "precision"}
    if np.isnan(logits).any():
        return dict.fromkeys(names, float("nan"))
    table = confusion(labels, decisions(task, logits, dict.fromkeys(task.labels, threshold)))
    found = averages(task, rates(table), rates(table.total()), table.tp + table.fn)["macro"]
    return {name: float(found[own]) for name, own in names.items()}


def image_rates(labels: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """`IMAGE_METRICS` of every image over its labels, `(N, 3)`, from labels `(N, K)` and decisions bool `(N, K)`.

    Their mean over images is scikit-learn's `average="samples"` with `zero_division=nan`: undefined (NaN), and left out of
    the mean, are the sensitivity of an image without findings, the precision of one without positive predictions, and F1 where
    both hold; F1 of an image without findings but with positive predictions is 0. Unknown labels do not count.
    """
    tp = ((labels > 0.5) & positive).sum(axis=1)
    has, predicted = (labels > 0.5).sum(axis=1), (~np.isnan(labels) & positive).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.stack([tp / has, tp / predicted, 2 * tp / (has + predicted)], axis=1)


def mean_over_images(values: np.ndarray) -> np.ndarray:
    """Means of the columns of `(N, M)`, NaN left out; NaN where nothing is left."""
    return mean_of_defined(values.T)


def averages(
    task: Task,
    metrics: Mapping[str, np.ndarray],
    micro: Mapping[str, np.ndarray],
    positives: np.ndarray,
) -> dict[str, dict[str, np.ndarray]]:
    """Macro, micro and weighted averages `(...)` from metrics `(..., K)` and the pooled ones `(..., 1)`.

    Macro is the plain mean over the labels where a metric is defined, weighted the mean by number of positives. For a
    multiclass task accuracy and balanced accuracy are those of the most probable class over all classes: the share of
    images that are right, and the mean sensitivity.
    """
    result = {
        "macro": {name: mean_of_defined(values) for name, values in metrics.items()},
        "micro": {name: values[..., 0] for name, values in micro.items()},
        "weighted": {name: mean_of_defined(values, positives) for name, values in metrics.items()},
    }
    if task.exclusive:
        right, balanced = result["micro"]["sensitivity"], result["macro"]["sensitivity"]
        for each in result.values():
            each["accuracy"], each["balanced_accuracy"] = right, balanced
    return result


def mean_of_defined(values: np.ndarray, weights: np.ndarray | float = 1.0) -> np.ndarray:
    """Weighted mean over the last axis of what is not NaN; NaN where nothing is left."""
    weights = np.where(np.isnan(values), 0.0, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((np.nan_to_num(values) * weights).sum(axis=-1) / weights.sum(axis=-1))
