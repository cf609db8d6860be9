"""`zoo train --resume` as a user types it, and runs that are really killed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from commandline import PHANTOM, zoo

from zoo.runs.run import Run

ROOT = Path(__file__).parents[2]
LONG = [*PHANTOM, "--epochs", "400", "--run", "long"]
Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def refused(result: Any, code: int, *parts: str) -> None:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in result.stderr


def test_a_finished_run_says_so_and_what_to_do(finished: Finished) -> None:
    finished()
    refused(zoo("train", "--resume", "first"), 2, "the run first is finished", "zoo evaluate first", "--config")


def test_an_unknown_run_shows_the_closest(finished: Finished) -> None:
    finished()
    refused(zoo("train", "--resume", "frist"), 2, "there is no run 'frist'", "Did you mean 'first'?")


def test_a_run_without_a_configuration_is_to_be_trained_anew() -> None:
    Path("runs/begun").mkdir(parents=True)
    Path("runs/begun/.lock").touch()
    refused(zoo("train", "--resume", "begun"), 2, "before its configuration was written", "train anew")


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "tiny-cnn"],
        ["--set", "model.width=8"],
        ["--epochs", "3"],
        ["--no-freeze"],
        ["--device", "cpu"],
        ["--run", "other"],
        ["--config", "runs/first/config.yaml"],
    ],
)
def test_options_that_change_the_configuration_are_refused(words: list[str], finished: Finished) -> None:
    finished()
    refused(zoo("train", "--resume", "first", *words), 2, f"takes no {words[0].replace('no-', '')}", "--config")


def test_what_belongs_to_resuming_alone_needs_it() -> None:
    refused(zoo("train", *PHANTOM, "--allow-changed"), 2, "--allow-changed goes with --resume")
    refused(zoo("train", *PHANTOM, "--checkpoint-every", "0"), 2, "--checkpoint-every", "0")


def test_a_run_in_training_is_left_to_its_process(finished: Finished) -> None:
    finished()
    info = Path("runs/first/run.json")
    info.write_text(json.dumps(json.loads(info.read_text()) | {"status": "running"}))
    with Run(Path("runs/first")).locked():
        refused(zoo("train", "--resume", "first"), 1, "is being trained by process", str(os.getpid()))


def begin(*words: str) -> subprocess.Popen[str]:
    """Start `zoo` and wait until it has trained an epoch."""
    code = "from zoo.cli.main import main; main()"
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not Path("runs/long/metrics.csv").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_saves_says_how_to_go_on_and_ends_with_its_code(number: int, code: int) -> None:
    process = begin("train", *LONG)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert errors.rstrip().endswith("stopped; go on with: zoo train --resume long")
    assert "Traceback" not in errors
    info = json.loads(Path("runs/long/run.json").read_text())
    assert info["status"] == "interrupted"
    rows = Path("runs/long/metrics.csv").read_text().splitlines()
    config = Path("runs/long/config.yaml")
    config.write_text(config.read_text().replace("epochs: 400", f"epochs: {len(rows) + 1}"))
    result = zoo("train", "--resume", "long", "--json")
    assert result.exit_code == 0, result.output
    assert "Checkpoint: going on from " in result.stderr
    assert json.loads(result.stdout)["run"] == "runs/long"
    assert Path("runs/long/metrics.csv").read_text().splitlines()[: len(rows)] == rows


def test_a_read_only_run_is_an_error(finished: Finished) -> None:
    finished()
    Path("runs/first").chmod(0o500)
    try:
        if os.access("runs/first", os.W_OK):
            pytest.skip("this user may write everywhere")
        refused(zoo("train", "--resume", "first"), 1, "cannot write the run directory")
    finally:
        Path("runs/first").chmod(0o700)


def load(script: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[script.stem] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_runs_killed_at_twenty_random_moments_end_as_runs_never_killed(tmp_path: Path) -> None:
    moments = load(ROOT / "benchmarks" / "kill_resume.py").run_moments(20, 0, tmp_path)
    assert len(moments) >= 20
    assert {moment.drawn for moment in moments} == {"time", "event"}
    assert [moment for moment in moments if not moment.equal] == []
