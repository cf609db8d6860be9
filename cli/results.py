"""Printing results: tables on standard output, sentences below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from zoo.cli.printing import plain_console, print_json
from zoo.core.text import RESEARCH_ONLY, count_of
from zoo.report import detail_sentences, sentences, tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zoo.inference.training import Outcome
    from zoo.runs.results import Results
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
        _print_outcome(outcome.run, outcome.results)


def _print_outcome(run: Run, results: Results) -> None:
    """The end of a training: a small table, what it means, and where the run is."""
    console = plain_console()
    console.print(tables.results_table(results.validation, results.evaluation))
    _print_operating_point(console, results)
    _print_sentences(console, results, baselines=1)
    console.print(f"Run: {run.path}   (again: zoo evaluate {run.reference})", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def print_results(results: Results, folder: Path, *, detailed: bool, calibration: bool) -> None:
    """All that was measured. `detailed` shows the operating points, `calibration` its table instead of one line."""
    console = plain_console()
    console.print(tables.evaluation_table(results.evaluation, console.width))
    _print_operating_point(console, results)
    _print_sentences(console, results)
    if (found := results.calibration) is not None:
        title = f"Calibration by {found.method}, fitted on validation"
        table = tables.terminal(tables.calibration_table(found), title, tables.CALIBRATION, words=2)
        _print_part(console, table if calibration else tables.calibration_line(found))
        if calibration:
            console.print(f"ECE: {detail_sentences.binning(found)}")
        for line in detail_sentences.calibration(found):
            console.print(line)
    if detailed and results.operating:
        found_points, title = results.operating, f"Operating points: {tables.rule_text(results.operating)}"
        _print_part(
            console, tables.terminal(tables.operating_table(found_points, results.split), title, tables.OPERATING)
        )
        predictive = tables.predictive_table(found_points)
        title = "Predictive values (PPV, NPV) and the prevalence they hold at"
        _print_part(console, tables.terminal(predictive, title, tables.PREDICTIVE))
        if assumed := [point for point in found_points if point.assumed_prevalence is not None]:
            predictive = tables.predictive_table(assumed)
            _print_part(console, tables.terminal(predictive, "At the assumed prevalence", tables.ASSUMED))
    if results.groups:
        rows = sentences.overall(results.groups)
        title = f"Groups{' (means over the labels)' if rows[0].label == 'macro' else ''}; gap: against all other images"
        _print_part(console, tables.terminal(tables.groups_table(rows), title, tables.GROUPS))
    if (other := results.reference) is not None:
        title = f"{count_of(other.images, 'image')} also labelled in {other.source}; AUROC against either reference"
        _print_part(console, tables.terminal(tables.reference_table(other), title, tables.REFERENCE))
    for line in detail_sentences.details(results):
        console.print(line)
    console.print(f"Saved: {folder}/results-{results.split}.json, metrics-{results.split}.csv", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def _print_operating_point(console: Console, results: Results) -> None:
    if (line := tables.operating_line(results)) is not None:
        console.print(line)


def _print_sentences(console: Console, results: Results, baselines: int | None = None) -> None:
    """Changed predictions and leaks, the conclusion, a drop from validation, so many of the baselines, and notes."""
    for line in sentences.alarms(results):
        console.print(Text(line, style="bold red"))
    drop, notes = sentences.drop(results), sentences.notes(results)
    lines = (sentences.conclusion(results.evaluation), drop, *sentences.baselines(results)[:baselines], *notes)
    for each in filter(None, lines):
        console.print(each)


def _print_part(console: Console, what: RenderableType) -> None:
    """A part with an empty line above; a table's title may be wider than the table."""
    console.print()
    if isinstance(what, Table):
        console.print(what.title)
        what.title = None
    console.print(what)
