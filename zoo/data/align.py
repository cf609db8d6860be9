"""Labels of one dataset for a network that was trained on another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.core.errors import DataError
from zoo.core.records import Records
from zoo.core.tasks import Task
from zoo.data.targets import Targets, make_targets, normal_images, normalized
from zoo.evaluation.notes import Note


def align(records: Records, task: Task) -> tuple[Targets, tuple[Note, ...]]:
    """Project the findings of a dataset onto the labels of a trained network.

    Names match regardless of case, spaces, hyphens and underscores. A label that the dataset does not have is unknown in
    all its images. A binary task whose label is no finding of the dataset counts any of its findings.

    Returns:
        The targets, and facts that the reader of the results must know.

    Raises:
        DataError: the dataset has none of the labels.
    """
    if task.kind == "multiclass":
        return _classes(records, task), ()
    name = task.labels[0]
    if task.kind == "multilabel" or normalized(name) in {normalized(each) for each in records.labels}:
        return _findings(records, task), ()
    targets = replace(make_targets(records, "binary"), task=task)
    if normalized(name) == "abnormal":
        return targets, ()
    return targets, (Note("any_finding", tuple(records.labels)),)


def _classes(records: Records, task: Task) -> Targets:
    found = make_targets(records, "multiclass")
    column = {normalized(name): i for i, name in enumerate(found.task.labels)}
    known = [column.get(normalized(name)) for name in task.labels]
    _require(any(k is not None for k in known), records, task)
    labels = np.zeros((len(records), task.outputs), np.float32)
    for i, k in enumerate(known):
        if k is not None:
            labels[:, i] = found.labels[:, k]
    reasons = found.reasons.copy()
    reasons[(reasons == "") & (labels.sum(axis=1) == 0)] = "a class the network does not know"
    return Targets(task, labels, reasons)


def _findings(records: Records, task: Task) -> Targets:
    columns = {normalized(name): records.table[name].to_numpy(dtype=np.float32) for name in records.labels}
    if records.normal is not None:
        pathologies = records.table[list(records.pathologies)].to_numpy(dtype=np.float32)
        columns.setdefault(normalized(records.normal), normal_images(pathologies))
    known = [columns.get(normalized(name)) for name in task.labels]
    _require(any(each is not None for each in known), records, task)
    labels = np.full((len(records), task.outputs), np.nan, np.float32)
    for i, column in enumerate(known):
        if column is not None:
            labels[:, i] = column
    unknown = np.isnan(labels).all(axis=1)
    return Targets(task, labels, np.where(unknown, "every label unknown", "").astype(object))


def _require(any_label: bool, records: Records, task: Task) -> None:
    if not any_label:
        raise DataError(
            f"the dataset has none of the network's labels. The network knows {', '.join(task.labels)}; "
            f"the dataset has {', '.join(records.labels)}."
        )
