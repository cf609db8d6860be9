"""A training that ended anywhere and was resumed is, bit for bit, one that never ended."""

from __future__ import annotations

import errno
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loglines import log_lines
from trainings import LAYER, Killed, die_at, go_on, result, start

from zoo.core.errors import UnwritableRun, UsageError, ZooError
from zoo.data.batches import TrainingBatches
from zoo.engine import feed, fit, recorder, steps, train
from zoo.engine.checkpoints import CheckpointFolder
from zoo.engine.epochs import Epochs
from zoo.engine.signals import Interrupted
from zoo.evaluation import Predictions
from zoo.runs.results import Results
from zoo.runs.run import Run

SUPPORT = Path(__file__).parents[1] / "support"  # what the tests share, for the processes they start

EVERY = 3
PHASES = {"weights": "base/runs/base", "freeze": True, "freeze_epochs": 2, "epochs": 2, "augment": "standard"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Uninterrupted runs: `base`, and `phases`, which starts from its weights with the backbone frozen."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        (folder / "base").mkdir()
        patch.chdir(folder / "base")
        start("base")
        patch.chdir(folder)
        start("phases", **PHASES)
        yield folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(shared / "cache"))
    Path("base").symlink_to(shared / "base")


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, Any]:
    return {"base": result("base", shared / "base" / "runs"), "phases": result("phases", shared / "runs")}


@pytest.fixture
def dead(shared: Path) -> None:
    """The run `base`, killed at its ninth step: there are checkpoints of step 5 (the end of an epoch) and step 6."""
    if not (shared / "dead").exists():
        kill("base", steps.Steps, "after", 9)
        Path("runs").rename(shared / "dead")
    shutil.copytree(shared / "dead", "runs")


def kill(name: str, owner: Any, function: str, call: int, *, resumed: bool = False, **options: Any) -> None:
    """Train or resume the run `name` until a process would die in `function`."""
    changes = PHASES if name == "phases" else {}
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, owner, function, call, **options)
        with pytest.raises(Killed):
            go_on(name) if resumed else start(name, every=EVERY, **changes)


# an epoch of these trainings has 5 steps; checkpoints are after every third step and after each epoch
STAGES: dict[str, tuple[str, Any, str, int, bool]] = {
    "preparing": ("base", train, "load_images", 1, False),
    "first step": ("base", steps.Steps, "after", 1, False),
    "between two checkpoints": ("base", steps.Steps, "after", 8, True),
    "before a checkpoint's file": ("base", CheckpointFolder, "save", 3, False),
    "after a checkpoint's file": ("base", CheckpointFolder, "save", 4, True),
    "validation": ("base", Epochs, "_validate", 2, False),
    "between checkpoint and best weights": ("base", recorder.Recorder, "_write_weights", 2, True),
    "before metrics.csv": ("base", recorder.Recorder, "_write_metrics", 2, False),
    "saving the network": ("base", train, "replacing", 1, False),
    "predictions": ("base", Predictions, "save", 2, False),
    "results": ("base", Results, "save", 1, False),
    "head alone": ("phases", steps.Steps, "after", 9, False),
    "first step of all": ("phases", steps.Steps, "after", 11, False),
    "all": ("phases", steps.Steps, "after", 14, True),
}


FAST = ("between two checkpoints", "results", "head alone")


def slow_but(fast: tuple[Any, ...], *others: Any) -> list[Any]:
    return [*fast, *(pytest.param(each, marks=pytest.mark.slow) for each in others if each not in fast)]


@pytest.mark.parametrize("stage", slow_but(FAST, *STAGES))
def test_a_resumed_run_equals_one_never_interrupted(stage: str, expected: dict[str, Any]) -> None:
    name, owner, function, call, after = STAGES[stage]
    kill(name, owner, function, call, after=after)
    assert Run(Path("runs", name)).info()["status"] != "complete"
    go_on(name)
    assert result(name) == expected[name]
    assert not [path for path in Path("runs").rglob("*") if "partial" in path.name]


@pytest.mark.slow
def test_many_deaths_in_one_run(expected: dict[str, Any]) -> None:
    kill("base", steps.Steps, "after", 4)
    kill("base", steps.Steps, "after", 4, resumed=True)
    kill("base", Epochs, "_validate", 1, resumed=True)
    kill("base", steps.Steps, "after", 2, resumed=True)
    go_on("base")
    assert result("base") == expected["base"]
    assert len(Run(Path("runs/base")).info()["resumed"]) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("dead")
def test_what_is_compared_depends_on_every_group_of_the_checkpoint(
    expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in ("restore_optimizer", "restore_metrics"):
        with monkeypatch.context() as patch:
            patch.setattr(fit, function, lambda trainer, checkpoint: None)
            shutil.copytree("runs", f"without/{function}", dirs_exist_ok=True)
            patch.chdir(f"without/{function}")
            Path("runs").symlink_to(".")
            go_on("base")
            assert result("base") != expected["base"]


@pytest.mark.slow
def test_the_scale_of_the_loss_under_float16_is_resumed_too() -> None:
    changes: dict[str, Any] = {
        "precision": "mixed_float16",
        "optimizer": "adamw",
        "schedule": "cosine",
    }
    start("whole", **changes)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, steps.Steps, "after", 9)
        with pytest.raises(Killed):
            start("killed", every=2, **changes)
    go_on("killed")
    assert result("killed") == result("whole")


ON_JAX = """
import sys
sys.path.insert(0, sys.argv[1])
import keras
from trainings import Killed, go_on, result, start
from zoo.engine.steps import Steps
start("whole")
inner, left = Steps.after, iter(range(1, 100))
def dying(self, loss):
    inner(self, loss)
    if next(left) == 9:
        raise Killed
Steps.after = dying
try:
    start("killed", every=2)
except Killed:
    Steps.after = inner
go_on("killed")
print(keras.backend.backend(), result("killed") == result("whole"))
"""


@pytest.mark.slow
def test_a_run_on_jax_is_resumed_as_exactly(run_python: Callable[..., Any]) -> None:
    pytest.importorskip("jax")
    done = run_python("-c", ON_JAX, str(SUPPORT), KERAS_BACKEND="jax", ZOO_CACHE="cache")
    assert done.stdout.splitlines()[-1:] == ["jax True"], done.stderr


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("damage", slow_but(("newest",), "both"))
def test_a_damaged_checkpoint_is_reported_and_costs_only_time(
    damage: str, expected: dict[str, Any], logged: list[str]
) -> None:
    there = CheckpointFolder(Path("runs/base/checkpoints")).paths()
    for path in there[: 1 if damage == "newest" else 2]:
        path.write_bytes(path.read_bytes()[:-1000])
    go_on("base")
    warnings = [line for line in logged if line.startswith("Warning")]
    assert len(warnings) == (1 if damage == "newest" else 2)
    assert ("the one before it is used" if damage == "newest" else "training starts from the beginning") in warnings[-1]
    assert result("base") == expected["base"]


@pytest.mark.parametrize("step", slow_but((5,), 2, 15))
def test_a_signal_saves_the_step_and_says_how_to_go_on(step: int, expected: dict[str, Any], logged: list[str]) -> None:
    inner, count = steps.Steps.after, iter(range(1, 10_000))

    def interrupted(self: steps.Steps, loss: Any) -> None:
        if next(count) == step:
            signal.raise_signal(signal.SIGTERM)
        inner(self, loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps.Steps, "after", interrupted)
        with pytest.raises(Interrupted):
            start("base")
    assert "zoo train --resume base" in logged[-1]
    assert Run(Path("runs/base")).info()["status"] == "interrupted"
    logged.clear()
    done = f"epoch {(step - 1) // 5 + 1}, step {(step - 1) % 5 + 1} of 5"
    go_on("base")
    assert f"Checkpoint: going on from {done}" in logged
    assert result("base") == expected["base"]


@pytest.mark.slow
def test_early_stopping_is_not_forgotten() -> None:
    changes: dict[str, Any] = {"patience": 1, "optimizer": {"name": "sgd", "lr": 1e-12}, "epochs": 5}
    start("whole", **changes)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, steps.Steps, "after", 7)
        with pytest.raises(Killed):
            start("killed", every=1, **changes)
    go_on("killed")
    assert len(result("whole")["rows"]) == 2
    assert result("killed") == result("whole")
    Run(Path("runs/killed")).update_info(status="running")
    (Path("runs/killed") / "model.keras").unlink()
    go_on("killed")  # the training is over: nothing is trained again
    assert result("killed") == result("whole")


def test_checkpoints_within_epochs_and_prefetching_change_nothing(
    expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PREFETCH", 1)
    start("base", every=1)
    assert result("base") == expected["base"]
    assert Run(Path("runs/base")).info()["checkpoint_every"] == 1
    assert "checkpoint_every" not in Run(Path("runs/base")).config()


@pytest.mark.parametrize("stage", slow_but(("later checkpoint",), "first checkpoint", "weights"))
def test_a_full_disk_is_reported_and_the_run_goes_on_when_there_is_room(stage: str, expected: dict[str, Any]) -> None:
    owner, function = (recorder.Recorder, "_write_weights") if stage == "weights" else (CheckpointFolder, "save")
    inner, calls = getattr(owner, function), iter(range(1, 10_000))

    def full(*arguments: Any) -> Any:
        if next(calls) >= (1 if stage == "first checkpoint" else 4):
            raise OSError(errno.ENOSPC, "No space left on device")
        return inner(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, function, full)
        with pytest.raises(UnwritableRun) as error:
            start("base", every=EVERY)
    kept = "No checkpoint was written yet." if stage == "first checkpoint" else " is kept"
    for part in ("No space left on device", kept, "zoo train --resume base"):
        assert part in str(error.value)
    assert Run(Path("runs/base")).info()["status"] == "failed"
    go_on("base")
    assert result("base") == expected["base"]


def test_a_finished_run_is_not_resumed(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shared)
    with pytest.raises(UsageError, match=r"the run phases is finished\. See it with 'zoo evaluate phases'"):
        go_on("phases")


def refused(*parts: str, name: str = "base") -> None:
    """Going on is refused with these words, and the run is as it was."""
    before = Run(Path("runs", name)).info()
    with pytest.raises(UsageError) as error:
        go_on(name)
    for part in (*parts, "--allow-changed"):
        assert part in str(error.value)
    assert Run(Path("runs", name)).info()["status"] == before["status"]


def accepted(name: str = "base") -> None:
    """With --allow-changed the same is said, and the run ends."""
    with log_lines() as lines:
        go_on(name, allow_changed=True)
    assert any(line.startswith("Warning: accepted: since the run began ") for line in lines)
    assert Run(Path("runs", name)).info()["status"] == "complete"


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.usefixtures("dead")
def test_changed_images_are_refused_with_what_changed() -> None:
    whole = Path("runs/base/images.csv").read_text()
    lines = whole.splitlines(keepends=True)
    lines[5] = lines[5].replace("train", "val") if "train" in lines[5] else lines[5].replace("val", "train")
    for number in (7, 8):
        lines[number] = lines[number].rstrip().rpartition(",")[0] + ",0.5\n"
    Path("runs/base/images.csv").write_text("".join(lines[:-2]))
    refused("the images changed: 2 added, 1 with split changed, 2 with labels changed")
    accepted()
    assert Path("runs/base/images.csv").read_text() == whole


@pytest.mark.usefixtures("dead")
def test_images_whose_files_alone_changed_are_refused_too() -> None:
    edit(Path("runs/base/data.json"), lambda values: values.update(fingerprint="0123"))
    refused("fingerprint 0123", "though not their pixels and labels")


@pytest.mark.usefixtures("dead")
def test_a_changed_version_is_refused_and_one_that_decides_nothing_is_not() -> None:
    edit(Path("runs/base/run.json"), lambda values: values["versions"].update(pandas="0.1", keras="3.0.0"))
    refused("since the run began keras changed from 3.0.0 to ")


@pytest.mark.usefixtures("dead")
def test_a_changed_device_is_refused() -> None:
    edit(Path("runs/base/run.json"), lambda values: values.update(device="Some GPU (tensorflow)"))
    refused("the device changed from Some GPU (tensorflow) to CPU (tensorflow)")


@pytest.mark.slow
def test_changed_weights_to_start_from_count_until_there_is_a_checkpoint() -> None:
    shutil.copytree("base/runs/base", "start")
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, steps.Steps, "after", 1)
        with pytest.raises(Killed):
            start("begun", **{**PHASES, "weights": "start"})
    (Path("start") / "model.keras").unlink()  # now the best checkpoint is what the folder means
    refused("the weights in", "start changed", name="begun")
    accepted("begun")


@pytest.mark.usefixtures("dead")
def test_a_checkpoint_of_another_network_is_refused_and_kept() -> None:
    path = Path("runs/base/config.yaml")
    path.write_text(path.read_text().replace("width: 4", "width: 6"))
    with pytest.raises(ZooError, match="does not fit the network"):
        go_on("base")
    assert len(CheckpointFolder(Path("runs/base/checkpoints")).paths()) == 2


def test_the_order_of_the_images_starts_anywhere() -> None:
    rows = np.arange(40)
    batches = TrainingBatches(
        np.zeros((40, 4, 4), np.uint8), rows[:, None].astype(np.float32), rows, 8, LAYER["epochs"]
    )

    def fed(first: int) -> list[list[float]]:
        return [np.asarray(b["label"]).ravel().tolist() for (b,) in feed.training_feed(batches, first, 15)]

    assert len(fed(0)) == 15
    for first in (1, 5, 9):
        assert fed(first) == fed(0)[first:]


@pytest.mark.slow
def test_a_balanced_run_is_resumed_exactly() -> None:
    changes: dict[str, Any] = {"balance": "repeat-factor", "balance_threshold": 0.9, "monitor": "val_f1"}
    start("whole", **changes)
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, steps.Steps, "after", 9)
        with pytest.raises(Killed):
            start("parts", every=EVERY, **changes)
    go_on("parts")
    assert result("parts") == result("whole")
    assert json.loads(Path("runs/whole/data.json").read_text())["balance"]["images_per_epoch"] > 40
