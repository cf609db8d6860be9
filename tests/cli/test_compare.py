"""`zoo compare`: ranking, refusing, and what it writes."""

from __future__ import annotations

import csv
import html.parser
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import flat, zoo
from comparable import SEVERAL, make_run

from zoo.cli.options import METRICS
from zoo.core.tasks import Task
from zoo.core.text import RESEARCH_ONLY
from zoo.evaluation import comparison

Finished = Callable[..., dict[str, Any]]
Shell = Callable[..., Any]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_runs_are_ranked_with_their_difference_to_the_best() -> None:
    make_run("poor", skill=0.2, seed=1)
    make_run("good", skill=3.0)
    make_run("fair", skill=2.6, seed=2, model="densenet121")
    result = zoo("compare", "poor", "good", "fair")
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    lines = result.stdout.splitlines()
    assert lines[0] == "binary (Abnormal), 120 test images of 60 patients, published split"
    assert [line.split()[1] for line in lines if line[:1].isdigit()] == ["good", "fair", "poor"]
    stored = json.loads(Path("runs/good/evaluation-test.json").read_text())["averages"]["macro"]["auroc"]
    assert f"{stored['value']:.3f}".lstrip("0") in lines[3]
    assert f"[{stored['low']:.3f}".replace("0.", ".") in lines[3]
    said = flat(result.stdout)
    assert "good is not significantly better than fair (difference -." in said
    assert "good is better than poor." in said
    assert "their intervals and p allow for all pairs of 3 runs (Tukey)" in said
    assert "DeLong's test as a second opinion agrees on every run." in said
    assert "choose with --split val" in said
    assert "choose with" not in flat(zoo("compare", "poor", "good", "fair", "--split", "val").stdout)


def test_several_metrics_are_columns_and_the_first_one_ranks() -> None:
    make_run("good", skill=2.4)
    make_run("fair", skill=2.0, seed=3, model="vgg16")
    words = [each for name in ("auroc", "accuracy", "sensitivity", "precision") for each in ("--metric", name)]
    result = zoo("compare", *words, "--csv", "runs.csv")
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    saved = json.loads(Path("runs/good/evaluation-test.json").read_text())["averages"]["macro"]
    for name in ("accuracy", "sensitivity", "precision"):
        assert f"{saved[name]['value']:.3f}".replace("0.", ".") in result.stdout
        assert f"[{saved[name]['low']:.3f}, {saved[name]['high']:.3f}]".replace("0.", ".") in result.stdout
    assert "Accuracy, sensitivity and precision (PPV) are at the fixed threshold .500" in flat(result.stdout)
    run = json.loads(zoo("compare", *words, "--json").stdout)["groups"][0]["runs"][0]
    assert (run["name"], run["also"]["precision"]) == ("good", saved["precision"])
    row = next(csv.DictReader(Path("runs.csv").read_text().splitlines()))
    assert float(row["also:precision_low"]) == pytest.approx(saved["precision"]["low"])
    for wrong, why in (
        (("--metric", "precision"), "--metric precision cannot rank"),
        (("--metric", "auroc", "--metric", "auroc"), "given twice for auroc"),
        (("--metric", "auroc", "--metric", "auprc", "--f1"), "auroc and auprc need no thresholds"),
    ):
        refused = zoo("compare", *wrong)
        assert refused.exit_code == 2
        assert why in flat(refused.stderr)


def test_runs_with_other_rules_have_no_threshold_metrics_side_by_side() -> None:
    make_run("a")
    make_run("b", seed=1)
    assert zoo("evaluate", "b", "--youden", "--replicates", "100").exit_code == 0
    assert zoo("compare", "a", "b").exit_code == 0
    refused = zoo("compare", "a", "b", "--metric", "auroc", "--metric", "accuracy")
    assert refused.exit_code == 2
    assert "b has thresholds by the rule youden" in flat(refused.stderr)


def test_the_best_is_tested_against_all_others_together_without_paying_for_every_pair() -> None:
    make_run("best", skill=2.2, seed=4)
    for seed in (20, 21, 22):
        make_run(f"other-{seed}", skill=1.3, seed=seed)
    group = json.loads(zoo("compare", "--json").stdout)["groups"][0]
    pairs = [run["comparison"]["overall"] for run in group["runs"][1:]]
    assert max(pair["p_adjusted"] for pair in pairs) > 0.05  # by itself the nearest run is not told from the best
    assert group["p_best"] == max(pair["p"] for pair in pairs) < 0.05
    said = flat(zoo("compare").stdout)
    assert f"best is better than each of the 3 other runs, p {group['p_best']:.3f}".replace("0.", ".") in said
    assert "not significantly better" not in said
    part = json.loads(zoo("compare", "--top", "2", "--json").stdout)["groups"][0]
    assert part["p_best"] is None  # nothing is claimed about runs that were not compared
    assert "each of the" not in flat(zoo("compare", "--top", "2").stdout)


def test_a_copy_of_a_run_does_not_differ_from_it() -> None:
    make_run("first")
    shutil.copytree("runs/first", "runs/second")
    result = zoo("compare", "first", "second")
    assert result.exit_code == 0, result.output
    assert "second and first do not differ significantly: AUROC difference .000 [.000, .000], p 1.000." in flat(
        result.stdout
    )
    assert "; model tiny-cnn" in flat(result.stdout)  # shared, so said once


def test_where_each_patient_has_one_image_delong_s_test_is_a_second_opinion() -> None:
    for seed in range(3):
        make_run(f"run-{seed}", seed=seed, per_patient=1)
    two = zoo("compare", "run-0", "run-1")
    assert "DeLong's test, clustered by patient, as a second opinion: p " in flat(two.stdout)
    assert "DeLong's test as a second opinion agrees on every run." in flat(zoo("compare").stdout)
    assert "DeLong" not in zoo("compare", "run-0", "run-1", "--metric", "f1").stdout


def test_two_runs_with_several_labels_are_compared_label_by_label() -> None:
    make_run("good", skill=3.0, task=SEVERAL)
    make_run("poor", skill=0.0, seed=1, task=SEVERAL)
    result = zoo("compare", "good", "poor")
    assert result.exit_code == 0, result.output
    assert "macro AUROC" in result.stdout
    for label in SEVERAL.labels:
        assert any(line.startswith(f"{label} ") for line in result.stdout.splitlines())
    assert "The runs differ significantly on Mass, Nodule and Hernia (p by the method of Holm for 3 labels;" in flat(
        result.stdout
    )


def test_names_paths_and_patterns_name_runs_and_nothing_means_all() -> None:
    for name in ("a-1", "a-2", "b-1"):
        make_run(name, seed=int(name[-1]))
    make_run("a-1", seed=5, folder="elsewhere")

    def names(*words: str) -> set[str]:
        result = zoo("compare", *words, "--json")
        assert result.exit_code == 0, result.output
        return {run["name"] for group in json.loads(result.stdout)["groups"] for run in group["runs"]}

    assert names() == {"a-1", "a-2", "b-1"}
    assert names("a-*") == {"a-1", "a-2"}
    assert names("runs/b*", "a-2") == {"a-2", "b-1"}
    assert names("a-1", "runs/a-1", "a-2") == {"a-1", "a-2"}
    assert names("a-1", "elsewhere/a-1") == {"runs/a-1", "elsewhere/a-1"}
    assert names("--runs-dir", "elsewhere") == {"a-1"}
    assert "one run only" in zoo("compare", "--runs-dir", "elsewhere").stdout


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        ({"test": range(110, 230)}, ["different images", "10 images only in odd, such as '0220.png'", "only in first"]),
        ({"flipped": 4}, ["the labels differ on 4 of 120 images, such as '0100.png'"]),
        ({"task": SEVERAL}, ["odd predicts multilabel (Mass, Nodule, Hernia), first binary (Abnormal)"]),
        ({"task": Task("binary", ("Effusion",))}, ["odd predicts binary (Effusion), first binary (Abnormal)"]),
        ({"protocol": "drawn"}, ["odd has a drawn split, first a published one"]),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_and_ranked_apart_with_group(
    other: dict[str, Any], parts: list[str]
) -> None:
    make_run("odd", **other)
    make_run("first")
    make_run("second", seed=1)
    result = zoo("compare", "odd", "second", "first")
    assert result.exit_code == 2
    assert result.stdout == ""
    (error,) = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    for part in ("these 3 runs cannot be ranked in one table: second and first belong together", "--group"):
        assert part in error
    for part in parts:
        assert part.replace("first", "second") in error
    apart = json.loads(zoo("compare", "--group", "--json").stdout)["groups"]
    assert [{run["name"] for run in group["runs"]} for group in apart] == [{"first", "second"}, {"odd"}]
    shown = zoo("compare", "--group").stdout
    assert "Group 1 of 2: " in shown
    assert "Group 2 of 2: " in shown


def test_a_refusal_names_what_is_alike_and_does_not_run_on() -> None:
    for seed in range(2):
        make_run(f"first-{seed}", seed=seed)
        make_run(f"several-{seed}", seed=seed, task=SEVERAL)
    for number in range(5):
        make_run(f"image-{number}", test=range(100 + number, 180))
    error = zoo("compare").stderr
    assert "(likewise several-1)" in error
    assert "and 3 more groups that differ" in error


def test_unfinished_and_damaged_runs_are_counted_and_not_shown() -> None:
    make_run("good")
    make_run("other", seed=1)
    make_run("going", status="running")
    make_run("lost", status="failed")
    (make_run("broken", seed=2) / "evaluation-test.json").write_text("{")
    result = zoo("compare")
    assert result.exit_code == 0, result.output
    assert "2 runs of runs not shown, not finished (going: running, lost: failed)." in flat(result.stdout)
    assert "1 run of runs not shown, damaged (broken)." in flat(result.stdout)
    document = json.loads(zoo("compare", "--json").stdout)
    assert document["unfinished"] == {"going": "running", "lost": "failed"}
    assert list(document["damaged"]) == ["broken"]


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["god"], 2, ["no run 'god'", "Did you mean 'good'?"]),
        (["x*"], 2, ["no run matches 'x*'", "3 run(s) lie in runs"]),
        (["--runs-dir", "nowhere"], 2, ["no run lies in nowhere", "zoo train"]),
        (["good", "going"], 1, ["not two finished runs", "going: running", "zoo train --resume going"]),
        (["good", "broken"], 1, ["broken cannot be read"]),
        (["good", "--metric", "kappa"], 2, []),
        (["good", "--top", "0"], 2, []),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(words: list[str], code: int, parts: list[str]) -> None:
    make_run("good")
    make_run("going", status="running")
    (make_run("broken") / "run.json").write_text("no json")
    result = zoo("compare", *words)
    assert result.exit_code == code, result.output
    for part in parts:
        assert part in flat(result.stderr)
    assert "Traceback" not in result.stderr


def test_differences_are_made_for_the_first_runs_only_and_that_is_said() -> None:
    for seed in range(5):
        make_run(f"run-{seed}", skill=2 - seed / 4, seed=seed)
    shutil.rmtree("runs/run-4/predictions")  # the last is ranked by its evaluation alone
    result = zoo("compare", "--top", "3", "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["groups"][0]["runs"]
    assert [run["comparison"] is not None for run in runs] == [False, True, True, False, False]
    values = [run["value"]["value"] for run in runs]
    assert values == sorted(values, reverse=True)
    assert "Differences are given for the first 3 of 5 (--top)." in flat(zoo("compare", "--top", "3").stdout)


def test_the_best_is_picked_from_all_ranked_runs_and_pays_for_it() -> None:
    for seed in range(5):
        make_run(f"run-{seed}", seed=seed)
    pairs = {}
    for top in ("2", "5"):
        runs = json.loads(zoo("compare", "--top", top, "--json").stdout)["groups"][0]["runs"]
        pairs[top] = runs[1]["comparison"]
    assert pairs["2"] == pairs["5"]  # how many are compared does not matter
    assert pairs["2"]["runs"] == 5
    assert pairs["2"]["overall"]["p_adjusted"] > pairs["2"]["overall"]["p"]
    alone = json.loads(zoo("compare", "run-0", "run-1", "--json").stdout)["groups"][0]["runs"][1]["comparison"][
        "overall"
    ]
    assert alone["p_adjusted"] == alone["p"]
    assert "allow for all pairs of 5 runs (Tukey)" in flat(zoo("compare").stdout)


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_ranks(metric: str) -> None:
    make_run("good", skill=3.0, task=SEVERAL)
    make_run("poor", skill=0.0, seed=1, task=SEVERAL)
    result = zoo("compare", "--metric", metric, "--json")
    assert result.exit_code == 0, result.output
    best, other = json.loads(result.stdout)["groups"][0]["runs"]
    found = other["comparison"]
    assert found["overall"]["second"] == pytest.approx(best["value"]["value"])
    assert found["overall"]["first"] == pytest.approx(other["value"]["value"])
    assert found["metric"] == metric
    assert flat(zoo("compare", "--metric", metric).stdout).count("the fixed threshold .500 in every run") == (
        metric not in ("auroc", "auprc")
    )


def test_the_command_offers_the_metrics_there_are() -> None:
    assert METRICS == comparison.METRICS


def test_json_and_csv_hold_everything() -> None:
    make_run("good", skill=3.0, task=SEVERAL)
    make_run("poor", skill=0.1, seed=1, task=SEVERAL)
    make_run("lone", protocol="drawn")
    result = zoo("compare", "--group", "--json", "--csv", "out/board.csv")
    assert result.exit_code == 0, result.output
    first = json.loads(result.stdout)["groups"][0]["runs"]
    with open("out/board.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["rank"], row["name"]) for row in rows] == [
        ("1", "1", "good"),
        ("1", "2", "poor"),
        ("2", "1", "lone"),
    ]
    compared = first[1]["comparison"]["overall"]
    assert float(rows[1]["difference"]) == compared["difference"]["value"]
    assert float(rows[1]["difference_low"]) == compared["difference"]["low"]
    assert float(rows[1]["p_adjusted"]) == compared["p_adjusted"]
    assert rows[1]["compared_with"] == "good"
    assert float(rows[1]["label:Mass_low"]) == first[1]["per_label"]["Mass"]["low"]
    assert (rows[0]["difference"], rows[0]["p"], rows[2]["label:Mass"]) == ("", "", "")
    assert (rows[0]["loss"], rows[0]["epochs"], rows[0]["images_digest"]) == ("bce", "3", first[0]["images_digest"])


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_stands_alone_and_escapes_what_comes_from_files() -> None:
    make_run("good", skill=3.0, task=SEVERAL, model="<script>alert(1)</script>")
    make_run("poor", skill=0.1, seed=1, task=SEVERAL)
    make_run("going", status="running")
    result = zoo("compare", "--html", "board.html")
    assert result.exit_code == 0, result.output
    assert "board.html" in result.stderr
    text = Path("board.html").read_text()
    page = Page(text)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe"}
    assert {"table", "svg"} <= names
    assert not [a for _, a in page.tags if "src" in a]
    assert all(str(a["href"]).startswith("#") for _, a in page.tags if "href" in a)
    assert "http" not in text.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    shown = flat(page.text)
    for part in (RESEARCH_ONLY, "<script>alert(1)</script>", "good", "macro AUROC", "Label by label", "going: running"):
        assert part in shown


def test_comparing_changes_nothing_in_the_runs() -> None:
    make_run("a")
    make_run("b", seed=1)
    before = {p: p.stat().st_mtime_ns for p in Path("runs").rglob("*")}
    assert zoo("compare").exit_code == 0
    assert {p: p.stat().st_mtime_ns for p in Path("runs").rglob("*")} == before


def test_many_runs_are_ranked_in_little_time() -> None:
    source = make_run("run-0")
    for number in range(1, 300):
        shutil.copytree(source, Path("runs", f"run-{number}"))
    started = time.perf_counter()
    result = zoo("compare", "--top", "2")
    assert result.exit_code == 0, result.output
    assert time.perf_counter() - started < 5
    assert len([line for line in result.stdout.splitlines() if line.strip()[:1].isdigit()]) == 300


def test_neither_tensorflow_nor_keras_is_loaded(run_python: Shell, tmp_path: Path) -> None:
    make_run("a")
    make_run("b", seed=1)
    code = (
        "import sys; from zoo.cli.main import cli; cli(sys.argv[1:], standalone_mode=False); "
        "print({'tensorflow', 'keras', 'jax', 'sklearn', 'scipy.stats'} & set(sys.modules))"
    )
    result = run_python(
        "-c", code, "compare", "--runs-dir", str(tmp_path / "runs"), "--csv", "a.csv", "--html", "a.html"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "set()"


@pytest.mark.usefixtures("elsewhere")
def test_trained_runs_are_compared(finished: Finished) -> None:
    trained = finished("first")
    finished("second")
    result = zoo("compare", "first", "second", "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["groups"][0]["runs"]
    assert runs[0]["value"] == trained["test"]["averages"]["macro"]["auroc"]
    assert runs[1]["comparison"]["overall"]["p"] == 1
    finished("several", task="multilabel")
    assert zoo("compare").exit_code == 2
