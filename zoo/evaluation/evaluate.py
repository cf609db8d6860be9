"""From predictions to an evaluation: metrics with intervals."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import zoo.evaluation.influence as influence
import zoo.evaluation.metrics as metrics
from zoo.core.documents import read_json
from zoo.core.errors import DataError, ZooError
from zoo.core.files import write_text
from zoo.core.tasks import Task, means_normal
from zoo.core.thresholds import ThresholdRule
from zoo.evaluation.bootstrap import patient_codes, unknown_patients
from zoo.evaluation.interval import (
    FEWEST_OF_MEANS,
    UNDEFINED,
    Interval,
    intervals,
    spread_interval,
    without_bounds,
)
from zoo.evaluation.notes import FEW, Note
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable, to_csv


@dataclass(frozen=True)
class Evaluation(Serialisable):
    """What was measured on one split.

    `per_label[label][metric]` and `averages["macro" | "micro" | "weighted"][metric]` are intervals, for the metrics of
    `metrics.METRICS`; a multilabel task has the averages "samples", see `metrics.image_rates`, and "samples_zero", in which
    what is undefined for an image counts as 0, scikit-learn's default. `positives` and
    `known` count images per label, `notes` are facts the reader must see. Intervals are over patients, see
    `interval.METHODS`; `seed` and `replicates` are those of what is resampled beside them (calibration errors). A
    multiclass task predicts the most probable class, so its `thresholds` are not used.
    `constant` names the labels with the same output on every image. `images_digest` and `labels_digest` (see `Predictions`)
    identify the images and labels that were measured, `predictions_digest` everything it was computed from besides the
    thresholds; `rule` is the one they follow, where it is known. Where not one patient is known (`patients_known`), each image
    counts as a patient.
    """

    split: str
    task: Task
    images: int
    patients: int
    per_label: dict[str, dict[str, Interval]]
    averages: dict[str, dict[str, Interval]]
    thresholds: dict[str, float]
    positives: dict[str, int]
    known: dict[str, int]
    notes: tuple[Note, ...]
    seed: int
    replicates: int
    level: float
    images_digest: str
    labels_digest: str
    constant: tuple[str, ...]
    predictions_digest: str = ""
    rule: ThresholdRule | None = None
    patients_known: bool = True

    @property
    def headline(self) -> Interval:
        """The one number: the AUROC of a binary task, else the macro AUROC."""
        return self.averages["macro"]["auroc"]

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_dict`; raises DataError where a field without a default is missing."""
        fields = {field.name: field.default for field in dataclasses.fields(cls)}
        if missing := [name for name in fields if name not in saved and fields[name] is dataclasses.MISSING]:
            raise DataError(f"this is not an evaluation: it lacks {', '.join(missing)}.")
        values = {name: saved.get(name, default) for name, default in fields.items()}
        values["rule"] = ThresholdRule(**saved["rule"]) if saved.get("rule") else None
        values["task"] = Task(saved["task"]["kind"], tuple(saved["task"]["labels"]))
        values["notes"] = tuple(Note.from_dict(note) for note in saved["notes"])
        values["constant"] = tuple(saved["constant"])
        for name in ("per_label", "averages"):
            values[name] = {
                row: {metric: Interval.from_dict(i) for metric, i in found.items()}
                for row, found in saved[name].items()
            }
        return cls(**values)

    def save(self, directory: Path) -> None:
        """Write `evaluation-<split>.json` and `metrics-<split>.csv` into a folder, each whole or not at all.

        The CSV has one row per label or average and metric: label, metric, value, low, high, positives, known;
        undefined is an empty cell.
        """
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        write_text(Path(directory) / f"evaluation-{self.split}.json", text)
        rows = []
        for label, values in [*self.per_label.items(), *self.averages.items()]:
            counts = {
                name: sum(each.values()) if label not in each else each[label]
                for name, each in (("positives", self.positives), ("known", self.known))
            }
            rows += [{"label": label, "metric": metric, **vars(i), **counts} for metric, i in values.items()]
        write_text(Path(directory) / f"metrics-{self.split}.csv", to_csv(rows))

    @classmethod
    def load(cls, directory: Path, split: str) -> Evaluation:
        """Read the JSON that `save` wrote; raises DataError where it is not there or is none."""
        path = Path(directory) / f"evaluation-{split}.json"
        try:
            return cls.from_dict(read_json(path))
        except FileNotFoundError:
            raise DataError(f"there is no evaluation at {path}.") from None
        except (ValueError, TypeError, LookupError, AttributeError, OSError, ZooError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None


def evaluate(
    predictions: Predictions,
    thresholds: Mapping[str, float],
    *,
    split: str,
    rule: ThresholdRule | None = None,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Evaluation:
    """Measure all images of `predictions`.

    Args:
        predictions: the images of one split.
        thresholds: a probability per label, chosen on validation images; not needed for a multiclass task.
        split: the name of these images: "val", "test".
        rule: the one that the thresholds follow, kept with the evaluation.
        replicates: resamples of what is resampled beside these intervals, kept with the evaluation.
        level: of the intervals, in (0, 1).
        seed: of that resampling, likewise.

    Raises:
        DataError: there are no images, a logit is not finite, or an image is named twice.
    """
    task, images = predictions.task, predictions.table
    predictions.check(f"{split} predictions")
    labels, scores = predictions.labels, predictions.scores
    positive = metrics.decisions(task, predictions.logits, thresholds)
    codes, patients = patient_codes(images["patient"])
    per_label, averages = _measure(task, labels, scores, positive, codes, patients, level)
    positives = (labels > 0.5).sum(axis=0)
    found = Evaluation(
        split=split,
        task=task,
        images=len(images),
        patients=patients,
        per_label=per_label,
        averages=averages,
        thresholds={label: float(t) for label, t in thresholds.items() if label in task.labels},
        positives=dict(zip(task.labels, positives.tolist(), strict=True)),
        known=dict(zip(task.labels, (~np.isnan(labels)).sum(axis=0).tolist(), strict=True)),
        notes=(),
        seed=seed,
        replicates=replicates,
        level=level,
        images_digest=predictions.images_digest,
        labels_digest=predictions.labels_digest,
        constant=tuple(label for k, label in enumerate(task.labels) if len(images) > 1 and np.ptp(scores[:, k]) == 0),
        predictions_digest=predictions.digest,
        rule=rule,
        patients_known=not unknown_patients(images["patient"]).all(),
    )
    return dataclasses.replace(
        found, notes=(*predictions.notes, *_notes(found, images), *_contradictions(task, positive))
    )


def _measure(
    task: Task,
    labels: np.ndarray,
    scores: np.ndarray,
    positive: np.ndarray,
    codes: np.ndarray,
    patients: int,
    level: float,
) -> tuple[dict[str, dict[str, Interval]], dict[str, dict[str, Interval]]]:
    """The intervals of every label and of every average."""
    found = influence.of_labels(labels, scores, positive, codes, patients)
    by_metric = intervals(found, level)
    per_label = {label: {m: by_metric[m][k] for m in metrics.METRICS} for k, label in enumerate(task.labels)}
    if task.outputs == 1:
        return per_label, dict.fromkeys(("macro", "micro", "weighted"), per_label[task.labels[0]])
    flat = [each.reshape(-1, 1) for each in (labels, scores, positive)]
    micro = influence.of_labels(flat[0], flat[1], flat[2], np.repeat(codes, task.outputs), patients)
    positives = influence.by_patient(labels > 0.5, codes, patients)
    means = influence.averages(task.exclusive, found, micro, positives)
    averages = {
        name: {m: spread_interval(m, each[m], 0, level) for m in metrics.METRICS} for name, each in means.items()
    }
    few = {m: (found[m].clusters[~np.isnan(found[m].value)] < fewest).any() for m, fewest in FEWEST_OF_MEANS.items()}
    for name, m in (("weighted", "auprc"), ("macro", "mcc"), ("weighted", "mcc")):
        if few[m]:
            averages[name][m] = without_bounds(averages[name][m])
    averages["micro"] |= {m: each[0] for m, each in intervals(micro, level).items()}
    if task.exclusive:  # these are the same in all three
        for metric, source in (
            ("accuracy", averages["micro"]["sensitivity"]),
            ("balanced_accuracy", averages["macro"]["sensitivity"]),
        ):
            averages |= {name: {**each, metric: source} for name, each in averages.items()}
    if task.kind == "multilabel":
        rates = metrics.image_rates(labels, positive)
        known = ~np.isnan(labels).all(axis=1, keepdims=True)
        for name, values in (("samples", rates), ("samples_zero", np.where(np.isnan(rates) & known, 0.0, rates))):
            samples = influence.image_means(values, codes, patients)
            averages[name] = dict.fromkeys(metrics.METRICS, UNDEFINED) | {
                m: spread_interval(m, samples, k, level) for k, m in enumerate(metrics.IMAGE_METRICS)
            }
    return per_label, averages


def _contradictions(task: Task, positive: np.ndarray) -> tuple[Note, ...]:
    """On how many images each label that means normal is predicted beside another one of a multilabel task."""
    if task.kind != "multilabel":
        return ()
    counts = {
        label: int((positive[:, k] & np.delete(positive, k, axis=1).any(axis=1)).sum())
        for k, label in enumerate(task.labels)
        if means_normal(label)
    }
    return tuple(Note("contradictory_predictions", (label,), (count,)) for label, count in counts.items() if count)


def _notes(found: Evaluation, images: pd.DataFrame) -> tuple[Note, ...]:
    """What the evaluation leaves out or cannot show."""
    labels = found.task.labels
    rarer = {each: min(found.positives[each], found.known[each] - found.positives[each]) for each in labels}
    chosen = {
        "undefined_auroc": [each for each in labels if not rarer[each]],
        "few_images": [each for each in labels if 0 < rarer[each] < FEW],
        "no_predicted_positives": [
            each for each in labels if found.positives[each] and math.isnan(found.per_label[each]["precision"].value)
        ],
    }
    if found.task.kind != "binary":  # of which the conclusion says this
        chosen["constant_output"] = list(found.constant)
        chosen["worse_than_chance"] = [each for each in labels if found.per_label[each]["auroc"].high < 0.5]
    notes = [Note(kind, tuple(names)) for kind, names in chosen.items() if names]
    if unknown := int(unknown_patients(images["patient"]).sum()):
        notes.append(Note("unknown_patients", counts=(unknown,)))
    if "digest" in images:
        copies = images[images["digest"].notna() & images["digest"].duplicated(keep=False)]
        owners = copies.groupby("digest")["patient"].transform("nunique")
        if len(copies):
            notes.append(Note("duplicate_images", counts=(len(copies), int((owners > 1).sum()))))
    if found.patients == 1:
        notes.append(Note("one_patient"))
    elif found.patients < FEW:
        notes.append(Note("few_patients", counts=(found.patients,)))
    if none := [each for each in labels if rarer[each] and math.isnan(found.per_label[each]["auroc"].low)]:
        notes.append(Note("no_interval", tuple(none)))
    return tuple(notes)
