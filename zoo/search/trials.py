"""The trials of a sweep and their results, read from the files of their runs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.config.settings import MONITORS
from zoo.core.cells import guarded, rows_text
from zoo.core.errors import ZooError
from zoo.evaluation.like_for_like import common_means
from zoo.evaluation.metrics import METRICS
from zoo.evaluation.serialise import to_plain
from zoo.runs.current import current_evaluation
from zoo.runs.run import Run

# columns of metrics.csv with another name than their metric
PER_EPOCH = {"sensitivity": "val_recall"}
FINISHED = ("complete", "pruned", "failed")


@dataclass
class Trial:
    """One combination of values and its run.

    `status` is "waiting", "running", "interrupted", "complete", "pruned" or "failed", with the `reason` of the last. `config`
    is the resolved configuration, `result` what `measured` returned (empty until then).
    """

    number: int
    run: str
    values: dict[str, Any]
    config: dict[str, Any]
    status: str = "waiting"
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        return self.status in FINISHED

    def value(self, split: str, metric: str) -> float:
        """The metric on "val" or "test"; NaN where it is undefined or not known."""
        found = (self.result.get(split) or {}).get(metric) or {}
        value = found.get("value")
        return math.nan if value is None else float(value)


def epoch_column(metric: str) -> str | None:
    """The validation metric's column of metrics.csv; None if it is not computed after every epoch."""
    name = PER_EPOCH.get(metric, f"val_{metric}")
    return name if name in MONITORS else None


def measured(run: Run, metric: str) -> dict[str, Any]:
    """A run's results in plain values: epochs, times, thresholds, and each metric on validation and test with its interval.

    `common_means` has both means over the labels that both define, of the metrics whose labels differ. An unfinished run has
    only the best validation value of `metric` so far, without an interval.

    Raises:
        ZooError: a file of the run is damaged.
    """
    info, rows, config = run.info(), _rows(run), run.config()
    monitor = str(config.get("monitor"))
    found: dict[str, Any] = {
        "epochs": len(rows),
        "monitor": monitor,
        "best_epoch": _best_epoch(rows, monitor),
        "images_per_second": _images_per_second(rows),
        "seconds": info.get("seconds"),
        "thresholds": {},
        "val": {},
        "test": {},
        "images": None,
    }
    if info.get("status") == "complete":
        found["best_epoch"] = info.get("best_epoch")
        val, test = (current_evaluation(run, split)[0] for split in ("val", "test"))
        for evaluation in (val, test):
            found[evaluation.split] = to_plain({m: evaluation.averages["macro"][m] for m in METRICS})
        found["thresholds"] = {} if val.task.exclusive else to_plain(val.thresholds)
        found["images"] = f"{val.images_digest}-{val.labels_digest}"
        found["common_means"] = to_plain({m: means for m, (_, *means) in common_means(val, test, METRICS).items()})
        return found
    column = epoch_column(metric)
    values = [float(row[column]) for row in rows if column in row]
    defined = [value for value in values if math.isfinite(value)]
    if defined:
        found["val"] = {metric: {"value": max(defined), "low": None, "high": None}}
    return found


def _rows(run: Run) -> list[dict[str, str]]:
    file = run.path / "metrics.csv"
    try:
        with file.open(newline="") as table:
            return list(csv.DictReader(table))
    except FileNotFoundError:
        return []  # it ended before its first epoch
    except (OSError, ValueError, csv.Error) as error:
        raise ZooError(f"{file} cannot be read: {error}") from error


def _best_epoch(rows: Sequence[Mapping[str, str]], monitor: str) -> int | None:
    """The first epoch with the best defined value of the monitor."""
    sign = 1 if MONITORS.get(monitor) == "max" else -1
    values = [(sign * float(row[monitor]), -int(row["epoch"])) for row in rows if monitor in row]
    defined = [each for each in values if math.isfinite(each[0])]
    return -max(defined)[1] if defined else None


def _images_per_second(rows: Sequence[Mapping[str, str]]) -> float | None:
    """Of all epochs together."""
    seconds = sum(float(row["seconds"]) for row in rows)
    images = sum(float(row["seconds"]) * float(row["images_per_second"]) for row in rows)
    return round(images / seconds, 1) if seconds > 0 else None


@dataclass(frozen=True)
class Results:
    """All trials of a sweep, ranked by one metric on validation; `keys` are the settings that vary, `also` more metrics to show."""

    name: str
    folder: Path
    kind: str
    metric: str
    keys: tuple[str, ...]
    trials: tuple[Trial, ...]
    also: tuple[str, ...] = ()

    @property
    def complete(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.status == "complete"]

    @property
    def comparable(self) -> bool:
        """Whether all complete trials were validated on the same images with the same labels."""
        return len({trial.result.get("images") for trial in self.complete}) <= 1

    @property
    def best(self) -> Trial | None:
        """The trial with the highest metric on validation, of equal ones the first; never chosen by test images. None where
        no trial has a value, or they were validated on different images."""
        known = [trial for trial in self.complete if not math.isnan(trial.value("val", self.metric))]
        if not known or not self.comparable:
            return None
        return max(known, key=lambda trial: (trial.value("val", self.metric), -trial.number))

    @property
    def equals(self) -> list[Trial]:
        """The other trials that are as high on validation as the best."""
        best = self.best
        if best is None:
            return []
        value = best.value("val", self.metric)
        return [trial for trial in self.complete if trial is not best and trial.value("val", self.metric) == value]

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, undefined as None."""
        best = self.best
        return {
            "sweep": self.name,
            "folder": str(self.folder),
            "kind": self.kind,
            "metric": self.metric,
            "varies": list(self.keys),
            "comparable": self.comparable,
            "best": None if best is None else best.run,
            "trials": [
                {
                    "trial": t.number,
                    "run": t.run,
                    "status": t.status,
                    "reason": t.reason,
                    "values": t.values,
                    **t.result,
                }
                for t in self.trials
            ],
        }

    def to_csv(self) -> str:
        """One row per trial, for people; undefined is an empty cell.

        `images_per_second` and `seconds` alone differ between two sweeps of the same configuration on the same machine.
        """
        best = self.best
        columns = ["trial", "run", "status", *self.keys, "best", "monitor", "best_epoch", "epochs", "threshold"]
        columns += [f"{s}_{m}{end}" for s in ("val", "test") for m in METRICS for end in ("", "_low", "_high")]
        columns += ["images_per_second", "seconds", "reason"]
        columns = list(dict.fromkeys(columns))  # the monitor may be among what varies
        rows = [{name: guarded(cell) for name, cell in self._cells(t, t is best).items()} for t in self.trials]
        return rows_text(rows, columns)

    def _cells(self, trial: Trial, best: bool) -> dict[str, Any]:
        result = trial.result
        cells: dict[str, Any] = {"trial": trial.number, "run": trial.run, "status": trial.status, **trial.values}
        cells |= {"best": "yes" if best else "", "reason": trial.reason}
        names = ("monitor", "best_epoch", "epochs", "images_per_second", "seconds")
        cells |= {name: "" if result.get(name) is None else result[name] for name in names}
        cells["threshold"] = "|".join(f"{value:.9g}" for value in (result.get("thresholds") or {}).values())
        for split in ("val", "test"):
            for metric, each in (result.get(split) or {}).items():
                for end, value in (("", each["value"]), ("_low", each["low"]), ("_high", each["high"])):
                    cells[f"{split}_{metric}{end}"] = "" if value is None else f"{value:.9g}"
        return cells
