"""From predictions to an evaluation: metrics with intervals, and what they mean in words."""

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

from zoo.errors import DataError
from zoo.evaluation import metrics
from zoo.evaluation.bootstrap import Replicates, patient_codes, percentile_interval, resample
from zoo.evaluation.notes import FEW, notes_on_films, notes_on_replicates
from zoo.evaluation.predictions import Predictions
from zoo.files import write_text
from zoo.tasks import Task

NEAR_PERFECT = 0.99
CLEAR_GAP = 0.05


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
    `metrics.METRICS`. `positives` and `known` count films per label, `notes` are sentences the reader must see.
    Intervals are percentiles of `replicates` resamples of the patients. A multiclass task decides by the most probable
    class, so its `thresholds` are not used.
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

    @property
    def headline(self) -> Interval:
        """The one number: the AUROC of a binary task, else the macro AUROC."""
        return self.averages["macro"]["auroc"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain["task"] = {"kind": self.task.kind, "labels": list(self.task.labels)}
        plain["notes"] = list(self.notes)
        for name in ("per_label", "averages"):
            plain[name] = {
                row: {metric: {k: _none(v) for k, v in dataclasses.asdict(i).items()} for metric, i in values.items()}
                for row, values in plain[name].items()
            }
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_dict`; raises DataError where a field is missing."""
        missing = [f.name for f in dataclasses.fields(cls) if f.name not in plain]
        if missing:
            raise DataError(f"this is not an evaluation: it lacks {', '.join(missing)}.")
        values = {f.name: plain[f.name] for f in dataclasses.fields(cls)}
        values["task"] = Task(plain["task"]["kind"], tuple(plain["task"]["labels"]))
        values["notes"] = tuple(plain["notes"])
        for name in ("per_label", "averages"):
            values[name] = {
                row: {metric: Interval(**{k: _nan(v) for k, v in i.items()}) for metric, i in found.items()}
                for row, found in plain[name].items()
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
    """Measure all films of `predictions`.

    Args:
        predictions: the films of one split.
        thresholds: a probability per label, chosen on validation films; not needed for a multiclass task.
        split: what these films are called: "val", "test".
        replicates: resamples of the patients; 0 leaves the intervals undefined.
        level: of the intervals, in (0, 1).
        seed: of the resampling.
        notes: sentences to put first, such as those of `threshold_notes`.

    Raises:
        DataError: there are no films, a logit is not finite, or a film is named twice.
    """
    task = predictions.task
    predictions.check(f"{split} predictions")
    missing = [label for label in task.labels if label not in thresholds]
    if missing and not task.exclusive:
        raise ValueError(f"no threshold is given for {', '.join(missing)}")
    labels, scores = predictions.labels, predictions.scores
    positive = metrics.decisions(task, predictions.logits, thresholds)
    table = metrics.confusion(labels, positive)
    rows = {
        "auroc": np.array([metrics.auroc(labels[:, k], scores[:, k]) for k in range(task.outputs)]),
        "auprc": np.array([metrics.auprc(labels[:, k], scores[:, k]) for k in range(task.outputs)]),
        **metrics.rates(table),
    }
    pooled = {
        "auroc": np.array([metrics.auroc(labels.ravel(), scores.ravel())]),
        "auprc": np.array([metrics.auprc(labels.ravel(), scores.ravel())]),
        **metrics.rates(table.total()),
    }
    patients = patient_codes(predictions.table["patient"])[1]
    drawn = resample(labels, scores, positive, predictions.table["patient"], replicates if patients > 1 else 0, seed)
    positives = dict(zip(task.labels, (table.tp + table.fn).tolist(), strict=True))
    known = dict(zip(task.labels, (~np.isnan(labels)).sum(axis=0).tolist(), strict=True))
    said = [*notes, *notes_on_films(task, rows, positives, known)]
    if patients == 1:
        said.append("All films are of one patient, so there are no intervals.")
    elif replicates:
        if patients < FEW:
            said.append(f"There are only {patients} patients, so the intervals are not to be relied on.")
        said += notes_on_replicates(task, rows, drawn.labels, replicates)
    return Evaluation(
        split=split,
        task=task,
        images=len(predictions),
        patients=patients,
        per_label={
            label: {m: _interval(rows[m][k], drawn.labels[m][:, k], level) for m in metrics.METRICS}
            for k, label in enumerate(task.labels)
        },
        averages=_averages(task, rows, pooled, table.tp + table.fn, drawn, level),
        thresholds={label: float(t) for label, t in thresholds.items() if label in task.labels},
        positives=positives,
        known=known,
        notes=tuple(said),
        seed=seed,
        replicates=replicates,
        level=level,
    )


def _averages(
    task: Task,
    rows: dict[str, np.ndarray],
    pooled: dict[str, np.ndarray],
    positives: np.ndarray,
    drawn: Replicates,
    level: float,
) -> dict[str, dict[str, Interval]]:
    point = metrics.averages(task, rows, pooled, positives)
    resampled = metrics.averages(task, drawn.labels, drawn.micro, drawn.positives)
    return {
        name: {m: _interval(point[name][m], resampled[name][m], level) for m in metrics.METRICS}
        for name in metrics.AVERAGES
    }


def _interval(value: np.ndarray, replicates: np.ndarray, level: float) -> Interval:
    """The plain value with the percentiles of its replicates; an undefined value has no interval."""
    if np.isnan(value):
        return Interval(math.nan, math.nan, math.nan)
    low, high, _ = percentile_interval(replicates, level)
    return Interval(float(value), low, high)


def verdict(evaluation: Evaluation) -> str:
    """One sentence on whether the outputs tell anything, from the headline AUROC and its interval."""
    found = evaluation.headline
    name = f"{_capital(_headline_name(evaluation.task))} on the {_called(evaluation.split)} films"
    if math.isnan(found.value):
        return f"{name} is undefined: only one class is present."
    text = f"{name} is {short(found.value) if math.isnan(found.low) else found}"
    if evaluation.patients < FEW:
        return f"{text}: too few patients ({evaluation.patients}) to say more."
    if found.value >= NEAR_PERFECT:
        return f"{text}: near-perfect, so check for leakage between training and these films."
    if math.isnan(found.low):
        return f"{text}, without an interval: whether that is better than chance cannot be said."
    if found.high < 0.5:
        return f"{text}: worse than chance, labels or outputs may be swapped."
    if found.low <= 0.5:
        return f"{text}: no better than chance, the interval includes .5."
    return f"{text}: better than chance."


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
    return f"{text}: the {_called(val.split)} figure does not carry over to the {_called(test.split)} films."


def short(value: float) -> str:
    """A number as all tables show it: `.934`, `1.000`, `-.120`; `–` where undefined."""
    if math.isnan(value):
        return "–"
    text = f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 0.9995 else f"{value:.3f}"
    return ".000" if text == "-.000" else text


def _headline_name(task: Task) -> str:
    return "AUROC" if task.kind == "binary" else "macro AUROC"


def _called(split: str) -> str:
    return {"val": "validation", "train": "training"}.get(split, split)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
