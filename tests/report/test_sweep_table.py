"""The sentences below the table of a sweep."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from zoo.report.sweep import sentences, sweep_table
from zoo.search.trials import Results, Trial


def best_of(**more: Any) -> list[str]:
    values = {"auroc": {"value": 0.9, "low": 0.8, "high": 0.95}}
    result = {"val": values, "test": values, "images": "a", **more}
    trials = tuple(Trial(number, f"s-{number}", {}, {}, "complete", result=result) for number in (1, 2))
    return sentences(Results("s", Path(), "grid", "auroc", (), trials))


def test_means_over_different_labels_are_given_over_those_of_both() -> None:
    assert len(best_of()) == 1
    assert best_of(common_means={"f1": [0.5, 0.4]}) == best_of()  # of another metric than the sweep's
    assert best_of(common_means={"auroc": [0.812, None]})[1] == (
        "Validation and test are means over different labels: over those defined on both, the best trial has .812 and –."
    )


@pytest.mark.parametrize("width", [60, 200])
def test_metrics_asked_for_beside_the_one_that_picks_have_columns_with_intervals(width: int) -> None:
    test = {
        name: {"value": value, "low": value - 0.05, "high": value + 0.05}
        for name, value in (("auroc", 0.9), ("accuracy", 0.8), ("precision", 0.7))
    }
    result = {"val": {"auroc": test["auroc"]}, "test": test, "images": "a", "best_epoch": 3, "seconds": 60}
    trials = (
        Trial(1, "s-1", {"model": "vgg16"}, {}, "complete", result=result),
        Trial(2, "s-2", {"model": "tiny-cnn"}, {}, "failed", result={}),
    )
    found = Results("s", Path(), "grid", "auroc", ("model",), trials, ("accuracy", "precision"))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(sweep_table(found, console))
    page = console.export_text()
    assert all(len(line.rstrip()) <= width for line in page.splitlines())
    for text in ("accuracy", "precision", ".800", "[.750, .850]", ".700", "[.650, .750]", "failed"):
        assert text in page
    assert ("epoch" in page) == (width == 200)
