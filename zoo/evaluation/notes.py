"""Sentences on what an evaluation leaves out or cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from zoo.core.tasks import Task
from zoo.evaluation.bootstrap import unknown_patients

FEW = 10


def notes_on_images(
    task: Task, rows: Mapping[str, np.ndarray], positives: Mapping[str, int], known: Mapping[str, int]
) -> list[str]:
    """Say which labels have one class only, few images of a class, or are never called positive.

    Args:
        task: names the labels.
        rows: metrics `(K,)`.
        positives: images with the label.
        known: images where it is known.
    """
    if task.kind == "binary":
        return _notes_on_one(task.labels[0], positives[task.labels[0]], known[task.labels[0]], rows)
    reasons = []
    for label in task.labels:
        if not known[label]:
            reasons.append(f"{label} (unknown on every image)")
        elif not positives[label]:
            reasons.append(f"{label} (on none of {_images(known[label])})")
        elif positives[label] == known[label]:
            reasons.append(f"{label} (on all {_images(known[label])})")
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
        notes.append(f"Fewer than {FEW} images of a class, so read these with care: {', '.join(few)}.")
    silent = [label for k, label in enumerate(task.labels) if positives[label] and np.isnan(rows["precision"][k])]
    if silent:
        notes.append(
            f"No image is called positive for {', '.join(silent)}: "
            "precision is undefined there and left out of its means."
        )
    if task.exclusive:
        notes.append("Sensitivity, specificity, precision and F1 count the most probable class, not a threshold.")
    return notes


def _notes_on_one(label: str, positives: int, known: int, rows: Mapping[str, np.ndarray]) -> list[str]:
    negatives = known - positives
    normal_or_not = label.lower() == "abnormal"
    if not known:
        return [f"AUROC is undefined: {label} is unknown on every image."]
    if not positives:
        state = "are normal" if normal_or_not else f"are without {label}"
        return [f"AUROC is undefined: all {_images(known)} {state}."]
    if not negatives:
        state = "are abnormal" if normal_or_not else f"are with {label}"
        return [f"AUROC is undefined: all {_images(known)} {state}."]
    notes = []
    if min(positives, negatives) < FEW:
        names = ("abnormal", "normal") if normal_or_not else (f"with {label}", f"without {label}")
        notes.append(
            f"Fewer than {FEW} images of a class ({positives} {names[0]}, {negatives} {names[1]}): "
            "read the numbers with care."
        )
    if np.isnan(rows["precision"][0]):
        notes.append("No image is called positive, so precision is undefined.")
    return notes


def notes_on_outputs(task: Task, constant: Sequence[str], highest: Mapping[str, float]) -> list[str]:
    """Say which labels of several have the same output on every image, and which are worse than chance.

    Args:
        task: names the labels; of a binary task the verdict says it all.
        constant: the labels with one output for all images.
        highest: the upper bound of each label's AUROC.
    """
    if task.kind == "binary":
        return []
    notes = []
    if constant:
        notes.append(f"Every image gets the same output for {', '.join(constant)}: it tells nothing there.")
    inverted = [label for label in task.labels if highest[label] < 0.5]
    if inverted:
        notes.append(f"Worse than chance, so labels or outputs may be swapped: {', '.join(inverted)}.")
    return notes


def notes_on_patients(images: pd.DataFrame, patients: int, intervals: bool) -> list[str]:
    """Say where images cannot be told apart by patient, or not as images, and where the patients are few.

    Args:
        images: has the column patient, and digest where the pixels are known.
        patients: how many there are, each image without one standing for its own.
        intervals: whether there is a bootstrap to warn of.
    """
    notes = []
    unknown = int(unknown_patients(images["patient"]).sum())
    if unknown:
        which = "every image" if unknown == len(images) else f"{unknown} of {_images(len(images))}"
        notes.append(
            f"The patient of {which} is unknown, so each counts as a patient of its own: where such images share a "
            "patient, the intervals are too narrow."
        )
    if "digest" in images.columns:
        twice = int(images["digest"].dropna().duplicated(keep=False).sum())
        if twice:
            notes.append(f"{twice} images have the same pixels as another one under another name; each is counted.")
    if patients == 1:
        notes.append("All images are of one patient, so there are no intervals.")
    elif intervals and patients < FEW:
        notes.append(f"There are only {patients} patients, so the intervals are not to be relied on.")
    return notes


def notes_on_replicates(
    task: Task, rows: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], replicates: int
) -> list[str]:
    """Say for which labels some resamples lacked a class, and whether an interval could still be given.

    Args:
        task: names the labels.
        rows: metrics of all images `(K,)`.
        drawn: metrics of the resamples `(R, K)`.
        replicates: how many resamples there are.
    """
    dropped = np.isnan(drawn["auroc"]).sum(axis=0)  # none where nothing was drawn
    touched = [k for k in range(task.outputs) if dropped[k] and not np.isnan(rows["auroc"][k])]
    if not touched:
        return []
    listed = ", ".join(f"{task.labels[k]} {dropped[k]}" for k in touched)
    notes = [f"Resamples without one of the classes are left out of the intervals (of {replicates}): {listed}."]
    none = [task.labels[k] for k in touched if dropped[k] > replicates / 2]
    if none:
        notes.append(f"That is more than half for {', '.join(none)}: too few patients for an interval.")
    return notes


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"
