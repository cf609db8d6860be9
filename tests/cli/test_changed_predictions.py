"""Predictions that are not those a run was finished with are refused, or marked in every result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commandline import flat, zoo
from reportable import BINARY, make_run

from zoo.core.errors import DataError
from zoo.evaluation import Note
from zoo.runs.run import Run

Edit = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A finished run, runs/run, with saved results."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    found = make_run(Path("runs"), BINARY, explained=False, pixels=False)
    assert zoo("evaluate", "run", "--replicates", "100").exit_code == 0
    return found


def edit(run: Run, change: Edit, split: str = "test") -> None:
    file = run.predictions_file(split)
    change(pd.read_csv(file, dtype={"image": str, "patient": str})).to_csv(file, index=False)


def perfect(table: pd.DataFrame) -> pd.DataFrame:
    """Logits that follow the labels, with their probabilities."""
    logits = 6 * table["label:Abnormal"] - 3
    return table.assign(**{"logit:Abnormal": logits, "probability:Abnormal": 1 / (1 + np.exp(-logits))})


def repeated(table: pd.DataFrame) -> pd.DataFrame:
    """Every image ten times, each time under a new name and a new patient."""
    copies = [table.assign(image=f"{n}-" + table["image"], patient=f"{n}-" + table["patient"]) for n in range(9)]
    return pd.concat([table, *copies])


def first_moved(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(patient=["nobody", *table["patient"][1:]])


CHANGES = pytest.mark.parametrize(
    ("change", "what"),
    [
        (perfect, "its images are the same, but not their labels or logits"),
        (repeated, "1,350 images not in images.csv, such as '0-image-"),
        (lambda table: table.iloc[7:], "7 images of the test split without a prediction"),
        (first_moved, "1 image under another patient there"),
    ],
    ids=["logits", "repeated", "missing", "patient"],
)


@CHANGES
def test_changed_predictions_are_refused_with_what_changed(run: Run, change: Edit, what: str) -> None:
    edit(run, change)
    for command in ("evaluate", "report"):
        result = zoo(command, "run")
        assert result.exit_code == 1, result.output
        said = flat(result.stderr)
        assert f"predictions/test.csv of the run run was changed since the run was finished: {what}" in said
        assert "Restore the file, or give --accept-changed" in said


@CHANGES
def test_accepted_changes_mark_every_result_and_leave_the_run_s_own_alone(run: Run, change: Edit, what: str) -> None:
    before = {name: (run.path / name).read_text() for name in ("run.json", "evaluation-test.json", "results-test.json")}
    edit(run, change)
    words = ["evaluate", "run", "--replicates", "100", "--accept-changed", "--youden"]
    shown = flat(zoo(*words).stdout)
    assert "Changed: the predictions on test images are not those that the run was finished with" in shown
    assert shown.index("Changed:") < shown.index("AUROC on the test images is")
    assert {name: (run.path / name).read_text() for name in before} == before
    notes = json.loads(zoo(*words, "--json").stdout)["evaluation"]["notes"]
    assert notes[0]["kind"] == "changed_predictions"
    assert notes[0]["labels"] == ["test"]
    kept = json.loads((run.path / "evaluations/changed-predictions/evaluation-test.json").read_text())
    assert kept["notes"][0] == notes[0]
    assert zoo("report", "run", "--accept-changed", "--out", "page").exit_code == 0
    page = Path("page/report.html").read_text()
    assert page.index("Changed: the predictions") < page.index("AUROC on the test images is")
    assert "Changed: the predictions" in Path("page/model-card.md").read_text()


def test_changed_validation_predictions_mark_the_test_results_too(run: Run) -> None:
    edit(run, perfect, "val")
    assert "predictions/val.csv of the run run was changed" in flat(zoo("evaluate", "run").stderr)
    words = ["evaluate", "run", "--accept-changed", "--replicates", "100"]
    assert "Changed: the predictions on validation images" in flat(zoo(*words).stdout)


def test_a_table_of_images_that_was_changed_is_named(run: Run) -> None:
    table = pd.read_csv(run.path / "images.csv", dtype=str)
    table.loc[table["image"] == "image-300.png", "patient"] = "nobody"
    table.to_csv(run.path / "images.csv", index=False)
    said = flat(zoo("evaluate", "run").stderr)
    assert (
        "images.csv of the run run was changed since the run was finished: 1 image under another patient there" in said
    )


def test_the_same_predictions_in_another_form_are_the_same(run: Run) -> None:
    edit(run, lambda table: table.iloc[::-1].assign(comment="read again"))
    assert zoo("evaluate", "run", "--replicates", "100").exit_code == 0


def test_a_run_without_digests_is_read_and_the_reader_told(run: Run) -> None:
    info = {key: value for key, value in run.info().items() if key != "predictions"}
    run.write_json("run.json", info)
    result = zoo("--verbose", "evaluate", "run", "--replicates", "100")
    assert result.exit_code == 0, result.output
    assert "The run keeps no digest of the predictions on test images" in flat(result.stdout)
    edit(run, repeated)
    assert "not in images.csv" in flat(zoo("evaluate", "run").stderr)


def test_a_complete_run_whose_predictions_are_gone_is_not_to_be_resumed(run: Run) -> None:
    run.predictions_file("val").unlink()
    result = zoo("evaluate", "run")
    assert result.exit_code == 1
    assert "resume" not in result.stderr
    assert "val.csv was removed: restore it, or train the run anew: zoo train --config" in flat(result.stderr)


def test_identical_images_under_different_patients_are_pointed_out(run: Run) -> None:
    table = pd.read_csv(run.path / "images.csv", dtype=str)
    rows = table.index[table["split"] == "test"][:40]
    table.loc[rows, "digest"] = [f"copy-{i // 2}" for i in range(40)]
    table.to_csv(run.path / "images.csv", index=False)
    result = zoo("evaluate", "run", "--replicates", "100", "--json")
    (note,) = [n for n in json.loads(result.stdout)["evaluation"]["notes"] if n["kind"] == "duplicate_images"]
    patients = table.loc[rows, "patient"].to_numpy().reshape(20, 2)
    apart = 2 * int((patients[:, 0] != patients[:, 1]).sum())
    assert note["counts"] == [40, apart]
    said = f"40 images have the same pixels as another one under another name ({apart} of them under different patients"
    assert said in flat(zoo("--verbose", "evaluate", "run", "--replicates", "100").stdout)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_rule_that_is_asked_for_on_one_split_holds_on_both(run: Run, split: str) -> None:
    assert zoo("evaluate", "run", "--split", split, "--f1", "--replicates", "100").exit_code == 0
    for each in ("val", "test"):
        for file in (f"evaluation-{each}.json", f"results-{each}.json"):
            saved: dict[str, Any] = json.loads((run.path / file).read_text())
            saved = saved.get("evaluation", saved)
            assert saved["thresholds"] == run.info()["thresholds"], file
            assert saved["rule"]["rule"] == "f1"
            assert saved["predictions_digest"] == run.info()["predictions"][each]


def test_from_python_accepted_predictions_carry_the_note(run: Run) -> None:
    edit(run, perfect, "val")
    with pytest.raises(DataError, match=r"predictions/val\.csv of the run run was changed"):
        run.predictions("val")
    (note,) = run.predictions("val", accept_changed=True).where(np.arange(90) < 50).notes
    assert note == Note("changed_predictions", ("val",), (0, 0, 0))
