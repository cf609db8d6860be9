"""From findings to the labels a task predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.data.records import Records
from zoo.errors import DataError
from zoo.tasks import Task, TaskKind


@dataclass(frozen=True)
class Targets:
    """The task with its labels, the label array `(N, outputs)`, and for each film why the task cannot use it ("" if it can)."""

    task: Task
    labels: np.ndarray
    reasons: np.ndarray

    @property
    def usable(self) -> np.ndarray:
        return self.reasons == ""


def make_targets(records: Records, kind: TaskKind) -> Targets:
    """Project the findings of `records` onto a task.

    binary: abnormal is any finding present, normal is every finding known to be absent. multilabel: the findings as they
    are. multiclass: the films with exactly one finding, and those with none where the dataset has a normal class.

    Raises:
        DataError: the records cannot serve the task; says what is missing.
    """
    findings = records.table[list(records.labels)].to_numpy(dtype=np.float32)
    return {"binary": _binary, "multilabel": _multilabel, "multiclass": _multiclass}[kind](records, findings)


def _binary(records: Records, findings: np.ndarray) -> Targets:
    present = (findings == 1).any(axis=1)
    absent = (findings == 0).all(axis=1)
    labels = np.where(present, 1.0, np.where(absent, 0.0, np.nan)).astype(np.float32)[:, None]
    if not absent.any():
        raise DataError(
            f"the binary task needs normal films, and none of the {len(records):,} films is without a finding "
            f"(labels: {', '.join(records.labels)}). Name the class that means normal with --set data.normal=NAME, "
            "or choose --task multilabel or multiclass."
        )
    if not present.any():
        raise DataError(
            f"the binary task needs abnormal films, and none of the {len(records):,} films has a finding "
            f"(labels: {', '.join(records.labels)})."
        )
    name = records.labels[0] if len(records.labels) == 1 else "Abnormal"
    return Targets(Task("binary", (name,)), labels, _reasons(np.isnan(labels[:, 0]), "label unknown"))


def _multilabel(records: Records, findings: np.ndarray) -> Targets:
    if not (findings == 1).any():
        raise DataError(f"no film has any of the labels {', '.join(records.labels)}: there is nothing to learn.")
    unknown = np.isnan(findings).all(axis=1)
    return Targets(Task("multilabel", records.labels), findings, _reasons(unknown, "every label unknown"))


def _multiclass(records: Records, findings: np.ndarray) -> Targets:
    count = (findings == 1).sum(axis=1)
    unknown = np.isnan(findings).any(axis=1)
    classes, columns = list(records.labels), findings
    if records.normal is not None:
        classes = [records.normal, *classes]
        columns = np.concatenate([(count == 0)[:, None].astype(np.float32), findings], axis=1)
    reasons = _reasons(unknown, "label unknown")
    reasons[~unknown & (count > 1)] = "more than one finding, the multiclass task takes one"
    if records.normal is None:
        reasons[~unknown & (count == 0)] = "no finding, and the dataset has no normal class"
    filled = columns[reasons == ""].sum(axis=0) > 0
    kept = tuple(c for c, any_film in zip(classes, filled, strict=True) if any_film)
    if len(kept) < 2:
        raise DataError(
            f"the multiclass task needs films of at least two classes; found {', '.join(kept) or 'none'} "
            f"of {', '.join(classes)}."
        )
    return Targets(Task("multiclass", kept), columns[:, filled].astype(np.float32), reasons)


def _reasons(where: np.ndarray, text: str) -> np.ndarray:
    return np.where(where, text, "").astype(object)
