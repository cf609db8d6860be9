"""Everything that is measured on one split of a run, from its saved files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.files import write_text
from zoo.core.thresholds import ThresholdRule
from zoo.evaluation.baselines import Baseline, baselines
from zoo.evaluation.calibration import METHODS
from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.like_for_like import Drop, measure_drop
from zoo.evaluation.notes import Note
from zoo.evaluation.operating import OperatingPoint, operating_points
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.reference import ReferenceComparison, compare_reference
from zoo.evaluation.reliability import CalibrationResult, evaluate_calibration
from zoo.evaluation.serialise import Serialisable, to_csv, to_plain
from zoo.evaluation.sheet import Sheet, make_sheet
from zoo.evaluation.subgroups import DEFAULT_COLUMNS, Gaps, Group, clear_gaps, subgroups
from zoo.evaluation.thresholds import choose_thresholds, threshold_notes
from zoo.runs.flow import Flow, run_flow
from zoo.runs.leaks import Leak, find_leaks
from zoo.runs.run import Run
from zoo.runs.statements import Statement, statements

REPLICATES = 1000


@dataclass(frozen=True)
class Results(Serialisable):
    """What was measured on one split of a run, and on the validation images beside it.

    `validation` is None where the split is validation itself, and so is `drop`, which is None too where the two have no label
    in common. `operating` is empty for a multiclass task, which has no
    thresholds. `leaks` put all other numbers in doubt. `threshold_notes` are facts about the choice of the thresholds, `notes`
    about how another dataset's labels were matched. `flow` says how the images came to be these.
    """

    run: str
    split: str
    rule: ThresholdRule
    evaluation: Evaluation
    validation: Evaluation | None
    drop: Drop | None
    operating: tuple[OperatingPoint, ...]
    calibration: CalibrationResult | None
    groups: tuple[Group, ...]
    gaps: Gaps
    baselines: tuple[Baseline, ...]
    reference: ReferenceComparison | None
    leaks: tuple[Leak, ...]
    threshold_notes: tuple[Note, ...]
    sheet: Sheet
    notes: tuple[Note, ...] = ()
    flow: Flow | None = None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What the results come to, the worst true statement first."""
        facts = ("leaks", "baselines", "drop", "notes", "threshold_notes")
        return statements(self.evaluation, **{name: getattr(self, name) for name in facts})

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None, with the `statements`."""
        return {**super().to_dict(), "statements": to_plain(self.statements)}

    def save(self, directory: Path) -> None:
        """Write the evaluation's own files (see `Evaluation.save`), `results-<split>.json` with everything, and parts as
        CSV: `operating-<split>.csv`, `subgroups-<split>.csv`, `flow-<split>.csv`, `missing-<split>.csv`, and those of
        `Sheet.tables`."""
        self.evaluation.save(directory)
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        write_text(directory / f"results-{self.split}.json", text)
        parts: list[tuple[str, Sequence[Any]]] = [("operating", self.operating), ("subgroups", self.groups)]
        if self.flow is not None:
            parts += [("flow", self.flow.rows()), ("missing", self.flow.missing)]
        for name, rows in (*parts, *self.sheet.tables()):
            if rows:
                write_text(directory / f"{name}-{self.split}.csv", to_csv(rows))


def evaluate_run(
    run: Run,
    split: str = "test",
    *,
    rule: ThresholdRule | None = None,
    prevalence: float | Mapping[str, float] | None = None,
    columns: Sequence[str] | None = None,
    labels: Path | None = None,
    calibration: str = "temperature",
    replicates: int = REPLICATES,
    accept_changed: bool = False,
) -> Results:
    """Measure a split of the run's own images from its saved predictions; never loads Keras.

    Args:
        run: a finished run.
        split: "test" or "val".
        rule: how thresholds are chosen on validation; the run's own by default.
        prevalence: in (0, 1), for predictive values in another population: one for all labels, or by label.
        columns: the columns whose groups are compared; sex, age and view by default, as far as they are known.
        labels: a table with other reference labels of the images.
        calibration: "temperature", "platt", "isotonic" or "none".
        replicates: resamples of the patients.
        accept_changed: whether predictions that were changed since the run was finished are measured, with a note.

    Raises:
        ZooError: the run is unfinished, a table is damaged or was changed, or an argument does not fit; says which.
    """
    if calibration not in (*METHODS, "none"):
        raise UsageError(f"unknown calibration '{calibration}'. Valid: {', '.join(METHODS)}, none.")
    validation = run.predictions("val", accept_changed=accept_changed)
    images = run.images()
    predictions = validation if split == "val" else run.predictions(split, accept_changed=accept_changed)
    found = measure(
        run.name,
        split,
        predictions,
        validation,
        images,
        leaks=find_leaks(images, split),
        rule=rule or stored_rule(run),
        prevalence=prevalence,
        columns=columns,
        labels=labels,
        calibration=calibration,
        replicates=replicates,
        seed=run.setting("seed"),
    )
    return dataclasses.replace(found, flow=run_flow(run, split, predictions, images))


def with_doubts(evaluation: Evaluation, validation: Predictions) -> Evaluation:
    """An evaluation with the doubts about the validation images, on which its thresholds were chosen."""
    doubts = [note for note in validation.notes if note not in evaluation.notes]
    return dataclasses.replace(evaluation, notes=(*doubts, *evaluation.notes))


def stored_rule(run: Run) -> ThresholdRule:
    """The rule that the run's thresholds follow."""
    kept = run.info().get("threshold_rule") or run.config().get("threshold") or {"rule": "fixed"}
    try:
        return ThresholdRule(**kept)
    except (TypeError, ZooError) as error:
        raise DataError(f"the threshold rule of the run {run.path} is damaged, {str(kept)[:80]}: {error}") from None


def measure(
    name: str,
    split: str,
    predictions: Predictions,
    validation: Predictions,
    images: pd.DataFrame,
    *,
    leaks: tuple[Leak, ...],
    rule: ThresholdRule,
    prevalence: float | Mapping[str, float] | None,
    columns: Sequence[str] | None,
    labels: Path | None,
    calibration: str,
    replicates: int,
    seed: int,
) -> Results:
    """Measure any predictions: the run's own, or those on another dataset.

    `images` is the run's table of images, from whose training part the metadata baseline is learned; the other arguments
    are those of `evaluate_run`.
    """
    resampling: dict[str, Any] = {"replicates": replicates, "seed": seed}
    predictions.check(f"{split} predictions")
    thresholds = choose_thresholds(validation, rule)
    evaluation = evaluate(predictions, thresholds, split=split, rule=rule, **resampling)
    other = drop = None
    if predictions is not validation:
        other = evaluate(validation, thresholds, split="val", rule=rule, **resampling)
        drop = measure_drop(other, evaluation, validation, predictions)
        evaluation = with_doubts(evaluation, validation)
    points: tuple[OperatingPoint, ...] = ()
    if not predictions.task.exclusive:
        points = operating_points(validation, predictions, rule, prevalence=prevalence)
    elif prevalence is not None:
        raise UsageError(
            "--prevalence is for one label against the rest; a multiclass task takes the most probable class."
        )
    calibrated = None
    if calibration != "none":
        calibrated = evaluate_calibration(validation, predictions, calibration, **resampling)
    groups = subgroups(predictions, thresholds, _columns(predictions, columns))
    reference = None
    if labels is not None:
        reference = compare_reference(labels, predictions, thresholds, split=split, **resampling)
    training = images[images["split"] == "train"]
    used = None if calibrated is None else calibrated.calibration.probabilities(predictions.logits)
    known = any(column.startswith("label:") for column in images.columns)
    return Results(
        run=name,
        split=split,
        rule=rule,
        evaluation=evaluation,
        validation=other,
        drop=drop,
        operating=points,
        calibration=calibrated,
        groups=groups,
        gaps=clear_gaps(groups),
        baselines=baselines(training, predictions, calibrated=used) if known else (),
        reference=reference,
        leaks=leaks,
        threshold_notes=threshold_notes(validation, rule),
        sheet=make_sheet(
            predictions,
            evaluation,
            calibrated.calibration if calibrated else None,
            None if predictions is validation else validation,
        ),
    )


def _columns(predictions: Predictions, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """What is asked for, or the usual columns as far as anything is known of them."""
    if wanted is not None:
        return tuple(wanted)
    table = predictions.table
    return tuple(c for c in DEFAULT_COLUMNS if c in table and table[c].notna().any())
