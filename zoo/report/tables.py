"""Evaluations as terminal tables that keep their numbers whole in 80 columns and in a pipe."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from zoo.evaluation.evaluate import Evaluation, short

TITLES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "f1": "F1",
    "accuracy": "accuracy",
}
LINE = "\n"
WIDE = 90  # columns of a terminal that has room for precision and F1 too
SPLITS = {"val": "validation", "train": "training"}


def evaluation_table(evaluation: Evaluation, width: int = 80) -> Table:
    """One row per label, then the averages: positive images (of those where the label is known), AUROC and AUPRC with
    intervals, and sensitivity and specificity at the threshold (of the most probable class for a multiclass task).

    From a `width` of 90 columns on it is the whole classification report, with precision, F1 and the averages over images.
    """
    wide = width >= WIDE
    at_threshold = {"sens": "sensitivity", "spec": "specificity"} | ({"prec": "precision", "F1": "f1"} if wide else {})
    table = plain_table(f"{_name(evaluation.split)}: {_images(evaluation)}")
    table.add_column("label", overflow="fold")
    for title in ("pos." if _all_known(evaluation) else "pos./known", "AUROC", "AUPRC", *at_threshold):
        table.add_column(title, justify="right", no_wrap=True)
    if not evaluation.task.exclusive:
        table.add_column("at", justify="right", no_wrap=True)
    rows = {**evaluation.per_label}
    if evaluation.task.kind != "binary":
        # averages over images have neither of the AUCs, and no specificity
        averages = {name: values for name, values in evaluation.averages.items() if wide or name != "samples"}
        rows |= {f"({name})": values for name, values in averages.items()}
    for number, (label, values) in enumerate(rows.items()):
        single = number < len(evaluation.per_label)
        cells: list[RenderableType] = [Text(label), _count(evaluation, label) if single else ""]
        cells += ["" if label == "(samples)" else str(values[metric]) for metric in ("auroc", "auprc")]
        cells += [short(values[metric].value) for metric in at_threshold.values()]
        if not evaluation.task.exclusive:
            cells.append(short(evaluation.thresholds[label]) if single else "")
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
    table = plain_table(None, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    for each in shown:
        table.add_column(f"{_name(each.split)}\n{_images(each, LINE)}", justify="right", no_wrap=True)
    several = task.kind != "binary"
    for number, metric in enumerate(task.metrics):
        title = TITLES[metric]
        if several and metric != "accuracy":
            title = f"macro {title}"
        values = [str(each.averages["macro"][metric]) for each in shown]
        table.add_row(title, *values, end_section=several and number == len(task.metrics) - 1)
    if several:
        for label in task.labels:
            table.add_row(Text(f"AUROC {label}"), *(str(each.per_label[label]["auroc"]) for each in shown))
    return table


def plain_table(title: str | None, padding: tuple[int, int, int, int] = (0, 0, 0, 0)) -> Table:
    """The look of all tables: a rule under the head, the title on the left."""
    return Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="", padding=padding, show_edge=False
    )


def _name(split: str) -> str:
    return SPLITS.get(split, split)


def _all_known(evaluation: Evaluation) -> bool:
    return all(known == evaluation.images for known in evaluation.known.values())


def _count(evaluation: Evaluation, label: str) -> str:
    positives = str(evaluation.positives[label])
    return positives if _all_known(evaluation) else f"{positives}/{evaluation.known[label]}"


def _images(evaluation: Evaluation, separator: str = ", ") -> str:
    images = f"{evaluation.images:,} image{'s' if evaluation.images != 1 else ''}"
    return f"{images}{separator}{evaluation.patients:,} patient{'s' if evaluation.patients != 1 else ''}"
