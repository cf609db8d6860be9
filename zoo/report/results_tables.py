"""The parts of a study as terminal tables and sentences: operating points, subgroups, calibration, a second reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from zoo.evaluation.evaluate import Interval, short
from zoo.evaluation.operating import OperatingPoint
from zoo.evaluation.reference import TruthComparison
from zoo.evaluation.reliability import CalibrationResult, Reliability
from zoo.evaluation.subgroups import Group
from zoo.report.tables import plain_table

RULES = {
    "fixed": "fixed",
    "youden": "best sensitivity + specificity on validation",
    "f1": "best F1 on validation",
    "sensitivity": "sensitivity of at least {} on validation",
    "specificity": "specificity of at least {} on validation",
}


def operating_table(points: Sequence[OperatingPoint]) -> Table:
    """Each label's threshold with what it gives on validation and, with intervals, on the images of the study."""
    first = points[0]
    rule = RULES[first.rule].format("" if first.target is None else short(first.target))
    table = plain_table(f"Operating points: {rule}")
    table.add_column("label", overflow="fold")
    for title in ("at", "val sens", "val spec", "sensitivity", "specificity"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in points:
        before = [short(each.validation[name]) for name in ("sensitivity", "specificity")]
        after = [str(each.test[name]) for name in ("sensitivity", "specificity")]
        table.add_row(Text(each.label), short(each.threshold), *before, *after)
    return table


def predictive_table(points: Sequence[OperatingPoint]) -> Table:
    """Predictive values at the prevalence of the images, and at the assumed one where there is one."""
    table = plain_table("Predictive values (PPV, NPV) and the prevalence they hold at")
    table.add_column("label", overflow="fold")
    for title in ("prevalence", "PPV", "NPV"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in points:
        table.add_row(Text(each.label), short(each.prevalence), str(each.test["precision"]), str(each.test["npv"]))
        if each.assumed_prevalence is not None:
            table.add_row("", f"if {short(each.assumed_prevalence)}", str(each.ppv_at), str(each.npv_at))
    return table


def groups_table(groups: Sequence[Group]) -> Table:
    """One row per group: of a task with several labels the means over them; few images are marked with *."""
    labels = list(dict.fromkeys(each.label for each in groups))
    shown = "macro" if "macro" in labels else labels[0]
    rows = [each for each in groups if each.label == shown]
    mean = " (means over the labels)" if shown == "macro" else ""
    mark = "; * few images" if any(each.small for each in rows) else ""
    table = plain_table(f"Groups{mean}; gap: against all other images{mark}")
    table.add_column("", overflow="fold")
    for title in ("images", "AUROC", "gap", "missed"):
        table.add_column(title, justify="right", no_wrap=True)
    for number, each in enumerate(rows):
        last = number + 1 == len(rows) or rows[number + 1].column != each.column
        table.add_row(
            Text(f"{each.column} {each.name}{' *' if each.small else ''}"),
            f"{each.images:,}",
            str(each.auroc),
            str(each.auroc_gap),
            str(each.false_negative_rate),
            end_section=last,
        )
    return table


def calibration_table(result: CalibrationResult) -> Table:
    """Brier score and calibration error of each label before and after."""
    table = plain_table(f"Calibration by {result.method}, fitted on validation")
    table.add_column("label", overflow="fold")
    for title in ("Brier", "→", "ECE", "→"):
        table.add_column(title, justify="right", no_wrap=True)
    for label, before in result.before.items():
        after = result.after[label]
        table.add_row(
            Text(label),
            str(before.brier.value),
            short(after.brier.value.value),
            str(before.ece),
            short(after.ece.value),
        )
    return table


def calibration_line(result: CalibrationResult) -> str:
    """One sentence: Brier score and calibration error before and after, means over the labels where there are several."""
    if len(result.before) == 1:
        (label,) = result.before
        parts = [
            _change(name, _interval(result.before[label], name), _interval(result.after[label], name)) for name in NAMES
        ]
        return f"Calibration ({result.method}, fitted on validation): {', '.join(parts)}."
    parts = []
    for name in NAMES:
        values = [float(np.nanmean([_interval(each, name).value for each in side.values()])) for side in _sides(result)]
        parts.append(f"{name} {short(values[0])} → {short(values[1])}")
    return f"Calibration ({result.method}, fitted on validation), means over the labels: {', '.join(parts)}."


NAMES = ("Brier", "ECE")


def _sides(result: CalibrationResult) -> tuple[dict[str, Reliability], dict[str, Reliability]]:
    return result.before, result.after


def _interval(each: Reliability, name: str) -> Interval:
    return each.brier.value if name == "Brier" else each.ece


def _change(name: str, before: Interval, after: Interval) -> str:
    return f"{name} {before} → {after}"


def truth_table(truth: TruthComparison) -> Table:
    """Both references side by side on the images that both know."""
    table = plain_table(f"{truth.images:,} images also labelled in {truth.source}; AUROC against either reference")
    table.add_column("label", overflow="fold")
    for title in ("pos.", "there", "kappa", "own labels", "there"):
        table.add_column(title, justify="right", no_wrap=True)
    for label, agreement in truth.agreement.items():
        table.add_row(
            Text(label),
            f"{agreement['own_positive']:.0f}",
            f"{agreement['other_positive']:.0f}",
            short(agreement["kappa"]),
            str(truth.own.per_label[label]["auroc"]),
            str(truth.other.per_label[label]["auroc"]),
        )
    if len(truth.agreement) > 1:
        table.add_row(
            "(macro)",
            "",
            "",
            "",
            str(truth.own.averages["macro"]["auroc"]),
            str(truth.other.averages["macro"]["auroc"]),
        )
    return table
