"""From predictions to an evaluation: metrics with intervals."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.errors import DataError
from zoo.core.files import write_text
from zoo.core.tasks import Task
from zoo.evaluation import metrics
from zoo.evaluation.bootstrap import Replicates, patient_codes, percentile_interval, resample
from zoo.evaluation.notes import notes_on_images, notes_on_outputs, notes_on_patients, notes_on_replicates
from zoo.evaluation.plain import plain
from zoo.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its confidence interval; each NaN where undefined."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{short(self.value)} [{short(self.low)}, {short(self.high)}]"


@dataclass(frozen=True)
class Evaluation:
    """What was measured on one split.

    `per_label[label][metric]` and `averages["macro" | "micro" | "weighted"][metric]` are intervals, for the metrics of
    `metrics.METRICS`; a multilabel task has the average "samples" as well, see `metrics.image_rates`. `positives` and
    `known` count images per label, `notes` are sentences the reader must see. Intervals are percentiles of `replicates`
    resamples of the patients. A multiclass task decides by the most probable class, so its `thresholds` are not used.
    `constant` names the labels with the same output on every image. `images_digest` and `truth_digest` (see `Predictions`)
    say which images and labels were measured; "" in evaluations saved without them.
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
    notes: tuple[str, ...]
    seed: int
    replicates: int
    level: float
    images_digest: str = ""
    truth_digest: str = ""
    constant: tuple[str, ...] = ()

    @property
    def headline(self) -> Interval:
        """The one number: the AUROC of a binary task, else the macro AUROC."""
        return self.averages["macro"]["auroc"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None."""
        return dict(plain(self))

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_dict`; raises DataError where a field is missing."""
        fields = dataclasses.fields(cls)
        missing = [f.name for f in fields if f.name not in saved and f.default is dataclasses.MISSING]
        if missing:
            raise DataError(f"this is not an evaluation: it lacks {', '.join(missing)}.")
        values = {f.name: saved[f.name] for f in fields if f.name in saved}
        values["task"] = Task(saved["task"]["kind"], tuple(saved["task"]["labels"]))
        values["notes"] = tuple(saved["notes"])
        values["constant"] = tuple(saved.get("constant", ()))
        for name in ("per_label", "averages"):
            values[name] = {
                row: {metric: Interval(**{k: _nan(v) for k, v in i.items()}) for metric, i in found.items()}
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
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["label", "metric", "value", "low", "high", "positives", "known"])
        for row, values in [*self.per_label.items(), *self.averages.items()]:
            counts = [sum(n.values()) if row not in n else n[row] for n in (self.positives, self.known)]
            for metric, i in values.items():
                numbers = ["" if math.isnan(v) else f"{v:.9g}" for v in (i.value, i.low, i.high)]
                writer.writerow([row, metric, *numbers, *counts])
        write_text(Path(directory) / f"metrics-{self.split}.csv", file.getvalue())

    @classmethod
    def load(cls, directory: Path, split: str) -> Evaluation:
        """Read the JSON that `save` wrote; raises DataError where it is not there or is none."""
        path = Path(directory) / f"evaluation-{split}.json"
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise DataError(f"there is no evaluation at {path}.") from None
        except (ValueError, TypeError, KeyError, DataError) as error:
            raise DataError(f"{path} cannot be read: {error}") from None


def evaluate(
    predictions: Predictions,
    thresholds: Mapping[str, float],
    *,
    split: str,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> Evaluation:
    """Measure all images of `predictions`.

    Args:
        predictions: the images of one split.
        thresholds: a probability per label, chosen on validation images; not needed for a multiclass task.
        split: what these images are called: "val", "test".
        replicates: resamples of the patients; 0 leaves the intervals undefined.
        level: of the intervals, in (0, 1).
        seed: of the resampling.
        notes: sentences to put first, such as those of `threshold_notes`.

    Raises:
        DataError: there are no images, a logit is not finite, or an image is named twice.
    """
    task, images = predictions.task, predictions.table
    predictions.check(f"{split} predictions")
    missing = [label for label in task.labels if label not in thresholds]
    if missing and not task.exclusive:
        raise ValueError(f"no threshold is given for {', '.join(missing)}")
    labels, scores = predictions.labels, predictions.scores
    positive = metrics.decisions(task, predictions.logits, thresholds)
    point = _measure(task, labels, scores, positive)
    patients = patient_codes(images["patient"])[1]
    drawn = resample(
        labels,
        scores,
        positive,
        images["patient"],
        replicates if patients > 1 else 0,
        seed,
        by_image=metrics.image_rates(labels, positive) if task.kind == "multilabel" else None,
    )
    per_label = {
        label: {m: interval(point.labels[m][k], drawn.labels[m][:, k], level) for m in metrics.METRICS}
        for k, label in enumerate(task.labels)
    }
    positives = dict(zip(task.labels, point.positives.tolist(), strict=True))
    known = dict(zip(task.labels, (~np.isnan(labels)).sum(axis=0).tolist(), strict=True))
    constant = tuple(label for k, label in enumerate(task.labels) if len(images) > 1 and np.ptp(scores[:, k]) == 0)
    said = [
        *notes,
        *notes_on_images(task, point.labels, positives, known),
        *notes_on_outputs(task, constant, {label: values["auroc"].high for label, values in per_label.items()}),
        *notes_on_patients(images, patients, bool(replicates)),
        *notes_on_replicates(task, point.labels, drawn.labels, replicates),
    ]
    return Evaluation(
        split=split,
        task=task,
        images=len(images),
        patients=patients,
        per_label=per_label,
        averages=_averages(task, point, drawn, level),
        thresholds={label: float(t) for label, t in thresholds.items() if label in task.labels},
        positives=positives,
        known=known,
        notes=tuple(said),
        seed=seed,
        replicates=replicates,
        level=level,
        images_digest=predictions.images_digest,
        truth_digest=predictions.truth_digest,
        constant=constant,
    )


def _measure(task: Task, labels: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> Replicates:
    """All images measured once, in the form of one replicate without its axis."""
    table = metrics.confusion(labels, positive)
    ranked = {"auroc": metrics.auroc, "auprc": metrics.auprc}
    return Replicates(
        labels={
            **{
                name: np.array([f(labels[:, k], scores[:, k]) for k in range(task.outputs)])
                for name, f in ranked.items()
            },
            **metrics.rates(table),
        },
        micro={
            **{name: np.array([f(labels.ravel(), scores.ravel())]) for name, f in ranked.items()},
            **metrics.rates(table.total()),
        },
        positives=table.tp + table.fn,
        samples=metrics.mean_over_images(metrics.image_rates(labels, positive)) if task.kind == "multilabel" else None,
    )


def _averages(task: Task, point: Replicates, drawn: Replicates, level: float) -> dict[str, dict[str, Interval]]:
    values, resampled = (
        metrics.averages(task, each.labels, each.micro, each.positives, each.samples) for each in (point, drawn)
    )
    return {
        name: {m: interval(found[m], resampled[name][m], level) for m in metrics.METRICS}
        for name, found in values.items()
    }


def interval(value: float | np.ndarray, replicates: np.ndarray, level: float) -> Interval:
    """The plain value with the percentiles of its replicates `(R,)`; an undefined value has no interval."""
    if np.isnan(value):
        return Interval(math.nan, math.nan, math.nan)
    low, high, _ = percentile_interval(replicates, level)
    return Interval(float(value), low, high)


def short(value: float) -> str:
    """A number as all tables show it: `.934`, `1.000`, `-.120`; `–` where undefined."""
    if math.isnan(value):
        return "–"
    text = f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"
    return ".000" if text == "-.000" else text


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
