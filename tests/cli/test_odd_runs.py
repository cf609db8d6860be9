"""Results and comparisons of runs that nobody hopes for: labels without positives, without anything known, rules at their ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import comparable
import numpy as np
import pandas as pd
import pytest
from commandline import zoo
from reportable import BINARY, SEVERAL, make_run

from zoo.core.tasks import Task
from zoo.evaluation import Predictions
from zoo.evaluation.fairness import fairness
from zoo.report.fairness import sentence

pytestmark = pytest.mark.usefixtures("elsewhere")


def odd_run(task: Task, splits: Collection[str], labels: Collection[str], value: float) -> None:
    """A run `runs/run` of whose images of these splits these labels are all `value`."""
    run = make_run(Path("runs"), task, explained=False, pixels=False)
    for split in splits:
        found = run.predictions(split)
        changed = found.labels.copy()
        changed[:, [task.labels.index(label) for label in labels]] = value
        run.save_predictions(split, Predictions(task, found.table, changed, found.logits))


def evaluated(*words: str) -> str:
    result = zoo("evaluate", "run", "--replicates", "20", *words)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_rule_of_zero_is_a_rule() -> None:
    make_run(Path("runs"), BINARY, explained=False, pixels=False)
    assert "Threshold .000: fixed." in evaluated("--threshold", "0")
    result = zoo("evaluate", "run", "--sensitivity", "0")
    assert (result.exit_code, "a target sensitivity lies above 0" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("task", "labels", "line"),
    [
        (BINARY, BINARY.labels, "Threshold .500: validation determines none (Youden’s rule)."),
        (SEVERAL, SEVERAL.labels[:1], "by label: Youden’s rule on validation, .5 where that determines none."),
    ],
)
def test_a_threshold_that_validation_does_not_determine_is_not_called_chosen(
    task: Task, labels: tuple[str, ...], line: str
) -> None:
    odd_run(task, ["val"], labels, 0)
    assert line in evaluated("--youden")


def test_unknown_labels_give_dashes_and_each_sentence_once() -> None:
    odd_run(SEVERAL, ["val", "test"], SEVERAL.labels, np.nan)
    said = evaluated("--verbose")
    assert "means over the labels: Brier – → –, ECE – → –." in said
    assert said.count("the network cannot be compared with a baseline") == 1


def test_one_gap_is_one_gap() -> None:
    number = 200
    table = pd.DataFrame({"image": range(number), "patient": range(number), "sex": ["F", "M"] * (number // 2)})
    found = Predictions(BINARY, table.astype(str), np.zeros((number, 1)), np.linspace(-3, 1, number)[:, None])
    assert sentence(fairness(found, {"Abnormal": 0.5})).startswith("1 gap in under- and over-diagnosis was examined")


def test_runs_of_one_image_are_compared_without_a_p_that_nobody_tested() -> None:
    for seed in (0, 1, 2):
        comparable.make_run(f"r{seed}", seed=seed, test=range(100, 101))
    result = zoo("compare")
    assert result.exit_code == 0, result.output
    assert "1 test image of 1 patient," in result.stdout
    assert "There is only 1 patient, so intervals and p are not reliable." in result.stdout
    assert "DeLong" not in result.stdout


def test_settings_that_are_none_are_one_clear_line() -> None:
    run = make_run(Path("runs"), BINARY, explained=False, pixels=False)
    (run.path / "config.yaml").write_text("- a\n")
    result = zoo("evaluate", "run")
    assert (result.exit_code, "config.yaml holds no settings" in result.stderr) == (1, True)


def test_a_terminal_of_another_encoding_gets_the_results() -> None:
    make_run(Path("runs"), BINARY, explained=False, pixels=False)
    words = [
        sys.executable,
        "-c",
        "from zoo.cli.main import main; main()",
        "evaluate",
        "run",
        "--youden",
        "--replicates",
        "20",
    ]
    done = subprocess.run(words, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=True)
    assert "Youden's rule on validation." in done.stdout.decode("latin-1")
