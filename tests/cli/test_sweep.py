"""`zoo sweep` as a user types it, with real trainings where the processes matter."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import child_targets
import pytest
from commandline import PHANTOM, refused, zoo

from zoo.search import process, worker
from zoo.search.process import Ended, Processes

SMALL = [*PHANTOM, "--image-size", "16", "--set", "data.patients=30"]
GRID = ["--over", "augment=none,mixup", "--over", "model.depth=1,2"]
TIMES = ("seconds", "images_per_second")
pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--over", "epochs=1,2"], ["name the sweep"]),
        (["s"], ["say what varies", "--over"]),
        (["s", "--over", "modle=tiny-cnn,densenet121"], ["unknown setting 'modle'", "Did you mean 'model'?"]),
        (["s", "--model", "tiny-cnn", "--over", "model=tiny-cnn,densenet121"], ["model is given one value and varies"]),
        (["s", "--lr", "0.1", "--over", "optimizer.lr=0.1,0.2"], ["optimizer.lr is given one value"]),
        (["s", "--over", "model.dropout=0:0.5"], ["is a range", "--trials N"]),
        (["s", "--over", "epochs=1,2", "--storage", "sqlite:///a.db"], ["--storage", "give --trials N"]),
        (["s", "--over", "epochs=1,2", "--no-prune"], ["--prune", "give --trials N"]),
        (["s", "--trials", "2", "--over", "epochs=1:2", "--retry-failed"], ["--retry-failed is for a grid"]),
        (["a/b", "--over", "epochs=1,2"], ["a sweep's name is made of letters"]),
        (["s", "--over", "epochs=1,2", "--track", "wandb"], ["unknown tracker 'wandb'", "mlflow, tensorboard"]),
        (["--resume", "none"], ["there is no sweep 'none'"]),
        (["--resume", "s", "--over", "epochs=1,2"], ["takes no --over"]),
    ],
)
def test_mistakes_are_errors_before_anything_starts(words: list[str], parts: list[str]) -> None:
    refused(zoo("sweep", *words), 2, *parts)


def test_without_optuna_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused(zoo("sweep", "s", "--trials", "2", "--over", "epochs=1:2"), 1, "pip install 'cxr-zoo[search]'")


def test_a_sweep_whose_trials_all_fail_shows_why_and_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    tracked = list[Any]()

    def failed(self: Processes, job: process.Job, watch: process.Watch) -> Ended:
        tracked.append(job["track"])
        return Ended("failed", "no memory")

    monkeypatch.setattr(process.Processes, "__call__", failed)
    result = zoo("sweep", "s", *PHANTOM, "--over", "augment=none,mixup", "--track", "tensorboard", "--json")
    assert result.exit_code == 1
    assert tracked == [["tensorboard"], ["tensorboard"]]
    document = json.loads(result.stdout)
    assert [trial["reason"] for trial in document["trials"]] == ["no memory", "no memory"]
    assert document["best"] is None
    assert "Trial 2 of 2" in result.stderr
    again = zoo("sweep", "--resume", "s")
    assert "2 of 2 trials are done already" in again.stderr
    assert "Trial 1 failed: no memory" in again.stdout


@pytest.mark.parametrize("address", ["postgresql://me:s3cret@db/zoo", "postgresql://db/zoo?user=me&password=s3cret"])
def test_the_password_of_a_storage_stands_nowhere(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    real: Any = optuna.storages.RDBStorage
    asked, commands = list[str](), list[str]()

    class Database(real):
        def __init__(self, url: str) -> None:
            asked.append(url)
            super().__init__("sqlite:///stand-in.db")

    def failed(self: process.Processes, job: process.Job, watch: process.Watch) -> Ended:
        commands.extend(self._arguments)
        return Ended("failed", "no memory")

    monkeypatch.setattr(process.Processes, "__call__", failed)
    words = [*PHANTOM, "--trials", "2", "--over", "seed=0:9"]
    with monkeypatch.context() as patch:
        patch.setattr(optuna.storages, "RDBStorage", Database)
        patch.setattr(sys, "argv", ["zoo", "sweep", "s", *words, "--storage", address])
        outputs = [zoo(*sys.argv[1:]), zoo("sweep", "--resume", "s")]
        patch.setenv("ZOO_SWEEP_STORAGE", address)
        outputs.append(zoo("sweep", "--resume", "s"))
    assert asked == [address, address]
    assert [result.exit_code for result in outputs] == [1, 2, 1]
    assert "keeps its trials in postgresql://" in outputs[1].stderr
    assert "Trial 2 failed" in outputs[2].stdout
    # the driver's own complaint, of a database that is not there
    outputs.append(zoo("sweep", "other", *words, "--storage", address.replace("postgresql", "nosuch")))
    assert "cannot be used" in outputs[3].stderr
    files = [path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()]
    assert any(b"***" in content for content in files)
    assert not any(b"s3cret" in content for content in files)
    assert "***" in " ".join(commands)
    for text in [*commands, *(result.output for result in outputs)]:
        assert "s3cret" not in text


def test_a_process_that_dies_is_a_failed_trial_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    for target, said in ((child_targets.kill, "SIGKILL"), (child_targets.leave, "exit code 3")):
        monkeypatch.setattr(worker, "main", target)
        ended = Processes(process.Stop(), [])({"run": "x"}, lambda row: True)
        assert ended.status == "failed"
        assert said in ended.reason


def start(*words: str) -> subprocess.Popen[str]:
    code = "from zoo.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "sweep", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def table(name: str) -> list[dict[str, str]]:
    """results.csv without its two columns of time, the names of the runs without the sweep's."""
    with Path("runs", name, "results.csv").open(newline="") as file:
        found = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return [row | {"run": row["run"].removeprefix(name)} for row in found]


@pytest.mark.slow
@pytest.mark.parametrize(
    "varying", [GRID, ["--trials", "4", "--over", "optimizer.lr=log:1e-4:1e-1", "--over", "model.width=4:8:2"]]
)
def test_a_sweep_that_is_really_killed_ends_with_the_same_table(varying: Sequence[str]) -> None:
    words = [*_without(SMALL, "model.depth=1" if varying is GRID else "model.width=8"), *varying, "--epochs", "3"]
    began = time.monotonic()
    result = zoo("sweep", "whole", *words, "--track", "tensorboard", "--json")
    assert result.exit_code == 0, result.output
    assert len(list(Path("runs").glob("whole-0?/tensorboard/events.out.tfevents.*"))) == 4
    seconds = time.monotonic() - began
    draw = random.Random(len(varying))
    for _ in range(3):
        process = start("killed", *words)
        try:
            process.communicate(timeout=draw.random() * seconds * 0.6)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    process = start(*(["--resume", "killed"] if Path("runs/killed/sweep.json").exists() else ["killed", *words]))
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    assert table("killed") == table("whole")
    assert len(list(Path("runs").glob("killed-*"))) == 4


def _without(words: Sequence[str], assignment: str) -> list[str]:
    """The words without `--set ASSIGNMENT`."""
    kept = list(words)
    while assignment in kept:
        at = kept.index(assignment)
        del kept[at - 1 : at + 1]
    return kept


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_the_trial_and_says_how_to_go_on(number: int, code: int) -> None:
    process = start("s", *SMALL, "--over", "augment=none,mixup", "--epochs", "400")
    deadline = time.monotonic() + 200
    while not Path("runs/s-01/metrics.csv").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == code, errors
    assert errors.rstrip().endswith("stopped; go on with: zoo sweep --resume s")
    assert "Traceback" not in errors
    assert json.loads(Path("runs/s-01/run.json").read_text())["status"] == "interrupted"
    trials: Any = json.loads(Path("runs/s/sweep.json").read_text())["trials"]
    assert [trial["status"] for trial in trials] == ["interrupted", "waiting"]
    assert os.path.exists("runs/s/results.csv")
