"""Printing results: tables on standard output, the plain sentences below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

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
    from pathlib import Path

    from zoo.runs.results import Study
    from zoo.runs.run import Run


def print_outcome(run: Run, study: Study) -> None:
    """What stands at the end of a training: the small table, what it means, and where the run lies."""
    validation, test = study.validation, study.evaluation
    console = Console(highlight=False, markup=False)
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
    console = Console(highlight=False, markup=False)
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
