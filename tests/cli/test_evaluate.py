"""`zoo evaluate`: a run's own images from its predictions, and other images through its network."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import make_images, table, zoo

from zoo.evaluation.interval import short

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


def test_evaluate_on_other_images_uses_all_of_them(finished: Finished) -> None:
    finished(task="multilabel")
    words = ["--data", "phantom", "--set", "data.patients=15", "--set", "data.seed=5", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    evaluation = json.loads(result.stdout)["evaluation"]
    assert evaluation["patients"] == 15
    kept = next(Path("runs/first/evaluations").glob("phantom-*/predictions.csv"))
    assert len(kept.read_text().splitlines()) == evaluation["images"] + 1


def test_evaluate_on_other_images_matches_labels_by_name(finished: Finished) -> None:
    finished(task="multilabel")
    make_images(12)
    table("image,effusion,Hernia", [f"{i}.png,{i % 2},0" for i in range(12)])
    Path("images/t.csv").write_text(Path("images/t.csv").read_text().replace("0.png,0,0", "0.png,0,1"))
    words = ["--data", "csv", "--root", "images", "--set", "data.labels=effusion,Hernia", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    labels = json.loads(result.stdout)["evaluation"]["per_label"]
    assert labels["Effusion"]["auroc"]["value"] is not None
    assert labels["Nodule"]["auroc"]["value"] is None


def test_evaluating_on_images_of_the_training_says_that_the_result_is_too_good(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--data", "phantom", "--set", "data.patients=40")
    assert result.exit_code == 0, result.output
    assert "images that the network was trained or chosen on" in " ".join(result.stdout.split())
    other = zoo("evaluate", "first", "--data", "phantom", "--set", "data.patients=40", "--set", "data.seed=3")
    assert "Leak" not in other.stdout


def test_images_that_cannot_be_evaluated_are_counted_and_kept_with_their_reason(finished: Finished) -> None:
    finished(task="multilabel")
    make_images(12)
    Path("images/3.png").write_text("a letter")
    table("image,label", [f"{i}.png,{'Mass [large]|Effusion' if i % 2 else 'No Finding'}" for i in range(12)])
    result = zoo("evaluate", "first", "--data", "csv", "--root", "images")
    assert result.exit_code == 0, result.output
    assert "1 images set aside" in result.stderr
    kept = next(Path("runs/first/evaluations").glob("csv-*/set_aside.csv"))
    assert "3.png,not an image" in kept.read_text()
    flow = json.loads(kept.with_name("results-test.json").read_text())["flow"]
    assert (flow["dataset"], flow["listed"], flow["set_aside"], flow["used"]["images"]) == ("csv", 12, 1, 11)
    assert flow["analysed"] == flow["used"] == flow["parts"]["test"]
    unknown = {row["name"]: row["unknown"] for row in flow["missing"] if row["kind"] == "label"}
    assert unknown.pop("Mass", 0) == unknown.pop("Effusion", 0) == 0
    assert set(unknown.values()) <= {0, 11}  # labels that this dataset does not have


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


def info() -> dict[str, Any]:
    return dict(json.loads(Path("runs/first/run.json").read_text()))


def test_a_rule_that_is_asked_for_is_stored_and_used_from_then_on(finished: Finished) -> None:
    finished()
    assert info()["threshold_rule"]["rule"] == "youden"
    before = info()["thresholds"]
    first = json.loads(zoo("evaluate", "first", "--sensitivity", "0.9", "--json").stdout)
    assert first["operating"][0]["validation"]["sensitivity"] >= 0.9
    assert info()["threshold_rule"] == {"rule": "sensitivity", "value": 0.9}
    assert info()["thresholds"] == first["evaluation"]["thresholds"] != before
    again = json.loads(zoo("evaluate", "first", "--json").stdout)
    assert again["evaluation"]["thresholds"] == first["evaluation"]["thresholds"]
    assert json.loads(Path("runs/first/evaluation-test.json").read_text())["thresholds"] == info()["thresholds"]


def test_the_table_of_operating_points_shows_validation_test_and_the_shortfall(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--specificity", "1", "--prevalence", "0.1")
    assert result.exit_code == 0, result.output
    titles = ("specificity of at least 1.000 on validation", "Predictive values", "At the assumed prevalence")
    for part in (*titles, "val sens", ".100"):
        assert part in result.stdout
    assert all(len(line) <= 80 for line in result.stdout.splitlines() if not line.startswith(("More", "Saved")))


def test_one_rule_at_a_time(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--youden", "--threshold", "0.3")
    assert result.exit_code == 2
    assert "choose one of --threshold, --youden" in result.stderr
    assert info()["threshold_rule"]["rule"] == "youden"


def test_the_operating_point_is_shown_with_the_results(finished: Finished) -> None:
    finished()
    at = short(info()["thresholds"]["Abnormal"])
    line = f"Threshold {at}: Youden’s rule on validation.\n"
    assert line in zoo("evaluate", "first").stdout
    assert "Threshold .400: fixed.\n" in zoo("evaluate", "first", "--threshold", ".4").stdout


def test_prevalences_are_given_for_all_labels_or_one_by_one(finished: Finished) -> None:
    labels = finished(task="multilabel")["test"]["task"]["labels"]
    one, other = labels[:2]
    result = zoo("evaluate", "first", "--prevalence", f"{one}=.12", "--prevalence", ".03", "--json")
    assumed = {each["label"]: each["assumed_prevalence"] for each in json.loads(result.stdout)["operating"]}
    assert assumed == dict.fromkeys(labels, 0.03) | {one: 0.12}
    rows = list(csv.DictReader(Path("runs/first/operating-test.csv").read_text().splitlines()))
    assert [float(row["assumed_prevalence"]) for row in rows] == [*assumed.values()]
    shown = zoo("evaluate", "first", "--prevalence", f"{one}=.12").stdout.partition("At the assumed prevalence")[2]
    table = shown[: shown.index("More (")]
    assert re.search(rf"{one} +\.120 ", table)
    assert other not in table
    for words, message in (
        (["Efusion=.1"], "unknown label 'Efusion'. Did you mean 'Effusion'?"),
        ([f"{one}=x"], f"--prevalence takes P or LABEL=P, such as 0.1 or {one}=0.12, not '{one}=x'"),
        ([f"{one}=.1", f"{one}=.2"], f"--prevalence is given twice for {one}"),
        ([".1", ".2"], "--prevalence is given twice for all labels"),
        ([f"{one}=7"], f"the prevalence of {one} is a share of images between 0 and 1"),
    ):
        refused = zoo("evaluate", "first", *(part for word in words for part in ("--prevalence", word)))
        assert refused.exit_code == 2
        assert message in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--sensitivity", "1.5"], ["1.5"]),
        (["--prevalence", "0"], ["prevalence"]),
        (["--calibration", "plat"], ["unknown calibration 'plat'", "platt"]),
        (["--by", "sexx"], ["'sexx'", "sex"]),
    ],
)
def test_values_that_do_not_fit_change_nothing(finished: Finished, words: list[str], parts: list[str]) -> None:
    finished()
    before = info()
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 2, result.output
    for part in parts:
        assert part in result.stderr
    assert info() == before


def test_a_calibration_that_is_asked_for_is_stored(finished: Finished) -> None:
    finished()
    zoo("evaluate", "first")
    assert "calibration" not in info()
    result = zoo("evaluate", "first", "--calibration", "platt")
    assert "Calibration by platt" in result.stdout
    assert info()["calibration"]["method"] == "platt"
    assert zoo("evaluate", "first", "--calibration", "none").exit_code == 0
    assert info()["calibration"] is None


def test_a_second_reference_stands_beside_the_first(finished: Finished) -> None:
    finished()
    lines = Path("runs/first/predictions/test.csv").read_text().splitlines()
    names = [line.split(",")[0] for line in lines[1:]]
    rows = [f"{name},{'YES' if i % 2 else 'NO'}" for i, name in enumerate(names)]
    Path("expert.csv").write_text("\n".join(["Image ID,Abnormal", *rows]))
    result = zoo("evaluate", "first", "--labels", "expert.csv")
    assert result.exit_code == 0, result.output
    assert f"{len(names)} images also labelled in expert.csv" in result.stdout
    assert "kappa" in result.stdout
    missing = zoo("evaluate", "first", "--labels", "nowhere.csv")
    assert missing.exit_code == 1
    assert "nowhere.csv" in missing.stderr


def test_images_of_other_data_can_be_audited_by_their_own_columns(finished: Finished) -> None:
    finished()
    make_images(24)
    rows = [f"{i}.png,{'Mass' if i % 3 else 'No Finding'},{'north' if i % 2 else 'south'}" for i in range(24)]
    table("image,label,hospital", rows)
    words = ["--data", "csv", "--root", "images", "--set", "data.keep=hospital", "--by", "hospital", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    assert {group["name"] for group in json.loads(result.stdout)["groups"]} == {"north", "south"}
    assert list(Path("runs/first/evaluations").glob("csv-*/subgroups-test.csv"))


def test_damaged_predictions_are_one_clear_line(finished: Finished) -> None:
    finished()
    file = Path("runs/first/predictions/test.csv")
    lines = file.read_text().splitlines()
    column = lines[0].split(",").index("logit:Abnormal")

    def changed(value: str) -> str:
        cells = lines[1].split(",")
        cells[column] = value
        return "\n".join([lines[0], ",".join(cells), *lines[2:]])

    for text, words in (
        (changed("nan"), "NaN"),
        (changed("much"), "'much', which is not a number"),
        ("\n".join([*lines, lines[-1]]), "named more than once"),
        (lines[0], "no images"),
    ):
        file.write_text(text + "\n")
        result = zoo("evaluate", "first", "--accept-changed")
        assert result.exit_code == 1, words
        assert words in result.stderr
        assert "Traceback" not in result.stderr
