"""Sweeps: what is planned, what survives a kill, what stands in the table. The trials are stand-ins that cost nothing."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sweep_process
from rich.console import Console
from sweep_process import definition, pretend, sweep

from zoo.core.errors import UsageError, ZooError
from zoo.report.sweep import sentences, sweep_table
from zoo.search.folder import Folder
from zoo.search.process import Ended, Job, Watch, without_passwords
from zoo.search.space import Range, Values, layers, parse_over, parse_overs
from zoo.search.trials import Results

SCRIPT = Path(sweep_process.__file__)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows(results: Results) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(results.to_csv())))


def shown(results: Results, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(sweep_table(results, console))
    return capture.get().splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("model=vgg16, resnet50", Values("model", ("vgg16", "resnet50"))),
        ("weights=none", Values("weights", ("none",))),
        ('model.widths=[1,2],"a,b"', Values("model.widths", ("[1,2]", '"a,b"'))),
        ("device=gpu:0,gpu:1", Values("device", ("gpu:0", "gpu:1"))),
        ("model.dropout=0:0.5", Range("model.dropout", 0, 0.5)),
        ("optimizer.lr=log:1e-5:1e-2", Range("optimizer.lr", 1e-5, 1e-2, log=True)),
        ("epochs=3:9", Range("epochs", 3, 9, whole=True)),
        ("batch_size=8:64:8", Range("batch_size", 8, 64, step=8, whole=True)),
    ],
)
def test_what_varies_is_read_as_typed_and_says_itself_again(text: str, expected: Values | Range) -> None:
    found = parse_over(text, ranges=True)
    assert found == expected
    assert parse_over(str(found), ranges=True) == expected


@pytest.mark.parametrize(
    ("texts", "parts"),
    [
        (["model"], ["--over takes KEY=VALUES", "not 'model'"]),
        (["model=a,,b"], ["no value"]),
        (["model=a,b,a"], ["names a twice"]),
        (["model=a", "model=b"], ["--over model is given twice"]),
        (["epochs=9:3"], ["begins at 9"]),
        (["optimizer.lr=log:0:1"], ["begins above 0"]),
        (["epochs=1:3:5"], ["a step is"]),
        ([], ["say what varies"]),
    ],
)
def test_what_cannot_vary_is_refused_in_words(texts: list[str], parts: list[str]) -> None:
    with pytest.raises(UsageError) as refused:
        parse_overs(texts, ranges=True)
    for part in parts:
        assert part in str(refused.value)


def test_a_grid_takes_no_range_and_says_what_does() -> None:
    with pytest.raises(UsageError, match="--trials N"):
        parse_over("model.dropout=0:0.5", ranges=False)


def test_a_strategy_is_chosen_before_its_options_and_a_recipe_below_what_is_typed() -> None:
    values = {"model.width": 4, "model": "tiny-cnn", "recipe": "binary"}
    found = layers([{"epochs": 1}], [{"epochs": 2}], values)
    assert found == [{"epochs": 1}, {"recipe": "binary"}, {"epochs": 2}, {"model": "tiny-cnn"}, {"model": {"width": 4}}]


def test_every_bad_combination_is_reported_before_anything_starts() -> None:
    wanted = definition("grid", over=["model=tiny-cnn,densenet121", "model.width=4,8"])
    with pytest.raises(UsageError) as refused:
        sweep(wanted)
    message = str(refused.value)
    assert "2 of 4 combinations cannot be trained; nothing was started" in message
    assert "model=densenet121 model.width=4 (and 1 more): unknown option model.width" in message
    assert not Path("runs").exists()


def test_an_unknown_key_or_value_names_the_closest() -> None:
    with pytest.raises(UsageError, match=r"unknown setting 'monitr'\. Did you mean 'monitor'\?"):
        sweep(definition("grid", over=["monitr=val_loss,val_auroc"]))
    with pytest.raises(UsageError, match=r"augment=mixpu: unknown augmenter 'mixpu'\. Did you mean 'mixup'\?"):
        sweep(definition("grid", over=["augment=none,mixpu"]))


def test_every_combination_is_an_ordinary_run_and_the_best_is_chosen_on_validation() -> None:
    results = sweep(definition("grid"))
    assert [(t.run, t.values) for t in results.trials] == [
        ("s-01", {"model.width": "4", "augment": "none"}),
        ("s-02", {"model.width": "4", "augment": "mixup"}),
        ("s-03", {"model.width": "8", "augment": "none"}),
        ("s-04", {"model.width": "8", "augment": "mixup"}),
    ]
    values = [json.loads(Path(f"runs/{t.run}/evaluation-val.json").read_text()) for t in results.trials]
    validation = [each["averages"]["macro"]["auroc"]["value"] for each in values]
    assert results.best is results.trials[validation.index(max(validation))]
    table = list(csv.DictReader(Path("runs/s/results.csv").read_text().splitlines()))
    assert [row["best"] for row in table].count("yes") == 1
    assert [float(row["val_auroc"]) for row in table] == pytest.approx(validation, rel=1e-8)
    interval = values[2]["averages"]["macro"]["f1"]
    assert float(table[2]["val_f1_low"]) == pytest.approx(interval["low"], rel=1e-8)
    assert {row["threshold"] for row in table} == {"0.5"}
    said = " ".join(sentences(results))
    assert f"best on validation: {results.best.run}" in said
    assert "the highest of 4" in said
    assert "no trial was chosen by test images" in said


def test_the_table_fits_eighty_columns_and_marks_the_best() -> None:
    results = sweep(definition("grid", over=[*sweep_process.GRID, "monitor=val_auroc,val_loss"]))
    for width in (80, 160):
        table = shown(results, width)
        assert max(map(len, table)) <= width
        assert not any("…" in line for line in table)
        (marked,) = [line for line in table if line.startswith("*")]
        assert results.best is not None
        assert marked.split()[1] == str(results.best.number)
    assert sum("[" in line for line in shown(results, 160)) == len(results.trials)


def test_json_holds_what_is_documented() -> None:
    document = sweep(definition("grid")).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document) == {"sweep", "folder", "kind", "metric", "varies", "comparable", "best", "trials"}
    assert set(document["trials"][0]) == {
        *("trial", "run", "status", "reason", "values", "epochs", "monitor", "best_epoch"),
        *("images_per_second", "seconds", "thresholds", "val", "test", "common_means", "images"),
    }


def test_a_grid_grows_by_values_and_what_is_done_is_skipped() -> None:
    first = sweep(definition("grid"))
    executed: list[str] = []

    def noted(job: Job, watch: Watch) -> Ended:
        executed.append(job["run"])
        return pretend(job, watch)

    grown = sweep(definition("grid", over=["model.width=4,8,16", "augment=none,mixup"]), noted)
    assert executed == ["s-05", "s-06"]
    assert rows(grown)[:4] == [row | {"best": new["best"]} for row, new in zip(rows(first), rows(grown), strict=False)]
    assert [t.values["model.width"] for t in grown.trials[4:]] == ["16", "16"]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"over": ["model.width=4", "augment=none,mixup"]}, "which this grid leaves out"),
        ({"over": ["model.width=4,8"]}, "varies model.width, augment, not model.width"),
        ({"above": [sweep_process.LAYER | {"epochs": 5}]}, "begun with other settings: epochs 4, now 5"),
    ],
)
def test_a_grid_that_contradicts_the_one_of_that_name_is_refused(changes: dict[str, Any], part: str) -> None:
    sweep(definition("grid"))
    with pytest.raises(UsageError, match=part):
        sweep(definition("grid", **changes))


def test_a_run_in_the_way_is_left_alone() -> None:
    Path("runs/s-02").mkdir(parents=True)
    with pytest.raises(UsageError, match="the run 's-02' exists already"):
        sweep(definition("grid"))
    assert [path.name for path in Path("runs").iterdir()] == ["s-02"]


def test_a_failed_trial_is_shown_with_its_reason_and_retried_when_asked() -> None:
    failing = True

    def fragile(job: Job, watch: Watch) -> Ended:
        if job["run"] == "s-02" and failing:
            return Ended("failed", "its process was ended by SIGKILL")
        return pretend(job, watch)

    results = sweep(definition("grid"), fragile)
    assert [t.status for t in results.trials] == ["complete", "failed", "complete", "complete"]
    assert "Trial 2 failed: its process was ended by SIGKILL" in sentences(results)
    assert rows(results)[1]["reason"] == "its process was ended by SIGKILL"
    assert any(line.split()[:2] == ["2", "4"] and "failed" in line for line in shown(results))
    failing = False
    assert sweep(definition("grid"), fragile).trials[1].status == "failed"
    assert sweep(definition("grid"), fragile, retry_failed=True).trials[1].status == "complete"


def test_no_trial_is_the_best_where_the_images_differ() -> None:
    results = sweep(definition("grid", over=["seed=0,1"]))
    assert results.best is not None
    for number, trial in enumerate(results.trials):
        trial.result["images"] = f"images {number}"
    assert results.best is None
    assert "not validated on the same images" in " ".join(sentences(results))


def test_one_process_per_sweep() -> None:
    folder = Folder(Path("runs"), "s")
    with folder.locked(shared=False), pytest.raises(ZooError, match="is being run by process"):
        sweep(definition("grid"))


def test_half_files_of_a_killed_sweep_are_cleared_by_the_next_process() -> None:
    folder = Folder(Path("runs"), "s")
    folder.path.mkdir(parents=True)
    left = folder.path / ".partial-1-sweep.json"
    left.touch()
    with folder.locked(shared=True):
        assert left.exists()  # of another machine, perhaps, that is at work
    with folder.locked(shared=False):
        assert not left.exists()


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("mysql://me:secret@host/db", "mysql://me:***@host/db"),
        ("mysql://me:sec@ret:/@host/db", "mysql://me:***@host/db"),
        ("redis://:secret@host", "redis://:***@host"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("postgresql://me@host:5432/db", "postgresql://me@host:5432/db"),
        ("sqlite:////data/a.db", "sqlite:////data/a.db"),
    ],
)
def test_passwords_of_a_storage_are_not_kept(address: str, kept: str) -> None:
    assert without_passwords(["--storage", address]) == ["--storage", kept]
    assert without_passwords([f"--storage={address}"]) == [f"--storage={kept}"]


def test_a_search_has_exactly_its_trials_within_the_space_and_prunes_what_falls_behind() -> None:
    pytest.importorskip("optuna")
    results = sweep(definition("search"))
    assert [t.number for t in results.trials] == list(range(1, 13))
    assert {t.status for t in results.trials} == {"complete", "pruned"}
    for trial in results.trials:
        assert 1e-5 <= trial.values["optimizer.lr"] <= 1e-2
        assert trial.values["model.width"] in (4, 8, 12, 16)
        assert trial.config["optimizer"]["lr"] == trial.values["optimizer.lr"]
    pruned = [t for t in results.trials if t.status == "pruned"]
    for trial in pruned:
        # its best so far, which is below the median of the best that those before it had at the same epoch
        at = trial.result["epochs"]
        seen = max(sweep_process.score(trial.config, epoch) for epoch in range(1, at + 1))
        before = [t for t in results.trials[: trial.number - 1] if t.status == "complete"]
        others = sorted(sweep_process.score(t.config, at) for t in before)
        middle = len(others) // 2
        median = others[middle] if len(others) % 2 else (others[middle - 1] + others[middle]) / 2
        assert len(before) >= 5
        assert seen < median
        assert trial.value("val", "auroc") == pytest.approx(seen)
    assert f"{len(pruned)} trial" in " ".join(sentences(results))
    assert any("pruned" in line for line in shown(results))
    more = sweep(definition("search", trials=13))
    assert len(more.trials) == 13
    with pytest.raises(UsageError, match="has 13 trials already"):
        sweep(definition("search", trials=12))
    with pytest.raises(UsageError, match="begun with other settings"):
        sweep(definition("search", over=["model.width=4:16:4"]))
    with pytest.raises(UsageError, match="is a search"):
        sweep(definition("grid"))


def test_a_search_killed_before_it_received_a_pruned_trial_ends_with_the_same_table() -> None:
    pytest.importorskip("optuna")
    expected = sweep(definition("search", name="whole", trials=7)).to_csv()
    assert "pruned after epoch" in expected

    class Killed(BaseException):
        pass

    def deaf(job: Job, watch: Watch) -> Ended:
        if pretend(job, watch).status == "pruned":
            raise Killed
        return Ended("complete")

    with pytest.raises(Killed):
        sweep(definition("search", trials=7), deaf)
    assert sweep(definition("search", trials=7)).to_csv() == expected.replace("whole-", "s-")


def test_pruning_needs_a_metric_that_epochs_have() -> None:
    with pytest.raises(UsageError, match="give --no-prune"):
        sweep(definition("search", metric="specificity"))


def process(kind: str, limit: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(limit)], capture_output=True, text=True, timeout=300, check=False
    )


def killed(kind: str, moments: int, seed: int) -> None:
    """Kill a sweep at random moments until it is through; its table is that of a sweep left alone."""
    done = process(kind, 0)
    assert done.returncode == 0, done.stderr
    events = int(done.stdout.splitlines()[-1])
    expected = Path("runs/s/results.csv").read_bytes()
    draw = random.Random(seed)
    hits = 0
    while hits < moments:
        shutil.rmtree("runs")
        for _ in range(draw.randint(1, 3)):
            ended = process(kind, draw.randint(1, events))
            if ended.returncode == -signal.SIGKILL:
                hits += 1
            else:
                assert ended.returncode == 0, ended.stderr
        ended = process(kind, 0)
        assert ended.returncode == 0, ended.stderr
        assert Path("runs/s/results.csv").read_bytes() == expected
        runs = sorted(path.name for path in Path("runs").glob("s-*"))
        assert runs == [f"s-{n:02d}" for n in range(1, len(runs) + 1)]


def test_a_grid_killed_at_any_moment_ends_with_the_table_of_one_left_alone() -> None:
    killed("grid", 1, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "moments"), [("grid", 8), ("search", 5)])
def test_a_sweep_killed_at_many_random_moments_ends_with_the_same_table(kind: str, moments: int) -> None:
    if kind == "search":
        pytest.importorskip("optuna")
    killed(kind, moments, seed=4)
