"""Operating points: how the thresholds chosen on validation perform on test images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

import zoo.evaluation.metrics as metrics
from zoo.core.errors import UsageError, unknown
from zoo.core.tasks import Task
from zoo.core.thresholds import ThresholdRule, check_rule
from zoo.evaluation.bootstrap import confusion_replicates
from zoo.evaluation.interval import Interval, interval
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable
from zoo.evaluation.thresholds import choose_thresholds

MEASURES = ("sensitivity", "specificity", "precision", "npv", "f1", "accuracy", "balanced_accuracy", "mcc")
MOST_PROBABLE = "most probable class"


@dataclass(frozen=True)
class OperatingPoint(Serialisable):
    """One label at its threshold.

    Attributes:
        label: the label.
        rule: how the threshold was chosen; "most probable class" for a multiclass task.
        target: the sensitivity or specificity that the rule asked for; None for the rules without one.
        threshold: a probability, images at or above it being positive; NaN for a multiclass task.
        validation: `MEASURES` on the images the threshold was chosen on, therefore optimistic.
        test: `MEASURES` on test images, where `precision` and `npv` hold at the prevalence of these images.
        confusion: test images: tp, fp, fn, tn.
        shortfall: target minus what was achieved on test, where that is below the target, else None.
        prevalence: share of positives among the test images, NaN where the label is unknown on all.
        assumed_prevalence: the prevalence given by the caller for this label, in (0, 1); None where there is none.
        ppv_at: positive predictive value at the assumed prevalence, by Bayes' rule from sensitivity and specificity.
        npv_at: negative predictive value likewise.
    """

    label: str
    rule: str
    target: float | None
    threshold: float
    validation: dict[str, float]
    test: dict[str, Interval]
    confusion: dict[str, int]
    shortfall: Interval | None
    prevalence: float
    assumed_prevalence: float | None
    ppv_at: Interval | None
    npv_at: Interval | None


def assumed_prevalences(task: Task, prevalence: float | Mapping[str, float] | None) -> np.ndarray:
    """The assumed prevalence of every label `(K,)`, NaN where there is none, from one for all or from those of some labels.

    Raises:
        UsageError: one is not in (0, 1) or of no label of the task.
    """
    given = prevalence if isinstance(prevalence, Mapping) else dict.fromkeys(task.labels, prevalence)
    for label, value in given.items():
        if label not in task.labels:
            raise unknown("label", label, task.labels, "A prevalence is given as P, or as LABEL=P.")
        if value is not None and not 0 < value < 1:
            of = f" of {label}" if isinstance(prevalence, Mapping) else ""
            raise UsageError(f"the prevalence{of} is a share of images between 0 and 1, such as .1, not {value!r}.")
    return np.array([given.get(label) for label in task.labels], dtype=np.float64)


def operating_points(
    validation: Predictions,
    test: Predictions,
    rule: ThresholdRule,
    *,
    prevalence: float | Mapping[str, float] | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[OperatingPoint, ...]:
    """Choose the thresholds on validation and measure them on test, label by label.

    Args:
        validation: images to choose on.
        test: images to measure on, of the same task.
        rule: how to choose.
        prevalence: the share of positives, in (0, 1), of the population that predictive values are wanted for: one for all
            labels, or by label, where those that are not named have no such values.
        replicates: resamples of the test patients; 0 leaves the intervals undefined. The thresholds stay as chosen.
        level: of the intervals, in (0, 1).
        seed: of the resampling.

    Raises:
        UsageError: a prevalence is not in (0, 1) or of no label, or a target is asked for on a multiclass task.
        DataError: one of the two has no images, a logit that is not finite, or an image twice.
    """
    task = test.task
    assumed = assumed_prevalences(task, prevalence)
    check_rule(task.kind, rule)
    validation.check("validation predictions")
    test.check("test predictions")
    thresholds = choose_thresholds(validation, rule)
    positive = metrics.decisions(task, test.logits, thresholds)
    before = metrics.rates(metrics.confusion(validation.labels, metrics.decisions(task, validation.logits, thresholds)))
    table = metrics.confusion(test.labels, positive)
    drawn = confusion_replicates(test.labels, positive, test.table["patient"], replicates, seed)
    point, resampled = (_rates_at(each, assumed) for each in (table, drawn))
    found = []
    for k, label in enumerate(task.labels):
        values = {name: interval(point[name][k], resampled[name][:, k], level) for name in point}
        found.append(
            OperatingPoint(
                label=label,
                rule=MOST_PROBABLE if task.exclusive else rule.rule,
                target=rule.target,
                threshold=math.nan if task.exclusive else thresholds[label],
                validation={name: float(before[name][k]) for name in MEASURES},
                test={name: values[name] for name in MEASURES},
                confusion={name: int(part[k]) for name, part in table._asdict().items()},
                shortfall=_shortfall(rule, values),
                prevalence=values["prevalence"].value,
                assumed_prevalence=None if np.isnan(assumed[k]) else float(assumed[k]),
                ppv_at=None if np.isnan(assumed[k]) else values["ppv_at"],
                npv_at=None if np.isnan(assumed[k]) else values["npv_at"],
            )
        )
    return tuple(found)


def _rates_at(table: metrics.Confusion, prevalence: np.ndarray) -> dict[str, np.ndarray]:
    """The rates of a table `(..., K)`, and the predictive values at the prevalences `(K,)`, NaN where that is NaN."""
    found = metrics.rates(table)
    sensitivity, specificity = found["sensitivity"], found["specificity"]
    with np.errstate(invalid="ignore"):
        true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        found["ppv_at"] = true / (true + false)
        true, false = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        found["npv_at"] = true / (true + false)
    return found


def _shortfall(rule: ThresholdRule, values: dict[str, Interval]) -> Interval | None:
    if rule.target is None or not values[rule.rule].value < rule.target:
        return None
    achieved = values[rule.rule]
    return Interval(rule.target - achieved.value, rule.target - achieved.high, rule.target - achieved.low)
