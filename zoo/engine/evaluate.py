"""Labels of a trained network on another dataset, and the choice of that dataset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.core.errors import DataError
from zoo.core.records import Records
from zoo.core.tasks import Task
from zoo.data.targets import Targets, make_targets


def align(records: Records, task: Task) -> tuple[Targets, tuple[str, ...]]:
    """Project another dataset's findings onto the labels of a trained network; names match without regard to case, spaces
    and underscores. A label the dataset does not have is unknown in all its images.

    Returns:
        The targets, and sentences the reader of the result should know.

    Raises:
        DataError: the dataset has none of the labels.
    """
    if task.kind == "multiclass":
        return _align_classes(records, task), ()
    name = task.labels[0]
    if task.kind == "multilabel" or _plain(name) in {_plain(each) for each in records.labels}:
        return _align_findings(records, task), ()
    targets = replace(make_targets(records, "binary"), task=task)
    if _plain(name) == "abnormal":
        return targets, ()
    return targets, (
        f"The dataset has no label {name}: an image with any of {', '.join(records.labels)} counts as {name}.",
    )


def _align_classes(records: Records, task: Task) -> Targets:
    found = make_targets(records, "multiclass")
    column = {_plain(name): i for i, name in enumerate(found.task.labels)}
    known = [column.get(_plain(name)) for name in task.labels]
    _require(any(k is not None for k in known), records, task)
    labels = np.zeros((len(records), task.outputs), np.float32)
    for i, k in enumerate(known):
        if k is not None:
            labels[:, i] = found.labels[:, k]
    reasons = found.reasons.copy()
    reasons[(reasons == "") & (labels.sum(axis=1) == 0)] = "a class the network does not know"
    return Targets(task, labels, reasons)


def _align_findings(records: Records, task: Task) -> Targets:
    column = {_plain(name): name for name in records.labels}
    known = [column.get(_plain(name)) for name in task.labels]
    _require(any(known), records, task)
    labels = np.full((len(records), task.outputs), np.nan, np.float32)
    for i, name in enumerate(known):
        if name is not None:
            labels[:, i] = records.table[name].to_numpy(dtype=np.float32)
    unknown = np.isnan(labels).all(axis=1)
    return Targets(task, labels, np.where(unknown, "every label unknown", "").astype(object))


def _require(any_label: bool, records: Records, task: Task) -> None:
    if not any_label:
        raise DataError(
            f"the dataset has none of the network's labels. The network knows {', '.join(task.labels)}; "
            f"the dataset has {', '.join(records.labels)}."
        )


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ").strip()
