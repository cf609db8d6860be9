"""Printing results: tables on standard output, the plain sentences below them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from zoo.evaluation import gap_verdict, verdict
from zoo.report.tables import evaluation_table, results_table
from zoo.run import DEFAULT_RUNS_DIR

if TYPE_CHECKING:
    from zoo.evaluation import Evaluation
    from zoo.run import Run


def print_outcome(run: Run, validation: Evaluation, test: Evaluation) -> None:
    """What stands at the end of a training: the small table, what it means, and where the run lies."""
    console = Console(highlight=False, markup=False)
    console.print(results_table(validation, test))
    for line in (verdict(test), gap_verdict(validation, test), *test.notes):
        if line:
            console.print(line, soft_wrap=False)
    reference = run.name if run.path.parent == DEFAULT_RUNS_DIR else run.path
    console.print(f"Run: {run.path}   (again: zoo evaluate {reference})", soft_wrap=True)


def print_evaluation(evaluation: Evaluation) -> None:
    """One evaluation, label by label."""
    console = Console(highlight=False, markup=False)
    console.print(evaluation_table(evaluation))
    for line in (verdict(evaluation), *evaluation.notes):
        console.print(line)
