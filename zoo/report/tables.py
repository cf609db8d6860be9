"""Results as tables: of the page and the model card, and for a terminal of 80 columns or a pipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table as TerminalTable

from zoo.core.text import count_of, listed
from zoo.core.thresholds import as_probability
from zoo.evaluation import Evaluation, OperatingPoint
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.like_for_like import common_means
from zoo.evaluation.metrics import mean_of_defined
from zoo.evaluation.reference import ReferenceComparison
from zoo.evaluation.reliability import CalibrationResult, Reliability
from zoo.evaluation.subgroups import MACRO, Group
from zoo.report.blocks import Table
from zoo.report.cells import Lines, cell
from zoo.report.detail_sentences import binning
from zoo.report.sentences import METRICS, of_patients, overall, shown, size, split_name

if TYPE_CHECKING:
    from zoo.runs.results import Results

RULES = {
    "fixed": "fixed",
    "youden": "best sensitivity + specificity on validation (Youden)",
    "f1": "best F1 on validation",
    "sensitivity": "sensitivity of at least {} on validation",
    "specificity": "specificity of at least {} on validation",
}
WIDE = 90  # columns of a terminal that has room for precision and F1 too

# what a terminal has room for: columns of the tables below with the headings that they have there
OPERATING = {
    "label": "label",
    "threshold": "at",
    "sensitivity, validation": "val sens",
    "sensitivity": "sensitivity",
} | {
    "specificity, validation": "val spec",
    "specificity": "specificity",
}
PREDICTIVE = {name: name for name in ("label", "prevalence", "PPV", "NPV")}
ASSUMED = {"label": "label", "assumed prevalence": "assumed", "PPV there": "PPV there", "NPV there": "NPV there"}
GROUPS = {
    "group": "",
    "images": "images",
    "AUROC": "AUROC",
    "AUROC minus all others’": "gap",
    "false-negative rate": "missed",
}
CALIBRATION = {"label": "label", "": "", "Brier score": "Brier score", "ECE": "ECE"}
REFERENCE = {
    "label": "label",
    "positive in the dataset": "pos.",
    "positive in the second": "there",
    "Cohen’s kappa": "kappa",
} | {
    "AUROC against the dataset": "own labels",
    "AUROC against the second": "there ",
}


# averages over images, and what they do with a metric that is undefined for an image
OVER_IMAGES = {"samples": "where defined", "samples_zero": "undefined as 0"}


def new_table(title: str | None, *columns: str | Lines, words: int = 1, gap: int = 0) -> TerminalTable:
    """A table with a rule under its head and the title on the left.

    The first `words` columns hold text, which may be folded; the others hold numbers, kept whole at the right. `gap` is the
    number of blanks between columns beyond the usual.
    """
    table = TerminalTable(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="", padding=(0, gap, 0, 0), show_edge=False
    )
    for number, column in enumerate(columns):
        head = cell(column) if isinstance(column, str) else column
        if number < words:
            table.add_column(head, overflow="fold")
        else:
            table.add_column(head, justify="right", no_wrap=True)
    return table


def evaluation_table(evaluation: Evaluation, width: int = 80) -> TerminalTable:
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
        averages = {name: values for name, values in evaluation.averages.items() if wide or name not in OVER_IMAGES}
        rows |= {f"({name})": values for name, values in averages.items()}
    for number, (label, values) in enumerate(rows.items()):
        single = number < len(evaluation.per_label)
        cells: list[RenderableType] = [cell(label), ""]
        if single:
            cells[1] = str(evaluation.positives[label]) + ("" if all_known else f"/{evaluation.known[label]}")
        over_images = not single and label.strip("()") in OVER_IMAGES
        cells += ["" if over_images else str(values[metric]) for metric in ("auroc", "auprc")]
        cells += [short(values[metric].value) for metric in at_threshold.values()]
        cells += [short(as_probability(evaluation.thresholds[label])) if single else "" for _ in at]
        table.add_row(*cells, end_section=number == len(evaluation.per_label) - 1)
    return table


def results_table(validation: Evaluation | None, test: Evaluation | None) -> TerminalTable:
    """The small table after training: metrics down, validation and test across, each value with its interval.

    The rows are the task's metrics; with several labels these are macro averages, followed by each label's AUROC.
    A split that was not evaluated has no column.
    """
    shown = [each for each in (validation, test) if each is not None]
    if not shown:
        raise ValueError("there is no evaluation to show")
    task = shown[0].task
    heads = (Lines(f"{split_name(each.split)}\n{size(each)}".replace(", ", "\n")) for each in shown)
    table = new_table(None, "", *heads, gap=1)
    several = task.kind != "binary"
    for number, metric in enumerate(task.metrics):
        macro = "macro " if several and metric != "accuracy" else ""
        values = [str(each.averages["macro"][metric]) for each in shown]
        table.add_row(f"{macro}{METRICS[metric]}", *values, end_section=several and number == len(task.metrics) - 1)
    if several:
        for label in task.labels:
            table.add_row(cell(f"AUROC {label}"), *(str(each.per_label[label]["auroc"]) for each in shown))
    return table


def like_for_like(validation: Evaluation | None, test: Evaluation | None) -> str | None:
    """The line below `results_table` where the means of its two columns are over different labels: both over the same."""
    if validation is None or test is None or test.task.kind == "binary":
        return None
    parts = [
        f"{METRICS[metric]} {short(before)} and {short(after)} ({count_of(len(labels), 'label')})"
        for metric, (labels, before, after) in common_means(validation, test, test.task.metrics).items()
    ]
    if not parts:
        return None
    return (
        "The macro means of the two columns are over different labels. Over those defined on both, validation and test: "
        f"{', '.join(parts)}."
    )


def terminal(
    table: Table,
    title: str | None,
    columns: Mapping[str, str | Lines],
    words: int = 1,
    gap: int = 0,
    *,
    stacked: bool = False,
) -> TerminalTable:
    """A table of the page for a terminal: some of its columns, each with the heading it has there; see `new_table`.

    With `stacked` an interval stands below its value.
    """
    places = [table.columns.index(name) for name in columns]
    result = new_table(title, *columns.values(), words=words, gap=gap)
    for row in table.rows:
        cells = [cell(row[place]) for place in places]
        if stacked:
            cells[words:] = [Lines(each.plain.replace(" [", "\n[")) for each in cells[words:]]
        result.add_row(*cells)
    return result


def rule_text(points: Sequence[OperatingPoint]) -> str:
    """How the thresholds were chosen."""
    first = points[0]
    return RULES[first.rule].format("" if first.target is None else short(first.target))


def operating_line(results: Results) -> str | None:
    """The operating point of all figures at a threshold, in one line: the thresholds and their rule. None without thresholds."""
    if not results.operating:
        return None
    at = sorted(as_probability(point.threshold) for point in results.operating)
    low, high = short(at[0]), short(at[-1])
    if low == high:
        what = f"Threshold {low}" if len(at) == 1 else f"Threshold {low} for every label"
    else:
        what = f"Thresholds {low} to {high} by label"
    rule = "Youden’s rule on validation" if results.rule.rule == "youden" else rule_text(results.operating)
    undetermined = {
        label for note in results.threshold_notes if note.kind == "undetermined_threshold" for label in note.labels
    }
    if len(undetermined) == len(results.operating):
        rule = f"validation determines none ({rule.removesuffix(' on validation')})"
    elif undetermined:
        rule += ", .5 where that determines none"
    return f"{what}: {rule}."


def operating_table(points: Sequence[OperatingPoint], here: str) -> Table:
    """Each label's threshold with what it gives on validation and, with intervals, on the images measured."""
    missed = frozenset(i for i, point in enumerate(points) if point.shortfall is not None)
    target = points[0].target is not None
    rows = []
    for point in points:
        cells = [point.label, short(as_probability(point.threshold))]
        for metric in ("sensitivity", "specificity"):
            cells += [short(point.validation[metric]), shown(point.test[metric])]
        rows.append((*cells, *((shown(point.shortfall) if point.shortfall else "",) if target else ())))
    names = ("label", "threshold", "sensitivity, validation", "sensitivity", "specificity, validation", "specificity")
    chosen = "" if points[0].rule == "fixed" else ", where they were chosen,"
    caption = (
        f"Thresholds and what they give on the validation images{chosen} and on the {here} images (95% intervals). "
        f"Rule: {rule_text(points)}." + (" Rows in italics miss their target." if missed else "")
    )
    return Table(caption, (*names, *(("short of the target by",) if target else ())), tuple(rows), marked=missed)


def predictive_table(points: Sequence[OperatingPoint]) -> Table:
    """Predictive values at the prevalence of the images, and at the assumed one of each label where there is one."""
    assumed = any(point.assumed_prevalence is not None for point in points)
    rows = []
    for point in points:
        cells = [point.label, short(point.prevalence), shown(point.test["precision"]), shown(point.test["npv"])]
        if assumed:
            at = point.assumed_prevalence
            cells += ["–" if at is None else short(at), shown(point.ppv_at), shown(point.npv_at)]
        rows.append(tuple(cells))
    names = (*PREDICTIVE, *(tuple(ASSUMED)[1:] if assumed else ()))
    note = "" if assumed else " “zoo report RUN --prevalence P” gives them at another, “LABEL=P” for one label."
    return Table(f"Predictive values (PPV, NPV) at the prevalence they hold at.{note}", names, tuple(rows))


def groups_table(
    groups: Sequence[Group], caption: str = "Groups of images.", folded: bool = False, *, patients: bool = True
) -> Table:
    """One row per group, small groups marked: means over the labels where there are several; `folded`: label by label.

    `patients`: whether they are known, and counted.
    """
    rows = [group for group in groups if group.label != MACRO] if folded else overall(groups)
    several = any(group.label == MACRO for group in groups)
    cells = []
    for group in rows:
        name = f"{group.column} {group.name}" + (" (small)" if group.small else "")
        counts = [f"{count:,}" for count in (group.images, *((group.patients,) if patients else ()))]
        # of a mean no positives are given: an image has several labels, so their sum is no number of images
        counts.append(_defined(group, groups) if group.label == MACRO else f"{group.positives:,}")
        values = (shown(v) for v in (group.auroc, group.auroc_gap, group.false_negative_rate, group.fnr_gap))
        cells.append((name, *((group.label,) if folded and several else ()), *counts, *values))
    names: tuple[str, ...] = ("group", *(("label",) if folded and several else ()), "images")
    names += ("patients",) if patients else ()
    names += ("labels with an AUROC" if several and not folded else "positive images",)
    names += ("AUROC", "AUROC minus all others’", "false-negative rate", "the same minus all others’")
    marked = frozenset(i for i, group in enumerate(rows) if group.small)
    note = (
        " A mean is over the labels that are defined in the group, a difference over those defined on both sides."
        if several and not folded
        else ""
    )
    caption = f"{caption} A difference is the group minus all images outside it.{note}"
    return Table(caption, names, tuple(cells), folded=folded, marked=marked)


def _defined(group: Group, groups: Sequence[Group]) -> str:
    """How many of the labels have an AUROC in a group: "5 of 14"."""
    labels = [g for g in groups if (g.column, g.name) == (group.column, group.name) and g.label != MACRO]
    return f"{sum(not math.isnan(g.auroc.value) for g in labels)} of {len(labels)}"


def calibration_table(found: CalibrationResult) -> Table:
    """Brier score with its parts and ECE of every label, before and after calibration."""
    rows = []
    for label, first in found.before.items():
        for name, each in (("as trained", first), ("calibrated", found.after[label])):
            parts = (each.brier.miscalibration, each.brier.discrimination, each.brier.uncertainty)
            rows.append((label, name, shown(each.brier.value), *(short(p) for p in parts), shown(each.ece)))
    caption = (
        "Brier score = miscalibration − discrimination + uncertainty (lower is better; more discrimination is better), "
        f"and the expected calibration error. {binning(found)}"
    )
    names = ("label", "", "Brier score", "miscalibration", "discrimination", "uncertainty", "ECE")
    return Table(caption, names, tuple(rows))


def calibration_line(result: CalibrationResult) -> str:
    """One sentence: Brier score and calibration error before and after, means over the labels where there are several."""
    before, after = ([_scores(each) for each in side.values()] for side in (result.before, result.after))
    if len(before) == 1:
        mean, parts = "", [f"{name} {before[0][name]} → {after[0][name]}" for name in before[0]]
    else:
        mean, parts = ", means over the labels", []
        for name in before[0]:
            values = np.array([[each[name].value for each in side] for side in (before, after)])
            parts.append(f"{name} {' → '.join(short(float(mean)) for mean in mean_of_defined(values))}")
    return f"Calibration ({result.method}, fitted on validation){mean}: {', '.join(parts)}."


def _scores(each: Reliability) -> dict[str, Interval]:
    return {"Brier": each.brier.value, "ECE": each.ece}


def reference_table(found: ReferenceComparison) -> Table:
    """Both references side by side on the images that both have."""
    rows = []
    for label, agreement in found.agreement.items():
        own, other = (each.per_label[label]["auroc"] for each in (found.own, found.other))
        counts = (f"{agreement[n]:,.0f}" for n in ("images", "own_positive", "other_positive", "both"))
        rows.append((label, *counts, short(agreement["kappa"]), short(agreement["agree"]), shown(own), shown(other)))
    if len(rows) > 1:
        number = f" of {len(found.labels)}" if len(found.labels) < len(rows) else ""
        rows.append((f"macro{number}", *[""] * 6, shown(found.own_mean), shown(found.other_mean)))
    names = (
        *("label", "images", "positive in the dataset", "positive in the second", "positive in both"),
        *("Cohen’s kappa", "agreement", "AUROC against the dataset", "AUROC against the second"),
    )
    caption = (
        f"{of_patients(count_of(found.images, 'image'), found.patients, found.own.patients_known)} that both references have; "
        f"the second is {found.source}."
    )
    if 1 < len(found.agreement) > len(found.labels):
        caption += f" The macro mean is over labels defined against both: {listed(found.labels, 14)}."
    return Table(caption, names, tuple(rows))
