"""Printing results: a table on standard output, the worst statements below it, and where the rest is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.console import Console, RenderableType
from rich.table import Table

from zoo.cli.logs import verbose
from zoo.cli.printing import plain_console, print_json
from zoo.core.text import RESEARCH_ONLY, count_of
from zoo.report import detail_sentences, fairness, sentences, tables, utility

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from zoo.evaluation.reliability import CalibrationResult
    from zoo.inference.training import Outcome
    from zoo.runs.results import Results
    from zoo.runs.run import Run

SENTENCES = 5  # that stand below the table unless --verbose asks for all


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
    """The end of a training: a small table, what it means, and where the rest is."""
    console = plain_console()
    console.print(tables.results_table(results.validation, results.evaluation))
    said = _print_summary(console, results, tables.like_for_like(results.validation, results.evaluation))
    console.print(f"Run: {run.path}   (again: zoo evaluate {run.reference})", soft_wrap=True)
    _print_rest(console, said, f"zoo evaluate {run.reference} --verbose, or zoo report {run.reference}")
    console.print(RESEARCH_ONLY)


def print_results(results: Results, folder: Path, reference: str | None, asked: Collection[str]) -> None:
    """The table, the worst statements, the parts `asked` for, and where the rest is; with --verbose everything.

    Args:
        results: what was measured.
        folder: where it is saved.
        reference: how zoo report finds the run; None where these are not its own images.
        asked: of "operating", "calibration" and "groups"; another reference is shown where there is one.
    """
    console, everything = plain_console(), verbose()
    console.print(tables.evaluation_table(results.evaluation, console.width))
    left = _print_summary(console, results, most=None if everything else SENTENCES)
    if results.calibration is not None and (everything or "calibration" in asked):
        _print_calibration(console, results.calibration, "calibration" in asked)
    if results.operating and "operating" in asked:
        _print_operating(console, results)
    if results.groups and (everything or "groups" in asked):
        rows = sentences.overall(results.groups)
        title = f"Groups{' (means over the labels)' if rows[0].label == 'macro' else ''}; gap: against all other images"
        _print_part(
            console,
            tables.terminal(
                tables.groups_table(results.groups, patients=results.evaluation.patients_known), title, tables.GROUPS
            ),
        )
    if (other := results.reference) is not None:
        title = f"{count_of(other.images, 'image')} also labelled in {other.source}; AUROC against either reference"
        _print_part(console, tables.terminal(tables.reference_table(other), title, tables.REFERENCE))
    for line in _of_parts(results, asked, everything):
        console.print(line)
    if not everything:
        report = "" if reference is None else f", or zoo report {reference}"
        _print_rest(console, left, f"the same with --verbose{report}")
    console.print(f"Saved: {folder}/results-{results.split}.json, metrics-{results.split}.csv", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def _print_summary(console: Console, results: Results, means: str | None = None, most: int | None = SENTENCES) -> int:
    """What the table needs: its operating point and a line on its `means`. Then the worst statements, so many lines in all.

    Returns:
        How many statements are left.
    """
    below = [line for line in (means, tables.operating_line(results)) if line is not None]
    for line in below:
        console.print(line)
    # a line on means says which labels are left out
    found = [(each, text) for each, text in sentences.summary(results) if means is None or each.kind != "left_out"]
    shown = found if most is None else found[: most - len(below)]
    for each, text in shown:
        console.print(text, style="bold red" if each.severity == "alarm" else None)
    return len(found) - len(shown)


def _print_rest(console: Console, left: int, where: str) -> None:
    """Where the statements and parts are that are not shown."""
    statements = f"{count_of(left, 'more statement')}, " if left else ""
    console.print(f"More ({statements}calibration, groups): {where}")


def _of_parts(results: Results, asked: Collection[str], everything: bool) -> list[str]:
    """The sentences of the parts that are shown."""
    if everything:
        fair = [fairness.sentence(results.sheet.fairness)] if results.sheet.fairness else []
        return [utility.sentence(results.sheet), *fair, *detail_sentences.details(results)]
    said = [*detail_sentences.operating(results.operating)] if "operating" in asked else []
    if "groups" in asked:
        said += detail_sentences.groups(results.groups, results.gaps, results.evaluation.patients_known)
    return said + (detail_sentences.references(results.reference) if results.reference is not None else [])


def _print_calibration(console: Console, found: CalibrationResult, whole: bool) -> None:
    """Its table with what a bin is, or one line; then what it changed."""
    title = f"Calibration by {found.method}, fitted on validation"
    table = tables.terminal(tables.calibration_table(found), title, tables.CALIBRATION, words=2)
    _print_part(console, table if whole else tables.calibration_line(found))
    if whole:
        console.print(f"ECE: {detail_sentences.binning(found)}")
    for line in detail_sentences.calibration(found):
        console.print(line)


def _print_operating(console: Console, results: Results) -> None:
    """The thresholds, and the predictive values with the prevalence they hold at."""
    points = results.operating
    title = f"Operating points: {tables.rule_text(points)}"
    _print_part(console, tables.terminal(tables.operating_table(points, results.split), title, tables.OPERATING))
    predictive = tables.predictive_table(points)
    title = "Predictive values (PPV, NPV) and the prevalence they hold at"
    _print_part(console, tables.terminal(predictive, title, tables.PREDICTIVE))
    if assumed := [point for point in points if point.assumed_prevalence is not None]:
        predictive = tables.predictive_table(assumed)
        _print_part(console, tables.terminal(predictive, "At the assumed prevalence", tables.ASSUMED))


def _print_part(console: Console, what: RenderableType) -> None:
    """A part with an empty line above; a table's title may be wider than the table."""
    console.print()
    if isinstance(what, Table):
        console.print(what.title)
        what.title = None
    console.print(what)
