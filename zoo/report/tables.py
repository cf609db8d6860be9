"""Results as terminal tables that keep their numbers whole in 80 columns and in a pipe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from zoo.core.text import count_of
from zoo.evaluation import Evaluation, OperatingPoint
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.reference import ReferenceComparison
from zoo.evaluation.reliability import CalibrationResult, Reliability
from zoo.evaluation.subgroups import Group
from zoo.report.sentences import METRICS, overall, size, split_name

RULES = {
    "fixed": "fixed",
    "youden": "best sensitivity + specificity on validation",
    "f1": "best F1 on validation",
    "sensitivity": "sensitivity of at least {} on validation",
    "specificity": "specificity of at least {} on validation",
}
WIDE = 90  # columns of a terminal that has room for precision and F1 too


def new_table(title: str | None, *columns: str, words: int = 1, gap: int = 0) -> Table:
    """A table with a rule under its head and the title on the left.

    The first `words` columns hold text, which may be folded; the others hold numbers, kept whole at the right. `gap` is the
    number of blanks between columns beyond the usual.
    """
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="", padding=(0, gap, 0, 0), show_edge=False
    )
    for number, column in enumerate(columns):
        if number < words:
            table.add_column(Text(column), overflow="fold")
        else:
            table.add_column(Text(column), justify="right", no_wrap=True)
    return table


def evaluation_table(evaluation: Evaluation, width: int = 80) -> Table:
    """One row per label, then the averages: positive images (of those where the label is known), AUROC and AUPRC with
    intervals, and sensitivity and specificity at the threshold (of the most probable class for a multiclass task).

    From a `width` of 90 columns on it is the whole classification report, with precision, F1 and the averages over images.
    """
    wide, at = width >= WIDE, [] if evaluation.task.exclusive else ["at"]
    at_threshold = {"sens": "sensitivity", "spec": "specificity"} | ({"prec": "precision", "F1": "f1"} if wide else {})
    all_known = all(known == evaluation.images for known in evaluation.known.values())
    positives = "pos." if all_known else "pos./known"
    title = f"{split_name(evaluation.split)}: {size(evaluation)}"
    table = new_table(title, "label", positives, "AUROC", "AUPRC", *at_threshold, *at)
    rows = {**evaluation.per_label}
    if evaluation.task.kind != "binary":
        # averages over images have neither of the AUCs, and no specificity
        averages = {name: values for name, values in evaluation.averages.items() if wide or name != "samples"}
        rows |= {f"({name})": values for name, values in averages.items()}
    for number, (label, values) in enumerate(rows.items()):
        single = number < len(evaluation.per_label)
        cells: list[RenderableType] = [Text(label), ""]
        if single:
            cells[1] = str(evaluation.positives[label]) + ("" if all_known else f"/{evaluation.known[label]}")
        cells += ["" if label == "(samples)" else str(values[metric]) for metric in ("auroc", "auprc")]
        cells += [short(values[metric].value) for metric in at_threshold.values()]
        cells += [short(evaluation.thresholds[label]) if single else "" for _ in at]
        table.add_row(*cells, end_section=number == len(evaluation.per_label) - 1)
    return table


def results_table(validation: Evaluation | None, test: Evaluation | None) -> Table:
    """The small table after training: metrics down, validation and test across, each value with its interval.

    The rows are the task's metrics; with several labels these are macro averages, followed by each label's AUROC.
    A split that was not evaluated has no column.
    """
    shown = [each for each in (validation, test) if each is not None]
    if not shown:
        raise ValueError("there is no evaluation to show")
    task = shown[0].task
    heads = (f"{split_name(each.split)}\n{size(each)}".replace(", ", "\n") for each in shown)
    table = new_table(None, "", *heads, gap=1)
    several = task.kind != "binary"
    for number, metric in enumerate(task.metrics):
        macro = "macro " if several and metric != "accuracy" else ""
        values = [str(each.averages["macro"][metric]) for each in shown]
        table.add_row(f"{macro}{METRICS[metric]}", *values, end_section=several and number == len(task.metrics) - 1)
    if several:
        for label in task.labels:
            table.add_row(Text(f"AUROC {label}"), *(str(each.per_label[label]["auroc"]) for each in shown))
    return table


def operating_table(points: Sequence[OperatingPoint]) -> Table:
    """Each label's threshold with what it gives on validation and, with intervals, on the images measured."""
    first = points[0]
    rule = RULES[first.rule].format("" if first.target is None else short(first.target))
    table = new_table(f"Operating points: {rule}", "label", "at", "val sens", "val spec", "sensitivity", "specificity")
    for each in points:
        before = [short(each.validation[name]) for name in ("sensitivity", "specificity")]
        after = [str(each.test[name]) for name in ("sensitivity", "specificity")]
        table.add_row(Text(each.label), short(each.threshold), *before, *after)
    return table


def predictive_table(points: Sequence[OperatingPoint]) -> Table:
    """Predictive values at the prevalence of the images, and at the assumed one where there is one."""
    table = new_table(
        "Predictive values (PPV, NPV) and the prevalence they hold at", "label", "prevalence", "PPV", "NPV"
    )
    for each in points:
        table.add_row(Text(each.label), short(each.prevalence), str(each.test["precision"]), str(each.test["npv"]))
        if each.assumed_prevalence is not None:
            table.add_row("", f"if {short(each.assumed_prevalence)}", str(each.ppv_at), str(each.npv_at))
    return table


def groups_table(groups: Sequence[Group]) -> Table:
    """One row per group: of a task with several labels the means over them; few images are marked with *."""
    rows = overall(groups)
    mean = " (means over the labels)" if rows[0].label == "macro" else ""
    mark = "; * few images" if any(each.small for each in rows) else ""
    title = f"Groups{mean}; gap: against all other images{mark}"
    table = new_table(title, "", "images", "AUROC", "gap", "missed")
    for number, each in enumerate(rows):
        table.add_row(
            Text(f"{each.column} {each.name}{' *' if each.small else ''}"),
            f"{each.images:,}",
            *(str(value) for value in (each.auroc, each.auroc_gap, each.false_negative_rate)),
            end_section=number + 1 == len(rows) or rows[number + 1].column != each.column,
        )
    return table


def calibration_table(result: CalibrationResult) -> Table:
    """Brier score and calibration error of each label before and after."""
    title = f"Calibration by {result.method}, fitted on validation"
    table = new_table(title, "label", "Brier", "→", "ECE", "→")
    for label, before in result.before.items():
        first, second = _scores(before), _scores(result.after[label])
        cells = [text for name in first for text in (str(first[name]), short(second[name].value))]
        table.add_row(Text(label), *cells)
    return table


def calibration_line(result: CalibrationResult) -> str:
    """One sentence: Brier score and calibration error before and after, means over the labels where there are several."""
    before, after = ([_scores(each) for each in side.values()] for side in (result.before, result.after))
    if len(before) == 1:
        mean, parts = "", [f"{name} {before[0][name]} → {after[0][name]}" for name in before[0]]
    else:
        mean, parts = ", means over the labels", []
        for name in before[0]:
            values = [short(float(np.nanmean([each[name].value for each in side]))) for side in (before, after)]
            parts.append(f"{name} {' → '.join(values)}")
    return f"Calibration ({result.method}, fitted on validation){mean}: {', '.join(parts)}."


def _scores(each: Reliability) -> dict[str, Interval]:
    return {"Brier": each.brier.value, "ECE": each.ece}


def reference_table(found: ReferenceComparison) -> Table:
    """Both references side by side on the images that both have."""
    images = count_of(found.images, "image")
    table = new_table(
        f"{images} also labelled in {found.source}; AUROC against either reference",
        *("label", "pos.", "there", "kappa", "own labels", "there"),
    )
    for label, agreement in found.agreement.items():
        counts = (f"{agreement[name]:.0f}" for name in ("own_positive", "other_positive"))
        aurocs = (str(each.per_label[label]["auroc"]) for each in (found.own, found.other))
        table.add_row(Text(label), *counts, short(agreement["kappa"]), *aurocs)
    if len(found.agreement) > 1:
        table.add_row("(macro)", "", "", "", str(found.own.headline), str(found.other.headline))
    return table
