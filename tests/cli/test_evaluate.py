"""`zoo evaluate`: a run's own films from its predictions, and other films through its network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import films, table, zoo

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def test_evaluate_shows_the_saved_results_again_without_keras(finished: Finished) -> None:
    trained = finished()
    for split in ("val", "test"):
        again = json.loads(zoo("evaluate", "first", "--split", split, "--json").stdout)
        assert again["evaluation"]["per_label"] == trained[split]["per_label"]
    code = "import sys; from zoo.cli.main import cli; cli(sys.argv[1:], standalone_mode=False); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "evaluate", "first"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_evaluate_on_other_films_uses_all_of_them(finished: Finished) -> None:
    finished(task="multilabel")
    words = ["--data", "phantom", "--set", "data.patients=15", "--set", "data.seed=5", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    evaluation = json.loads(result.stdout)["evaluation"]
    assert evaluation["patients"] == 15
    kept = next(Path("runs/first/evaluations").glob("phantom-*/predictions.csv"))
    assert len(kept.read_text().splitlines()) == evaluation["images"] + 1


def test_evaluate_on_other_films_matches_labels_by_name(finished: Finished) -> None:
    finished(task="multilabel")
    films(12)
    table("image,effusion,Hernia", [f"{i}.png,{i % 2},0" for i in range(12)])
    Path("films/t.csv").write_text(Path("films/t.csv").read_text().replace("0.png,0,0", "0.png,0,1"))
    words = ["--data", "csv", "--root", "films", "--set", "data.labels=effusion,Hernia", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    labels = json.loads(result.stdout)["evaluation"]["per_label"]
    assert labels["Effusion"]["auroc"]["value"] is not None
    assert labels["Nodule"]["auroc"]["value"] is None


def test_evaluating_on_films_of_the_training_says_that_the_result_is_too_good(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--data", "phantom", "--set", "data.patients=40")
    assert result.exit_code == 0, result.output
    assert "were used in training or validation" in " ".join(result.stdout.split())
    other = zoo("evaluate", "first", "--data", "phantom", "--set", "data.patients=40", "--set", "data.seed=3")
    assert "used in training" not in " ".join(other.stdout.split())


def test_films_that_cannot_be_evaluated_are_counted_and_kept_with_their_reason(finished: Finished) -> None:
    finished(task="multilabel")
    films(12)
    Path("films/3.png").write_text("a letter")
    table("image,label", [f"{i}.png,{'Mass [large]|Effusion' if i % 2 else 'No Finding'}" for i in range(12)])
    result = zoo("evaluate", "first", "--data", "csv", "--root", "films")
    assert result.exit_code == 0, result.output
    assert "1 films set aside" in result.stderr
    kept = next(Path("runs/first/evaluations").glob("csv-*/set_aside.csv"))
    assert "3.png,not an image" in kept.read_text()


def test_evaluate_needs_the_root_of_a_dataset_on_disk(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--data", "nih")
    assert result.exit_code == 2
    assert "--root DIR" in result.stderr


def test_looking_again_at_a_run_changes_nothing_in_it(finished: Finished) -> None:
    finished()
    assert zoo("evaluate", "first").exit_code == 0
    before = {p: p.stat().st_mtime_ns for p in Path("runs/first").rglob("*")}
    assert zoo("evaluate", "first").exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in Path("runs/first").rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["evaluate", "nothing"], ["no run 'nothing'", "zoo train"]),
        (["evaluate", "nothing", "--split", "dev"], []),
    ],
)
def test_evaluating_what_is_not_there(words: list[str], parts: list[str]) -> None:
    result = zoo(*words)
    assert result.exit_code == 2
    for part in parts:
        assert part in result.stderr


def test_a_mistyped_run_is_answered_with_the_closest(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "frist")
    assert result.exit_code == 2
    assert "Did you mean 'first'?" in result.stderr
