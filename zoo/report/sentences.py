"""What a run's numbers say, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.core.text import listed
from zoo.evaluation import gap_verdict, verdict
from zoo.evaluation.evaluate import Interval, short

if TYPE_CHECKING:
    from zoo.core.tasks import Task
    from zoo.evaluation.baselines import Floor
    from zoo.evaluation.subgroups import Group
    from zoo.runs.results import Study

SPLITS = {"train": "training", "val": "validation", "test": "test"}
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "npv": "NPV",
    "f1": "F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "Matthews’ correlation",
    "prevalence": "prevalence",
}


def shown(interval: Interval | None) -> str:
    """An interval as tables show it: a value without bounds stands alone, what is undefined is a dash."""
    if interval is None:
        return "–"
    return short(interval.value) if math.isnan(interval.low) else str(interval)


def images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def patients(count: int) -> str:
    return f"{count:,} patient{'' if count == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """A part of a whole as a count and a percentage: `42 (5.3%)`."""
    return f"{part:,.0f} ({100 * part / whole:.1f}%)" if whole else f"{part:,.0f}"


def task_words(task: Task) -> str:
    """What the network tells apart."""
    if task.kind == "binary":
        label = task.labels[0]
        return "whether an image is abnormal" if label.lower() == "abnormal" else f"whether an image shows {label}"
    if task.exclusive:
        return f"which one of {len(task.labels)} classes an image shows ({listed(task.labels)})"
    return f"which of {len(task.labels)} findings an image shows ({listed(task.labels)})"


def trained(info: Mapping[str, Any], data: Mapping[str, Any], task: Task) -> str:
    """One sentence: what was trained on what, for what."""
    text = f"{info.get('model', 'A network')} was trained to tell {task_words(task)}"
    counts, people = data.get("images", {}), data.get("patients", {})
    if "train" in counts:
        text += f", on {images(counts['train'])}"
        if "train" in people:
            text += f" of {patients(people['train'])}"
        text += f" of the dataset {data.get('dataset', 'unknown')}"
    return f"{text}."


def split_sentence(data: Mapping[str, Any], leaky: bool = False) -> str:
    """Where the split comes from, and that it keeps patients together unless it is known to leak."""
    apart = "" if leaky else " No patient is in two parts."
    if data.get("split") == "published":
        return f"The split into training and test images is the one published with the dataset.{apart}"
    if data.get("split") == "drawn":
        return (
            f"The split was drawn at random by patient, because the dataset publishes none.{apart} "
            "The figures cannot be compared with those on a published split."
        )
    return ""


def headline(study: Study) -> str:
    """Whether the outputs tell anything."""
    return verdict(study.evaluation)


def gap(study: Study) -> str:
    """How the result compares with validation: the warning where there is one, else plainly both numbers."""
    if study.validation is None:
        return ""
    warning = gap_verdict(study.validation, study.evaluation)
    if warning:
        return warning
    before, after = study.validation.headline, study.evaluation.headline
    if math.isnan(before.value) or math.isnan(after.value):
        return ""
    return (
        f"On the validation images it is {shown(before)}: "
        f"the {SPLITS.get(study.split, study.split)} result is not clearly worse."
    )


def features(names: Sequence[str]) -> list[str]:
    """Columns of metadata as words."""
    return [name.replace("_", "-") for name in names]


def floor_tone(floor: Floor) -> str:
    return {True: "good", False: "bad", None: "note"}[floor.beaten]


def macro(task: Task) -> str:
    """How the headline is called."""
    return "AUROC" if task.kind == "binary" else "macro AUROC"


def limitations(study: Study, data: Mapping[str, Any]) -> tuple[str, ...]:
    """What the run itself shows to be weak about it."""
    found = [*study.leaks]
    if study.validation is not None and (warning := gap_verdict(study.validation, study.evaluation)):
        found.append(warning)
    found += [floor.sentence for floor in study.floors if floor.beaten is False]
    if data.get("split") == "drawn":
        found.append(
            "The test images come from the same collection as the training images, by a random draw of patients."
        )
    elif data.get("split") == "published":
        found.append("The test images come from the same collection as the training images.")
    if study.truth is None:
        found.append("The labels are those of the dataset; they were not compared with a second reference.")
    missed = [point.label for point in study.operating if point.shortfall is not None]
    if missed:
        found.append(f"The target of the threshold was missed on these images for {listed(missed)}.")
    small = [f"{group.column} {group.name}" for group in overall(study.groups) if group.small]
    if small:
        found.append(f"Groups too small to judge: {listed(small)}.")
    return (*found, *study.evaluation.notes)


def overall(groups: Sequence[Group]) -> list[Group]:
    """The rows of means over the labels where there are several labels, else all rows."""
    return [group for group in groups if group.label == "macro"] or list(groups)
