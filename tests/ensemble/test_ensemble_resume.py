"""An ensemble that was killed anywhere and resumed is, bit for bit, one that never was: its head where it trains one, its files
where it only joins."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from trainings import LAYER, Killed, die_at, result, start

from zoo.cli.main import cli
from zoo.engine import steps, train
from zoo.evaluation import Predictions
from zoo.runs.results import Results
from zoo.runs.run import Run

pytestmark = pytest.mark.slow

Expected = Callable[[str], dict[str, Any]]
EPOCHS = 3
WAYS = {"features": ["--by", "features", "--epochs", str(EPOCHS)], "mean": []}


def zoo(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def words(way: str, name: str, folder: Path) -> list[str]:
    """`zoo ensemble` of the two runs, by a way, into runs/NAME."""
    return ["ensemble", *(str(folder / "runs" / each) for each in ("one", "two")), *WAYS[way], "--run", name]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two finished runs, `one` and `two`, and the cache of their images."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        start("one", epochs=1)
        start("two", epochs=1, model=LAYER["model"] | {"width": 6})
        yield folder


@pytest.fixture(scope="module")
def expected(shared: Path) -> Expected:
    """What an ensemble comes to that nothing interrupts, by its way."""

    @cache
    def made(way: str) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(shared)
            done = zoo(*words(way, way, shared))
            assert done.exit_code == 0, done.output
            return everything(way)

    return made


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(shared / "cache"))


def everything(name: str) -> dict[str, Any]:
    """What two equal ensembles share, and what was measured on them."""
    measured = [Path("runs", name, f"evaluation-{split}.json").read_bytes() for split in ("val", "test")]
    return result(name) | {"measured": measured}


def resumed(name: str, *, trained: int = 0) -> dict[str, Any]:
    """Go on with an ensemble as a user does, once; what it comes to. `trained` epochs are not trained again."""
    assert Run(Path("runs", name)).info()["status"] != "complete"
    done = zoo("train", "--resume", name)
    assert done.exit_code == 0, done.output
    assert f"Resuming the run {name}" in done.stderr
    if trained:
        place = "the training is done" if trained == EPOCHS else f"going on from the start of epoch {trained + 1}"
        assert f"Checkpoint: {place}" in done.stderr
    assert not [path for path in Path("runs").rglob("*") if "partial" in path.name]
    return everything(name)


# the head has 5 steps in an epoch
STAGES: dict[str, tuple[str, Any, str, int, int]] = {
    "head, first step": ("features", steps.Steps, "after", 1, 0),
    "head, second epoch": ("features", steps.Steps, "after", 9, 1),
    "head, predictions": ("features", Predictions, "save", 2, EPOCHS),
    "mean, preparing": ("mean", train, "load_images", 1, 0),
    "mean, network": ("mean", train, "replacing", 1, 0),
    "mean, predictions": ("mean", Predictions, "save", 2, 0),
    "mean, results": ("mean", Results, "save", 1, 0),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_resumed_ensemble_equals_one_never_interrupted(stage: str, shared: Path, expected: Expected) -> None:
    way, owner, function, call, trained = STAGES[stage]
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, owner, function, call)
        with pytest.raises(Killed):
            zoo(*words(way, "new", shared))
    assert resumed("new", trained=trained) == expected(way)


@pytest.mark.parametrize("call", [1, 9])  # before the first checkpoint, and behind it
def test_a_member_that_was_trained_anew_meanwhile_is_not_taken_for_the_old_one(call: int, shared: Path) -> None:
    for member in ("one", "two"):
        shutil.copytree(shared / "runs" / member, Path("runs") / member)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, steps.Steps, "after", call)
        with pytest.raises(Killed):
            zoo(*words("features", "new", Path()))
    network = Path("runs", "one", "model.keras")
    shutil.copy(Path("runs", "two", "model.keras"), network)
    refused = zoo("train", "--resume", "new")
    assert refused.exit_code == 2
    assert f"since the run began {network.resolve()} changed" in refused.stderr
    network.unlink()
    assert "was removed" in zoo("train", "--resume", "new").stderr


def test_the_comparison_separates_two_different_ensembles(expected: Expected) -> None:
    features, mean = expected("features"), expected("mean")
    assert len(features["rows"]) == EPOCHS
    assert mean["rows"] == []
    for part in ("weights", "predictions", "measured"):
        assert features[part] != mean[part]


# python -c KILLED EVENT NUMBER SUFFIX WORDS...: ends itself before the event of that number, a step of the training or what is
# done to a file whose name ends so
KILLED = """
import os, signal, sys
event, number, suffix, *words = sys.argv[1:]
left = int(number)
def seen(name, *arguments):
    global left
    if name == event and str(arguments[-1] if arguments else "").endswith(suffix):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
def hook(name, arguments):
    if name == "open":
        seen("open", arguments[0])
    elif name == "os.rename":
        seen("rename", arguments[1])
sys.addaudithook(hook)
from zoo.engine.steps import Steps
inner = Steps.after
def after(self, loss):
    inner(self, loss)
    seen("step")
Steps.after = after
from zoo.cli.main import main
sys.argv[1:] = words
main()
"""


@pytest.mark.parametrize(
    ("way", "moment", "trained"),
    [
        ("features", ["step", "8", ""], 1),
        ("features", ["rename", "1", "model.keras"], EPOCHS),
        ("mean", ["open", "1", "-model.keras"], 0),
        ("mean", ["rename", "1", "model.keras"], 0),
        ("mean", ["rename", "1", "test.csv"], 0),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else str(each),
)
def test_an_ensemble_that_is_really_killed_is_resumed_as_exactly(
    way: str, moment: list[str], trained: int, shared: Path, expected: Expected
) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, *moment, *words(way, "new", shared)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert resumed("new", trained=trained) == expected(way)
