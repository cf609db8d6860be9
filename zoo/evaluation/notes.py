"""Sentences on what an evaluation leaves out or cannot tell."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zoo.tasks import Task

FEW = 10


def notes_on_films(
    task: Task, rows: Mapping[str, np.ndarray], positives: Mapping[str, int], known: Mapping[str, int]
) -> list[str]:
    """Say which labels have one class only, few films of a class, or are never called positive.

    Args:
        task: names the labels.
        rows: metrics `(K,)`.
        positives: films with the label.
        known: films where it is known.
    """
    if task.kind == "binary":
        return _notes_on_one(task.labels[0], positives[task.labels[0]], known[task.labels[0]], rows)
    reasons = []
    for label in task.labels:
        if not known[label]:
            reasons.append(f"{label} (unknown on every film)")
        elif not positives[label]:
            reasons.append(f"{label} (on none of {_films(known[label])})")
        elif positives[label] == known[label]:
            reasons.append(f"{label} (on all {_films(known[label])})")
    notes = []
    if len(reasons) == task.outputs:
        notes.append(f"AUROC is undefined for every label: {', '.join(reasons)}.")
    elif reasons:
        notes.append(f"AUROC is undefined for these labels, which are left out of its means: {', '.join(reasons)}.")
    few = [
        f"{label} ({positives[label]} with, {known[label] - positives[label]} without)"
        for label in task.labels
        if 0 < positives[label] < known[label] and min(positives[label], known[label] - positives[label]) < FEW
    ]
    if few:
        notes.append(f"Fewer than {FEW} films of a class, so read these with care: {', '.join(few)}.")
    silent = [label for k, label in enumerate(task.labels) if positives[label] and np.isnan(rows["precision"][k])]
    if silent:
        notes.append(
            f"No film is called positive for {', '.join(silent)}: "
            "precision is undefined there and left out of its means."
        )
    if task.exclusive:
        notes.append("Sensitivity, specificity, precision and F1 count the most probable class, not a threshold.")
    return notes


def _notes_on_one(label: str, positives: int, known: int, rows: Mapping[str, np.ndarray]) -> list[str]:
    negatives = known - positives
    normal_or_not = label.lower() == "abnormal"
    if not known:
        return [f"AUROC is undefined: {label} is unknown on every film."]
    if not positives:
        state = "are normal" if normal_or_not else f"are without {label}"
        return [f"AUROC is undefined: all {_films(known)} {state}."]
    if not negatives:
        state = "are abnormal" if normal_or_not else f"are with {label}"
        return [f"AUROC is undefined: all {_films(known)} {state}."]
    notes = []
    if min(positives, negatives) < FEW:
        names = ("abnormal", "normal") if normal_or_not else (f"with {label}", f"without {label}")
        notes.append(
            f"Fewer than {FEW} films of a class ({positives} {names[0]}, {negatives} {names[1]}): "
            "read the numbers with care."
        )
    if np.isnan(rows["precision"][0]):
        notes.append("No film is called positive, so precision is undefined.")
    return notes


def notes_on_replicates(
    task: Task, rows: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], replicates: int
) -> list[str]:
    """Say for which labels some resamples lacked a class, and whether an interval could still be given.

    Args:
        task: names the labels.
        rows: metrics of all films `(K,)`.
        drawn: metrics of the resamples `(R, K)`.
        replicates: how many resamples there are.
    """
    dropped = np.isnan(drawn["auroc"]).sum(axis=0)
    touched = [k for k in range(task.outputs) if dropped[k] and not np.isnan(rows["auroc"][k])]
    if not touched:
        return []
    listed = ", ".join(f"{task.labels[k]} {dropped[k]}" for k in touched)
    notes = [f"Resamples without one of the classes are left out of the intervals (of {replicates}): {listed}."]
    none = [task.labels[k] for k in touched if dropped[k] > replicates / 2]
    if none:
        notes.append(f"That is more than half for {', '.join(none)}: too few patients for an interval.")
    return notes


def _films(count: int) -> str:
    return f"{count} film{'s' if count != 1 else ''}"
