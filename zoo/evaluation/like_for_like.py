"""Means over labels of two sets of images, over the labels that are defined on both: else the labels differ, not the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.interval import Interval
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable


@dataclass(frozen=True)
class Drop(Serialisable):
    """The headline AUROC on validation minus that on test, both over the `labels` defined on both.

    `left_out` are labels defined on one of them only. `difference` has the interval of a difference of two independent
    figures, for the patients of one are not those of the other; it has no bounds where one of the two has none.
    """

    validation: Interval
    test: Interval
    difference: Interval
    labels: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def clear(self) -> bool:
        """Whether the whole interval of the difference is above 0."""
        return self.difference.low > 0


def measure_drop(
    validation: Evaluation, test: Evaluation, validation_images: Predictions, test_images: Predictions
) -> Drop | None:
    """Compare validation with test, like for like; None where no label has an AUROC on both.

    Args:
        validation: what `evaluate` measured on `validation_images`.
        test: the same of `test_images`, whose patients are others.
        validation_images: measured again over fewer labels where that is needed.
        test_images: likewise.
    """
    labels, left_out = common_labels(validation, test, "auroc")
    if not labels:
        return None
    before = headline_over(labels, validation, validation_images)
    after = headline_over(labels, test, test_images)
    return Drop(before, after, independent_difference(before, after), labels, left_out)


def common_labels(first: Evaluation, second: Evaluation, metric: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The labels where a metric is defined in both evaluations, and those where it is in one of them only."""
    defined = [
        [label for label, values in each.per_label.items() if not math.isnan(values[metric].value)]
        for each in (first, second)
    ]
    both = tuple(label for label in defined[0] if label in defined[1])
    return both, tuple(label for label in dict.fromkeys(defined[0] + defined[1]) if label not in both)


def common_means(
    first: Evaluation, second: Evaluation, metrics: Sequence[str]
) -> dict[str, tuple[tuple[str, ...], float, float]]:
    """Of the metrics whose macro means in the two are over different labels: the labels where both define it, and both means
    over these, NaN where there is none. Empty where every mean is over the same labels."""
    found = {}
    for metric in metrics:
        labels, left_out = common_labels(first, second, metric)
        if left_out and not (
            first.task.exclusive and metric in ("accuracy", "balanced_accuracy")
        ):  # which are no means
            values = [
                [each.per_label[label][metric].value for label in labels] or [math.nan] for each in (first, second)
            ]
            found[metric] = (labels, float(np.mean(values[0])), float(np.mean(values[1])))
    return found


def headline_over(labels: Sequence[str], found: Evaluation, images: Predictions) -> Interval:
    """The headline AUROC as the mean over some of the labels, with its interval by the rules of `evaluate`."""
    if set(common_labels(found, found, "auroc")[0]) == set(labels):
        return found.headline
    kept = np.isin(found.task.labels, list(labels))
    fewer = dataclasses.replace(images, labels=np.where(kept, images.labels, np.nan))
    repeat: dict[str, Any] = {"replicates": found.replicates, "level": found.level, "seed": found.seed}
    return evaluate(fewer, found.thresholds, split=found.split, **repeat).headline


def independent_difference(first: Interval, second: Interval) -> Interval:
    """The first minus the second, two figures of different patients, with an interval of the level that theirs have.

    Its bounds are recovered from those of the two, whose skew they keep (MOVER: Zou and Donner 2008, Statistics in Medicine
    27:1693); they are NaN where one of the two has none.
    """
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, low, high)
