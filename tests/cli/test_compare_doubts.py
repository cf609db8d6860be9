"""`zoo compare` where saved results are out of date, rules differ, test images leak or predictions were changed."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from commandline import flat, zoo
from comparable import BINARY, SEVERAL, make_run
from reportable import CLASSES
from reportable import make_run as reportable_run

from zoo.cli.options import METRICS
from zoo.core.tasks import Task
from zoo.evaluation import ThresholdRule, choose_thresholds
from zoo.runs.run import Run


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def copies(*names: str, task: Task = BINARY) -> None:
    make_run(names[0], skill=1.5, task=task)
    for name in names[1:]:
        shutil.copytree(Path("runs", names[0]), Path("runs", name))


def runs_of(*words: str) -> list[dict[str, Any]]:
    result = zoo("compare", *words, "--json")
    assert result.exit_code == 0, result.output
    (group,) = json.loads(result.stdout)["groups"]
    return list(group["runs"])


def test_copies_of_one_run_come_out_equal_whatever_is_saved() -> None:
    copies("a", "b", "c", task=SEVERAL)
    before = Path("runs/b/evaluation-test.json").read_bytes()
    for name in "abc":
        assert zoo("evaluate", name, "--split", "val", "--f1", "--replicates", "100").exit_code == 0
    Path("runs/b/evaluation-test.json").write_bytes(before)  # at the thresholds of before
    found = zoo("compare", "a", "b", "c", "--metric", "f1")
    assert found.exit_code == 0, found.output
    assert "is better than" not in flat(found.stdout)
    assert "Measured again, since what is saved is of other predictions or thresholds: b." in flat(found.stdout)
    assert "F1 is at thresholds chosen by one rule on each run's validation images: best F1." in flat(found.stdout)
    first, *others = runs_of("a", "b", "c", "--metric", "f1")
    for other in others:
        assert other["value"] == first["value"]
        assert other["thresholds"] == first["thresholds"]
        assert other["comparison"]["overall"]["difference"] == {"value": 0, "low": 0, "high": 0}
    assert Path("runs/b/evaluation-test.json").read_bytes() == before  # reading writes nothing


def test_predictions_made_anew_are_measured_anew() -> None:
    copies("a", "b")
    make_run("other", skill=0.2, seed=3)
    for split in ("val", "test"):
        Run(Path("runs/b")).save_predictions(split, Run(Path("runs/other")).predictions(split))
    values = {run["name"]: run["value"]["value"] for run in runs_of("a", "b", "other")}
    assert values["b"] == values["other"] < values["a"]


def test_differences_are_those_of_the_values_shown() -> None:
    for seed in range(4):
        make_run(f"run-{seed}", skill=1 + seed / 5, seed=seed, task=SEVERAL)
    for words in (["--metric", "auroc"], ["--metric", "sensitivity", "--youden"]):
        best, *others = runs_of(*words)
        for run in others:
            difference = run["comparison"]["overall"]["difference"]["value"]
            assert difference == pytest.approx(run["value"]["value"] - best["value"]["value"], abs=1e-12)
            assert difference <= 1e-12


def test_saved_results_that_the_predictions_do_not_give_are_refused() -> None:
    copies("a", "b")
    file = Path("runs/b/evaluation-test.json")
    saved = json.loads(file.read_text())
    saved["averages"]["macro"]["auroc"]["value"] = 0.999
    file.write_text(json.dumps(saved))
    result = zoo("compare", "a", "b")
    assert result.exit_code == 1
    assert "the saved auroc of b, 0.9990, is not what its predictions give" in flat(result.stderr)
    assert zoo("evaluate", "b", "--replicates", "100").exit_code == 0
    assert zoo("compare", "a", "b").exit_code == 0


def test_runs_at_different_rules_are_not_ranked_by_what_depends_on_thresholds() -> None:
    copies("a", "d")
    assert zoo("evaluate", "d", "--sensitivity", "0.95", "--replicates", "100").exit_code == 0
    result = zoo("compare", "a", "d", "--metric", "sensitivity")
    assert result.exit_code == 2
    assert result.stdout == ""
    for part in ("d has thresholds by the rule sensitivity 0.95, a by fixed 0.5", "--youden", "--sensitivity T"):
        assert part in flat(result.stderr)
    apart = json.loads(zoo("compare", "a", "d", "--metric", "sensitivity", "--group", "--json").stdout)["groups"]
    assert [[run["rule"]["rule"] for run in group["runs"]] for group in apart] == [["fixed"], ["sensitivity"]]
    assert [run["comparison"] is None for run in runs_of("a", "d")] == [True, False]  # AUROC needs no rule


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        (["--youden"], ThresholdRule("youden")),
        (["--f1"], ThresholdRule("f1")),
        (["--sensitivity", "0.9"], ThresholdRule("sensitivity", 0.9)),
        (["--specificity", "0.8"], ThresholdRule("specificity", 0.8)),
        (["--threshold", "0.3"], ThresholdRule("fixed", 0.3)),
    ],
)
def test_one_rule_is_applied_to_every_run_on_its_own_validation_images(options: list[str], rule: ThresholdRule) -> None:
    copies("a", "d", task=SEVERAL)
    make_run("other", skill=1.0, seed=1, task=SEVERAL)
    zoo("evaluate", "d", "--sensitivity", "0.95", "--replicates", "100")
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")}
    found = {run["name"]: run for run in runs_of("--metric", "f1", *options)}
    for name, run in found.items():
        assert run["thresholds"] == choose_thresholds(Run(Path("runs", name)).predictions("val"), rule)
    assert found["a"]["value"]["value"] == found["d"]["value"]["value"]
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*")} == before


def test_a_rule_where_no_threshold_is_needed_is_refused() -> None:
    copies("a", "b")
    result = zoo("compare", "a", "b", "--youden")
    assert result.exit_code == 2
    assert "auroc needs no thresholds" in result.stderr


def leaking(name: str) -> None:
    """The best run there is, which has seen some of the test patients."""
    path = make_run(name, skill=5.0, seed=9)
    images = pd.read_csv(path / "images.csv", dtype=str)
    seen = images[images["split"] == "test"].iloc[:10]
    seen = seen.assign(image="train-" + seen["image"], split="train", digest="other-" + seen["digest"])
    pd.concat([images, seen]).to_csv(path / "images.csv", index=False)


def test_a_run_that_leaks_is_shown_and_not_ranked() -> None:
    leaking("a")
    make_run("b", skill=3.0, seed=1)
    make_run("c", skill=0.1, seed=2)
    result = zoo("compare", "--csv", "board.csv", "--html", "board.html")
    assert result.exit_code == 0, result.output
    said = flat(result.stdout)
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    leak = "Not ranked, and not compared: a. Leak: 10 of the 120 test images belong to patients that the network was"
    assert leak in said
    assert "b is better than c" in said
    assert "a is better" not in said
    rows = [line for line in result.stdout.splitlines() if line.strip()[:1] in ("1", "2", "–")]
    assert [row.split()[:2] for row in rows] == [["1", "b"], ["2", "c"], ["–", "a"]]
    assert "a (leak)" in said
    runs = runs_of()
    assert [(run["rank"], run["name"]) for run in runs] == [(1, "b"), (2, "c"), (None, "a")]
    assert runs[2]["leaks"][0] | {"example": ""} == {
        "shared": "patient",
        "split": "test",
        "images": 10,
        "of": 120,
        "example": "",
    }
    assert runs[2]["comparison"] is None
    with open("board.csv", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [(row["rank"], row["leaks"]) for row in cells] == [("1", ""), ("2", ""), ("", "patient 10")]
    page = Path("board.html").read_text()
    assert leak in page
    assert page.index(leak) < page.index("<svg")
    assert 'role="alert"' in page


def test_where_all_or_all_but_one_leak_nothing_is_compared() -> None:
    leaking("a")
    make_run("b", skill=3.0, seed=1)
    assert "There is one run without a leak only: nothing to compare it with." in flat(zoo("compare", "a", "b").stdout)
    shutil.copytree("runs/a", "runs/d")
    assert "There is no run without a leak: nothing to compare." in flat(zoo("compare", "a", "d").stdout)
    assert "Not ranked, and not compared: a and d. Leak:" in flat(zoo("compare", "a", "d").stdout)


def test_changed_predictions_are_refused_or_marked() -> None:
    make_run("a", skill=1.0)
    make_run("b", skill=1.2, seed=1)
    file = Path("runs/b/predictions/test.csv")
    table = pd.read_csv(file)
    logits = 6 * table["label:Abnormal"] - 3
    table.assign(**{"logit:Abnormal": logits, "probability:Abnormal": 1 / (1 + np.exp(-logits))}).to_csv(
        file, index=False
    )
    refused = zoo("compare", "a", "b")
    assert refused.exit_code == 1
    assert "predictions/test.csv of the run b was changed since the run was finished" in flat(refused.stderr)
    result = zoo("compare", "a", "b", "--accept-changed", "--html", "board.html")
    assert result.exit_code == 0, result.output
    said = flat(result.stdout)
    assert said.index("b: Changed: the predictions on test images are not those") < said.index("is better than a")
    assert "b (changed)" in said
    assert "b: Changed: the predictions on test images" in Path("board.html").read_text()
    best, other = runs_of("a", "b", "--accept-changed")
    assert (best["name"], best["value"]["value"]) == ("b", 1.0)
    assert best["doubts"] == [{"kind": "changed_predictions", "labels": ["test"], "counts": [0, 0, 0]}]
    assert other["doubts"] == []


def test_a_finished_run_without_results_is_to_be_evaluated_and_not_resumed() -> None:
    copies("a", "b")
    Path("runs/b/evaluation-test.json").unlink()
    result = zoo("compare", "a", "b")
    assert result.exit_code == 1
    assert "b: no results on test images). Measure it: zoo evaluate b" in flat(result.stderr)


def test_a_multiclass_task_has_no_thresholds_to_agree_on() -> None:
    made = reportable_run(Path("runs"), CLASSES, explained=False, pixels=False)
    assert zoo("evaluate", made.name, "--replicates", "100").exit_code == 0
    shutil.copytree(made.path, "runs/copy")
    made.update_info(threshold_rule={"rule": "youden", "value": 0.5})
    for metric in METRICS:
        best, other = runs_of("--metric", metric)
        assert other["comparison"]["overall"]["difference"]["value"] == 0
        assert best["value"] == other["value"]
    for words in (("evaluate", made.name, "--youden"), ("compare", made.name, "copy", "--metric", "f1", "--f1")):
        result = zoo(*words)
        assert result.exit_code == 2, result.output
        assert f"the threshold rule {words[-1][2:]} does not apply: a multiclass task has no" in flat(result.stderr)
