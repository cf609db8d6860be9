"""The sentences below the table of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.report.sweep import sentences
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
