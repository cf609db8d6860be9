"""From findings to the labels a task predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zoo.config.settings import HALF_A_CLASS, Uncertain
from zoo.core.errors import DataError, UsageError, unknown
from zoo.core.records import Records
from zoo.core.tasks import Task, TaskKind

OTHER = "another finding than those of the setting findings"


@dataclass(frozen=True)
class Targets:
    """The task with its labels, the label array `(N, outputs)`, and for each image why the task cannot use it ("" if it can).

    `training` are the labels of training images: `labels`, with unknown ones filled in by the policy on uncertain labels.
    `training_only` `(N,)` marks images that are usable only by that.
    """

    task: Task
    labels: np.ndarray
    reasons: np.ndarray
    training: np.ndarray = field(default=None)  # type: ignore[arg-type]  # None stands for "the same as labels"
    training_only: np.ndarray = field(default=None)  # type: ignore[arg-type]  # None stands for "none"

    def __post_init__(self) -> None:
        if self.training is None:
            object.__setattr__(self, "training", self.labels)
        if self.training_only is None:
            object.__setattr__(self, "training_only", np.zeros(len(self.labels), bool))

    @property
    def usable(self) -> np.ndarray:
        return self.reasons == ""


def make_targets(
    records: Records, kind: TaskKind, *, findings: Sequence[str] | None = None, uncertain: Uncertain = "ignore"
) -> Targets:
    """Project the findings of `records` onto a task.

    binary: abnormal is any finding present, normal is every finding known to be absent. multilabel: the findings as they
    are. multiclass: the images with exactly one finding, and those with none where the dataset has a normal class. Labels
    that are no pathology (`Records.no_pathology`) count for binary and multiclass only where `findings` names them.

    Args:
        records: the images.
        kind: the task.
        findings: those to keep, in this order; all if None. binary: abnormal is any of them, and images with only other
            findings are set aside. multilabel: they are the outputs, the normal class (no pathology at all, chosen or not) among
            them if it is named; every image stays. multiclass: they are the classes,
            the normal one among them if it is named; images with another finding are set aside.
        uncertain: what an unknown label counts as in training (Irvin et al. 2019, CheXpert, section 3.3: U-Ignore, U-Zeros,
            U-Ones): nothing, absent, present, or one half, which multiclass cannot have.

    Raises:
        DataError: the records cannot serve the task; says what is missing.
        UsageError: `findings` names what the records do not have, or what the task cannot use.
    """
    if kind == "multiclass" and uncertain == "half":
        raise UsageError(HALF_A_CLASS)
    chosen = None if findings is None else _chosen(records, kind, findings)
    if kind != "multilabel":
        kept = {*records.pathologies, *(chosen or ())}
        records = replace(records, labels=tuple(name for name in records.labels if name in kept))
    known = records.table[list(records.labels)].to_numpy(dtype=np.float32)
    project = {"binary": _binary, "multilabel": _multilabel, "multiclass": _multiclass}[kind]
    targets = project(records, known, chosen)
    if uncertain == "ignore":
        return targets
    answered = project(records, np.where(np.isnan(known), np.float32(uncertain != "zero"), known), chosen)
    return _with_training(targets, answered, half=uncertain == "half")


def _with_training(targets: Targets, answered: Targets, half: bool) -> Targets:
    """`targets` with training labels from a guess for every unknown label; one half where "present" changes a label."""
    labels, reasons = targets.labels, answered.reasons.copy()
    training = _columns(answered, targets.task)
    if targets.task.exclusive:
        reasons[(reasons == "") & (training.sum(axis=1) == 0)] = "a class that no image has for certain"
    if half:
        training = np.where(np.isnan(labels) & (training == 1), np.float32(0.5), labels)
        reasons = np.where(np.isnan(training).all(axis=1) & (reasons == ""), targets.reasons, reasons)
    only = ~targets.usable & (reasons == "")
    reasons = np.where(targets.usable, "", reasons).astype(object)
    training = np.where(targets.usable[:, None] | only[:, None], training, labels).astype(np.float32)
    return replace(targets, reasons=reasons, training=training, training_only=only)


def _columns(answered: Targets, task: Task) -> np.ndarray:
    """The filled-in labels in the columns of the task: guesses can add classes that have no certain image."""
    place = {name: k for k, name in enumerate(answered.task.labels)}
    columns = [
        answered.labels[:, place[name]] if name in place else np.zeros(len(answered.labels)) for name in task.labels
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def _chosen(records: Records, kind: TaskKind, findings: Sequence[str]) -> tuple[str, ...]:
    """The names of `findings` as the records spell them, in the order given."""
    normal = () if records.normal is None else (records.normal,)
    valid = {normalized(name): name for name in (*normal, *records.labels)}
    names = []
    for given in findings:
        if normalized(given) not in valid:
            raise unknown("finding", given, valid.values(), "The setting findings takes names separated by commas.")
        names.append(valid[normalized(given)])
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"the setting findings names '{twice[0]}' twice.")
    if not set(names) & set(records.labels) or (kind == "multiclass" and len(names) < 2):
        needs = "two classes" if kind == "multiclass" else "one finding"
        raise UsageError(
            f"the {kind} task needs at least {needs}; the setting findings names {', '.join(names) or 'none'}."
        )
    return tuple(names)


def normalized(name: str) -> str:
    """A label's name as it is compared: in lower case, with spaces for hyphens and underscores."""
    return name.lower().replace("_", " ").replace("-", " ").strip()


def _binary(records: Records, findings: np.ndarray, chosen: tuple[str, ...] | None) -> Targets:
    named = tuple(name for name in records.labels if chosen is None or name in chosen)
    listed = np.isin(np.array(records.labels, dtype=object), np.array(named, dtype=object))
    present = (findings[:, listed] == 1).any(axis=1)
    absent = (findings == 0).all(axis=1)
    other = ~present & (findings[:, ~listed] == 1).any(axis=1)
    labels = np.where(present, 1.0, np.where(absent, 0.0, np.nan)).astype(np.float32)[:, None]
    if not absent.any():
        raise DataError(
            f"the binary task needs normal images, and none of the {len(records):,} images is without a finding "
            f"(labels: {', '.join(records.labels)}). Name the class that means normal with --set data.normal=NAME, "
            "or choose --task multilabel or multiclass."
        )
    if not present.any():
        raise DataError(
            f"the binary task needs abnormal images, and none of the {len(records):,} images has a finding "
            f"(labels: {', '.join(named)})."
        )
    reasons = _reasons(np.isnan(labels[:, 0]), "label unknown")
    reasons[other] = OTHER
    return Targets(Task("binary", (named[0] if len(named) == 1 else "Abnormal",)), labels, reasons)


def _multilabel(records: Records, findings: np.ndarray, chosen: tuple[str, ...] | None) -> Targets:
    names = records.labels if chosen is None else chosen
    columns = dict(zip(records.labels, findings.T, strict=True))
    if records.normal in names and records.normal not in columns:
        columns[records.normal] = normal_images(np.stack([columns[name] for name in records.pathologies], axis=1))
    findings = np.stack([columns[name] for name in names], axis=1)
    if not (findings == 1).any():
        raise DataError(f"no image has any of the labels {', '.join(names)}: there is nothing to learn.")
    unknown = np.isnan(findings).all(axis=1)
    return Targets(Task("multilabel", names), findings, _reasons(unknown, "every label unknown"))


def normal_images(pathologies: np.ndarray) -> np.ndarray:
    """Whether each image is normal `(N,)`: without any of its findings `(N, K)`, unknown where one may be there."""
    absent, present = (pathologies == 0).all(axis=1), (pathologies == 1).any(axis=1)
    return np.where(absent, 1.0, np.where(present, 0.0, np.nan)).astype(np.float32)


def _multiclass(records: Records, findings: np.ndarray, chosen: tuple[str, ...] | None) -> Targets:
    count = (findings == 1).sum(axis=1)
    unknown = np.isnan(findings).any(axis=1)
    normal = () if records.normal is None else (records.normal,)
    columns = dict(zip(records.labels, findings.T, strict=True))
    columns |= dict.fromkeys(normal, (count == 0).astype(np.float32))
    classes = (*normal, *records.labels) if chosen is None else chosen
    labels = np.stack([columns[name] for name in classes], axis=1)
    reasons = _reasons(unknown, "label unknown")
    reasons[~unknown & (count > 1)] = "more than one finding, the multiclass task takes one"
    reasons[~unknown & (labels.sum(axis=1) == 0) & (count == 1)] = OTHER
    if records.normal is None or records.normal not in classes:
        why = (
            "the dataset has no normal class"
            if records.normal is None
            else f"{records.normal} is not among the findings"
        )
        reasons[~unknown & (count == 0)] = f"no finding, and {why}"
    filled = labels[reasons == ""].sum(axis=0) > 0
    if chosen is not None and filled.sum() > 1:
        filled[:] = True  # a class that was asked for is never dropped silently
    kept = tuple(c for c, any_image in zip(classes, filled, strict=True) if any_image)
    if len(kept) < 2:
        raise DataError(
            f"the multiclass task needs images of at least two classes; found {', '.join(kept) or 'none'} "
            f"of {', '.join(classes)}."
        )
    return Targets(Task("multiclass", kept), labels[:, filled].astype(np.float32), reasons)


def _reasons(where: np.ndarray, text: str) -> np.ndarray:
    return np.where(where, text, "").astype(object)
