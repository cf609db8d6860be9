"""`zoo evaluate`: a run's results, from its saved predictions or on another dataset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import (
    ACCEPT_CHANGED,
    AS_JSON,
    LABELS,
    PATH,
    PREVALENCE,
    REPLICATES,
    RUNS_DIR,
    chosen_prevalence,
    chosen_rule,
    command,
    threshold_options,
)
from zoo.cli.printing import print_json

if TYPE_CHECKING:
    from zoo.core.thresholds import ThresholdRule
    from zoo.runs.results import Results
    from zoo.runs.run import Run

logger = logging.getLogger(__name__)


@command()
@click.argument("run_reference", metavar="RUN")
@click.option("--split", type=click.Choice(["val", "test"]), help="The run's own images to evaluate [default: test].")
@threshold_options
@PREVALENCE
@click.option(
    "--calibration",
    metavar="METHOD",
    help="temperature, platt, isotonic or none, fitted on validation [default: temperature].",
)
@click.option("--by", multiple=True, metavar="COLUMN", help="Subgroups by this column [default: sex, age, view].")
@LABELS
@REPLICATES
@click.option("--data", metavar="NAME", help="Evaluate on all images of another dataset.  zoo list datasets")
@click.option("--root", type=PATH, metavar="DIR", help="Folder of that dataset.")
@click.option("--set", "sets", multiple=True, metavar="data.OPTION=VALUE", help="Options of that dataset.")
@ACCEPT_CHANGED
@RUNS_DIR
@AS_JSON
def evaluate(
    run_reference: str,
    split: str | None,
    prevalences: tuple[str, ...],
    calibration: str | None,
    by: tuple[str, ...],
    labels: Path | None,
    replicates: int,
    data: str | None,
    root: Path | None,
    sets: tuple[str, ...],
    accept_changed: bool,
    runs_dir: Path,
    as_json: bool,
    **rules: Any,
) -> None:
    """Show the metrics of a run with 95% confidence intervals.

    RUN is a name or a path. Thresholds and calibration are fitted on validation images; those you ask for are stored with the
    run, and later commands use them. Shown are the metrics, the worst statements and what you ask for, with --verbose all
    parts; everything is also written into the run folder as JSON and CSV.

    \b
    zoo evaluate NAME
    zoo evaluate NAME --sensitivity 0.95 --prevalence 0.1
    zoo evaluate NAME --prevalence Effusion=0.12 --prevalence Mass=0.03
    zoo evaluate NAME --by view --labels expert_labels.csv
    zoo evaluate NAME --data csv --root DIR         (all images of another dataset)
    """
    from zoo.cli.results import print_results
    from zoo.core.thresholds import check_rule
    from zoo.runs.run import Run

    rule = chosen_rule(rules)
    run = Run.find(run_reference, runs_dir)
    if rule is not None:
        check_rule(run.task().kind, rule, asked=True)
    prevalence = chosen_prevalence(prevalences, run.task())
    options = {
        "rule": rule,
        "prevalence": prevalence,
        "columns": by or None,
        "labels": labels,
        "calibration": calibration or "temperature",
        "replicates": replicates,
        "accept_changed": accept_changed,
    }
    if data is None:
        result, folder = _own(run, split or "test", root, sets, options)
    else:
        result, folder = _elsewhere(run, split, data, root, sets, options)
    _store(run, result, rule, calibration)
    if as_json:
        print_json(result.to_dict())
        return
    asked = {
        "operating": rule is not None or prevalence is not None,
        "calibration": calibration is not None,
        "groups": bool(by),
    }
    print_results(result, folder, run.reference if data is None else None, [part for part in asked if asked[part]])


def _own(
    run: Run, split: str, root: Path | None, sets: tuple[str, ...], options: dict[str, Any]
) -> tuple[Results, Path]:
    """The results of the run's own images, and where they are kept: beside the run's own files if predictions were changed."""
    from zoo.core.errors import UsageError
    from zoo.runs.results import evaluate_run, stored_rule

    if root is not None or sets:
        raise UsageError("--root and --set are for another dataset: name it with --data.")
    rule, before = options["rule"], stored_rule(run)
    found = [evaluate_run(run, split, **options)]
    if rule is not None and str(rule) != str(before):  # what is saved of the other split would be at other thresholds
        other = {**options, "columns": None, "labels": None}
        found.append(evaluate_run(run, "val" if split == "test" else "test", **other))
    folder = run.path / "evaluations" / "changed-predictions" if _changed(found[0]) else run.path
    try:
        for result in reversed(found):
            result.save(folder)
            if result.validation is not None:
                result.validation.save(folder)
    except OSError as error:  # someone else's run may be looked at all the same
        logger.warning(f"not saved: {folder} cannot be written ({error.strerror}).")
    return found[0], folder


def _changed(result: Results) -> bool:
    from zoo.evaluation.notes import CHANGED

    return any(note.kind == CHANGED for note in result.evaluation.notes)


def _elsewhere(
    run: Run, split: str | None, data: str, root: Path | None, sets: tuple[str, ...], options: dict[str, Any]
) -> tuple[Results, Path]:
    from zoo.config.resolve import choose_dataset, merge, parse_set
    from zoo.core.errors import UsageError
    from zoo.core.registry import registry
    from zoo.inference.evaluate import evaluate_on

    if split is not None:
        raise UsageError("--split is for the run's own images; with --data all images of the dataset are evaluated.")
    choice = choose_dataset(data, root, merge(parse_set(each) for each in sets), registry())
    return evaluate_on(run, choice, root, registry(), **options)


def _store(run: Run, result: Results, rule: ThresholdRule | None, calibration: str | None) -> None:
    """Keep thresholds and calibration with the run where the user asked for them: later commands use them."""
    if (rule is not None or calibration is not None) and _changed(result):
        logger.warning("thresholds and calibration are not stored: the predictions were changed.")
        return
    if rule is not None:
        kept = result.to_dict()
        run.update_info(
            thresholds=kept["evaluation"]["thresholds"],
            threshold_rule=kept["rule"],
            threshold_notes=kept["threshold_notes"],
        )
    if calibration is not None:
        run.update_info(calibration=None if result.calibration is None else result.calibration.calibration.to_dict())
