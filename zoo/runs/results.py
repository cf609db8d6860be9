"""Everything that is measured on one split of a run, put together from its saved files."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.core.errors import UsageError
from zoo.core.files import write_text
from zoo.core.thresholds import ThresholdRule
from zoo.evaluation.baselines import Floor, floors
from zoo.evaluation.calibration import METHODS
from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.operating import OperatingPoint, operating_notes, operating_points
from zoo.evaluation.plain import plain
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.reference import TruthComparison, compare_truth, truth_notes
from zoo.evaluation.reliability import CalibrationResult, evaluate_calibration
from zoo.evaluation.subgroups import DEFAULT_COLUMNS, Group, subgroup_notes, subgroups
from zoo.evaluation.thresholds import choose_thresholds, threshold_notes
from zoo.runs.leaks import leaks
from zoo.runs.run import Run

REPLICATES = 1000


@dataclass(frozen=True)
class Study:
    """What was measured on one split of a run, and on the validation images beside it.

    `validation` is None where the split is validation itself. `operating` is empty for a multiclass task, which has no
    thresholds. `leaks`, `threshold_notes` (which thresholds the validation images could not tell) and `notes` are
    sentences; leaks put all other numbers in doubt.
    """

    run: str
    split: str
    rule: ThresholdRule
    evaluation: Evaluation
    validation: Evaluation | None
    operating: tuple[OperatingPoint, ...]
    calibration: CalibrationResult | None
    groups: tuple[Group, ...]
    floors: tuple[Floor, ...]
    truth: TruthComparison | None
    leaks: tuple[str, ...]
    threshold_notes: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, undefined as None."""
        values = plain({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})
        return dict(values)

    def save(self, directory: Path) -> None:
        """Write the evaluation's own files, `study-<split>.json` and, per part, a CSV: `operating-<split>.csv`,
        `subgroups-<split>.csv`."""
        self.evaluation.save(directory)
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        write_text(directory / f"study-{self.split}.json", text)
        for name, rows in (("operating", self.operating), ("subgroups", self.groups)):
            if rows:
                write_text(directory / f"{name}-{self.split}.csv", _table(rows))


def study(
    run: Run,
    split: str = "test",
    *,
    rule: ThresholdRule | None = None,
    prevalence: float | None = None,
    columns: Sequence[str] | None = None,
    labels: Path | None = None,
    calibration: str = "temperature",
    replicates: int = REPLICATES,
) -> Study:
    """Measure a split of the run's own images from its saved predictions; never loads Keras.

    Args:
        run: a finished run.
        split: "test" or "val".
        rule: how thresholds are chosen on validation; the run's own by default.
        prevalence: in (0, 1), for predictive values elsewhere.
        columns: what to audit by; sex, age and view by default, as far as they are known.
        labels: a table with a second reference for the images.
        calibration: "temperature", "platt", "isotonic" or "none".
        replicates: resamples of the patients.

    Raises:
        ZooError: the run is unfinished, a table is damaged, or an argument does not fit; says which.
    """
    if calibration not in (*METHODS, "none"):
        raise UsageError(f"unknown calibration '{calibration}'. Valid: {', '.join(METHODS)}, none.")
    validation = run.predictions("val")
    predictions = validation if split == "val" else run.predictions(split)
    seed = int(run.config()["seed"])
    images = run.images()
    return measure(
        run.name,
        split,
        predictions,
        validation,
        images,
        leaks=leaks(images, split),
        rule=rule or stored_rule(run),
        prevalence=prevalence,
        columns=columns,
        labels=labels,
        calibration=calibration,
        replicates=replicates,
        seed=seed,
    )


def stored_rule(run: Run) -> ThresholdRule:
    """The rule that the run's thresholds follow."""
    kept = run.info().get("threshold_rule") or run.config().get("threshold") or {"rule": "fixed"}
    return ThresholdRule(**kept)


def measure(
    name: str,
    split: str,
    predictions: Predictions,
    validation: Predictions,
    images: pd.DataFrame,
    *,
    leaks: tuple[str, ...],
    rule: ThresholdRule,
    prevalence: float | None,
    columns: Sequence[str] | None,
    labels: Path | None,
    calibration: str,
    replicates: int,
    seed: int,
) -> Study:
    """Put the parts together for any predictions: the run's own, or those on another dataset.

    `images` is the run's table of images, from whose training part the metadata-only floor is learned; the other arguments
    are those of `study`.
    """
    resampling: dict[str, Any] = {"replicates": replicates, "seed": seed}
    predictions.check(f"{split} predictions")
    thresholds = choose_thresholds(validation, rule)
    fallen = threshold_notes(validation, rule)
    evaluation = evaluate(predictions, thresholds, split=split, notes=fallen, **resampling)
    other = None
    if predictions is not validation:
        other = evaluate(validation, thresholds, split="val", **resampling)
    points: tuple[OperatingPoint, ...] = ()
    if not predictions.task.exclusive:
        points = operating_points(validation, predictions, rule, prevalence=prevalence, **resampling)
    elif prevalence is not None:
        raise UsageError(
            "--prevalence is for one label against the rest; a multiclass task takes the most probable class."
        )
    calibrated = None
    if calibration != "none":
        calibrated = evaluate_calibration(validation, predictions, calibration, **resampling)
    groups = subgroups(predictions, thresholds, _columns(predictions, columns), **resampling)
    truth = None
    if labels is not None:
        truth = compare_truth(labels, predictions, thresholds, split=split, **resampling)
    training = images[images["split"] == "train"]
    known = any(column.startswith("label:") for column in images.columns)
    notes = (*operating_notes(points), *subgroup_notes(groups), *(truth_notes(truth) if truth else ()))
    return Study(
        run=name,
        split=split,
        rule=rule,
        evaluation=evaluation,
        validation=other,
        operating=points,
        calibration=calibrated,
        groups=groups,
        floors=floors(training, predictions, **resampling) if known else (),
        truth=truth,
        leaks=leaks,
        threshold_notes=fallen,
        notes=notes,
    )


def _columns(predictions: Predictions, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """What is asked for, or the usual columns as far as anything is known of them."""
    if wanted is not None:
        return tuple(wanted)
    table = predictions.table
    return tuple(c for c in DEFAULT_COLUMNS if c in table and table[c].notna().any())


def _table(rows: Sequence[Any]) -> str:
    """Dataclasses as CSV; an interval becomes the columns NAME, NAME_low and NAME_high, undefined an empty cell."""
    flat = [_flat(plain(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(flat)
    return file.getvalue()


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict) and set(value) == {"value", "low", "high"}:
            found |= {f"{prefix}{name}": value["value"]}
            found |= {f"{prefix}{name}_{side}": value[side] for side in ("low", "high")}
        elif isinstance(value, dict):
            found |= _flat(value, f"{prefix}{name}_")
        else:
            found[f"{prefix}{name}"] = value
    return found
