"""Printing results: tables on standard output, the plain sentences below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from zoo.cli.printing import plain_console, print_json
from zoo.core.text import RESEARCH_ONLY
from zoo.evaluation import gap_verdict, verdict
from zoo.report.results_tables import (
    calibration_line,
    calibration_table,
    groups_table,
    operating_table,
    predictive_table,
    truth_table,
)
from zoo.report.tables import evaluation_table, results_table
from zoo.runs.run import DEFAULT_RUNS_DIR

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zoo.inference.training import Outcome
    from zoo.runs.results import Study
    from zoo.runs.run import Run


def report_training(
    train: Callable[[], Outcome | None], as_json: bool, more: Callable[[Run], dict[str, Any]] = lambda run: {}
) -> None:
    """Train, then print the results; nothing where another host reports. `more` gives further entries of the JSON object.

    Raises:
        Exit: after Ctrl-C or SIGTERM, with the exit code that shells expect.
    """
    from zoo.engine.signals import Interrupted

    try:
        outcome = train()
    except Interrupted as stop:
        raise click.exceptions.Exit(stop.exit_code) from stop
    if outcome is None:
        return
    if as_json:
        results = {"val": outcome.validation.to_dict(), "test": outcome.test.to_dict()}
        print_json({"run": str(outcome.run.path), **more(outcome.run), **results})
    else:
        _print_outcome(outcome.run, outcome.study)


def _print_outcome(run: Run, study: Study) -> None:
    """The end of a training: a small table, what it means, and where the run is."""
    validation, test = study.validation, study.evaluation
    console = plain_console()
    console.print(results_table(validation, test))
    gap = None if validation is None else gap_verdict(validation, test)
    floor = [each.sentence for each in study.floors[:1]]
    for line in filter(None, (*study.leaks, verdict(test), gap, *floor, *test.notes)):
        console.print(line, soft_wrap=False)
    reference = run.name if run.path.parent == DEFAULT_RUNS_DIR else run.path
    console.print(f"Run: {run.path}   (again: zoo evaluate {reference})", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def print_study(study: Study, folder: Path, *, detailed: bool, calibration: bool) -> None:
    """All that was measured. `detailed` shows the operating points, `calibration` its table instead of one line."""
    console = plain_console()
    for line in study.leaks:
        console.print(Text(line, style="bold red"))
    console.print(evaluation_table(study.evaluation, console.width))
    gap = None if study.validation is None else gap_verdict(study.validation, study.evaluation)
    floors = [each.sentence for each in study.floors]
    for line in filter(None, (verdict(study.evaluation), gap, *floors, *study.evaluation.notes)):
        console.print(line)
    if study.calibration is not None:
        table = calibration_table(study.calibration) if calibration else calibration_line(study.calibration)
        _block(console, table)
        for line in (*([f"ECE: {study.calibration.binning}"] if calibration else []), *study.calibration.notes):
            console.print(line)
    if detailed and study.operating:
        _block(console, operating_table(study.operating))
        _block(console, predictive_table(study.operating))
    if study.groups:
        _block(console, groups_table(study.groups))
    if study.truth is not None:
        _block(console, truth_table(study.truth))
    for line in study.notes:
        console.print(line)
    console.print(f"Saved: {folder}/study-{study.split}.json, metrics-{study.split}.csv", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def _block(console: Console, what: RenderableType) -> None:
    """A part with an empty line above; a table's title may be wider than the table."""
    console.print()
    if isinstance(what, Table):
        console.print(what.title)
        what.title = None
    console.print(what)
