"""The rule by which decision thresholds are chosen; `zoo.evaluation.thresholds` applies it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from zoo.core.errors import UsageError, unknown
from zoo.core.tasks import TaskKind

DEFAULT = 0.5
TARGETS = ("sensitivity", "specificity")
RULES = ("fixed", "youden", "f1", *TARGETS)


@dataclass(frozen=True)
class ThresholdRule:
    """How thresholds are chosen, per label, on validation images; `YOUDEN` unless asked otherwise.

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

    def __str__(self) -> str:
        return f"{self.rule} {self.value:g}" if self.rule == "fixed" or self.rule in TARGETS else self.rule

    @property
    def target(self) -> float | None:
        """The target sensitivity or specificity; None for the rules without one."""
        return self.value if self.rule in TARGETS else None


_RANGE = "a threshold is a probability from 0 to 1"
# a fixed .5 calls almost no image of a rare finding positive
YOUDEN = ThresholdRule("youden")


def as_probability(threshold: float) -> float:
    """The probability of a threshold: itself, or 1 for a threshold above 1, which is a logit where probabilities round to 1."""
    return min(float(threshold), 1.0)


def check_rule(kind: TaskKind, rule: ThresholdRule, *, asked: bool = False) -> None:
    """Check that the rule applies to this kind of task.

    Args:
        kind: of the task.
        rule: for its thresholds.
        asked: somebody named the rule for this very evaluation, and would wonder at one without effect; else a
            multiclass task goes with the rules that are a run's default.

    Raises:
        UsageError: the task is multiclass, and the rule has a target or was asked for.
    """
    if kind == "multiclass" and (asked or rule.target is not None):
        raise UsageError(
            f"the threshold rule {rule} does not apply: a multiclass task has no thresholds, the most probable class decides. "
            "Leave the rule out, or train the task as binary or multilabel."
        )
