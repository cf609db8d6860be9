"""Evaluations in words: whether the outputs tell anything, and whether test bears out validation."""

from __future__ import annotations

import math

from zoo.core.tasks import Task
from zoo.evaluation.evaluate import Evaluation, short
from zoo.evaluation.notes import FEW

NEAR_PERFECT = 0.99
CLEAR_GAP = 0.05


def verdict(evaluation: Evaluation) -> str:
    """One sentence on whether the outputs tell anything, from the headline AUROC and its interval."""
    found = evaluation.headline
    name = f"{_capital(_headline_name(evaluation.task))} on the {_called(evaluation.split)} images"
    if math.isnan(found.value):
        return f"{name} is undefined: {_why_undefined(evaluation)}."
    text = f"{name} is {short(found.value) if math.isnan(found.low) else found}"
    if len(evaluation.constant) == evaluation.task.outputs:
        return f"{text}: the network gives every image the same output, which tells nothing."
    text = f"{text}: {_judged(evaluation)}"
    if evaluation.constant:
        text += f"; {', '.join(evaluation.constant)} get{'s' * (len(evaluation.constant) == 1)} the same output on every image"
    return f"{text}."


def _judged(evaluation: Evaluation) -> str:
    found, few = evaluation.headline, _few_of_a_class(evaluation)
    if evaluation.patients < FEW:
        return f"too few patients ({evaluation.patients}) to say more"
    if found.value >= NEAR_PERFECT:
        said = "near-perfect, so check for leakage between training and these images"
        return f"{said}; with {few} it may also be luck" if few else said
    if math.isnan(found.low):
        return "without an interval, whether that is better than chance cannot be said"
    if found.high < 0.5:
        said = "worse than chance, labels or outputs may be swapped"
    elif found.low <= 0.5:
        if few:
            return f"cannot be told from chance with {few}, the interval includes .5"
        return "no better than chance, the interval includes .5"
    else:
        said = "better than chance"
    return f"{said}, as far as {few} can tell" if few else said


def _few_of_a_class(evaluation: Evaluation) -> str | None:
    """How many images there are of the rarer class, where that is below ten for every label with an AUROC."""
    rarer = [
        min(evaluation.positives[label], evaluation.known[label] - evaluation.positives[label])
        for label in evaluation.task.labels
        if not math.isnan(evaluation.per_label[label]["auroc"].value)
    ]
    most = max(rarer, default=FEW)
    if most >= FEW:
        return None
    images = f"{most} image{'s' if most != 1 else ''} of the rarer class"
    return f"only {images}" if evaluation.task.kind == "binary" else f"at most {images} per label"


def _why_undefined(evaluation: Evaluation) -> str:
    if not any(evaluation.known.values()):
        return "the labels are unknown on every image"
    return "only one class is present" if evaluation.task.kind == "binary" else "no label has images of both classes"


def gap_verdict(val: Evaluation, test: Evaluation) -> str | None:
    """A sentence where test is clearly worse than validation, else None.

    Clearly: the intervals do not overlap, or the AUROC differs by more than .05.
    """
    before, after = val.headline, test.headline
    gap = round(before.value, 3) - round(after.value, 3)  # the difference of the numbers as they are shown
    apart = after.high < before.low
    if math.isnan(gap) or gap <= 0 or not (apart or gap > CLEAR_GAP + 1e-9):
        return None
    text = (
        f"{_capital(_called(test.split))} {_headline_name(test.task)} {short(after.value)} is {short(gap)} below "
        f"{_called(val.split)} ({short(before.value)})"
    )
    if not apart and not math.isnan(after.high + before.low):
        text += ", though their intervals overlap"
    return f"{text}: the {_called(val.split)} figure does not carry over to the {_called(test.split)} images."


def _headline_name(task: Task) -> str:
    return "AUROC" if task.kind == "binary" else "macro AUROC"


def _called(split: str) -> str:
    return {"val": "validation", "train": "training"}.get(split, split)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
