"""Operating points: how the thresholds chosen on validation perform on test images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import zoo.evaluation.influence as influence
import zoo.evaluation.metrics as metrics
from zoo.core.errors import UsageError, unknown
from zoo.core.tasks import Task
from zoo.core.thresholds import ThresholdRule, check_rule
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.interval import Interval, intervals
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


def assumed_prevalences(task: Task, prevalence: float | Mapping[str, float] | None) -> dict[str, float | None]:
    """The assumed prevalence of every label, None where there is none, from one for all or from those of some labels.

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
    return {label: given.get(label) for label in task.labels}


def operating_points(
    validation: Predictions,
    test: Predictions,
    rule: ThresholdRule,
    *,
    prevalence: float | Mapping[str, float] | None = None,
    level: float = 0.95,
) -> tuple[OperatingPoint, ...]:
    """Choose the thresholds on validation and measure them on test, label by label.

    Args:
        validation: images to choose on.
        test: images to measure on, of the same task.
        rule: how to choose.
        prevalence: the share of positives, in (0, 1), of the population that predictive values are wanted for: one for all
            labels, or by label, where those that are not named have no such values.
        level: of the intervals, in (0, 1), which hold for the thresholds as they were chosen.

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
    codes, patients = patient_codes(test.table["patient"])
    by_patient = (influence.by_patient(part, codes, patients) for part in metrics.parts(test.labels, positive))
    measured = intervals(influence.decided(metrics.Confusion(*by_patient)), level)
    found = []
    for k, label in enumerate(task.labels):
        values = {name: each[k] for name, each in measured.items()}
        share = assumed[label]
        at = None if share is None else _predictive(values["sensitivity"], values["specificity"], share)
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
                assumed_prevalence=share,
                ppv_at=at[0] if at else None,
                npv_at=at[1] if at else None,
            )
        )
    return tuple(found)


def _predictive(sensitivity: Interval, specificity: Interval, prevalence: float) -> tuple[Interval, Interval]:
    """PPV and NPV at a prevalence, by Bayes' rule on the odds: prior odds × likelihood ratio."""
    odds = prevalence / (1 - prevalence)
    return _posterior(sensitivity, specificity, odds), _posterior(specificity, sensitivity, 1 / odds)


def _posterior(found: Interval, other: Interval, odds: float) -> Interval:
    """The share that is right among those decided one way: `found` of its own class are, 1 - `other` of the other class.

    The arms of the logarithms of both are put together by their squares (MOVER: Donner & Zou 2012, Statistical Methods in
    Medical Research 21:347); where one is infinite, both ends of the intervals are taken together.
    """

    def share(own: float, wrong: float) -> float:
        return own * odds / (own * odds + wrong) if own or wrong else math.nan

    value = share(found.value, 1 - other.value)
    if math.isnan(value + found.low + other.low):
        return Interval(value, math.nan, math.nan)
    if value in (0.0, 1.0):
        return Interval(
            value, min(value, share(found.low, 1 - other.low)), max(value, share(found.high, 1 - other.high))
        )
    logs = [[_log(each) for each in (i.value, i.low, i.high)] for i in (found, _complement(other))]
    (own, own_low, own_high), (wrong, wrong_low, wrong_high) = logs
    centre = own - wrong + math.log(odds)
    below, above = math.hypot(own - own_low, wrong_high - wrong), math.hypot(own_high - own, wrong - wrong_low)
    low, high = (1 / (1 + math.exp(min(-end, 700.0))) for end in (centre - below, centre + above))
    return Interval(value, low, high)


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf


def _complement(found: Interval) -> Interval:
    return Interval(1 - found.value, 1 - found.high, 1 - found.low)


def _shortfall(rule: ThresholdRule, values: dict[str, Interval]) -> Interval | None:
    if rule.target is None or not values[rule.rule].value < rule.target:
        return None
    achieved = values[rule.rule]
    return Interval(rule.target - achieved.value, rule.target - achieved.high, rule.target - achieved.low)
