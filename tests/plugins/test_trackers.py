"""The built-in trackers: what stands in MLflow and in TensorBoard's files after a training, and after a resumed one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from zoo.config.resolve import resolve
from zoo.config.run_config import RunConfig
from zoo.core.errors import UsageError, ZooError
from zoo.core.observers import Observer, Pruned
from zoo.core.registry import registry
from zoo.engine.tracking import Guarded, observers, parse
from zoo.runs.run import Run

ROW = {"phase": "all", "loss": 0.5, "lr": 1e-3, "val_auroc": 0.7, "val_auprc": float("nan")}


@pytest.fixture
def config() -> RunConfig:
    return resolve([{"model": {"name": "tiny-cnn", "width": 8}, "seed": 3}], registry())


@pytest.fixture
def run(tmp_path: Path, config: RunConfig) -> Run:
    made = Run.create(tmp_path / "runs", "image", "tiny-cnn", "binary")
    (made.path / "config.yaml").write_text(config.to_yaml())
    made.write_json("run.json", {"status": "running"})
    return made


def build(name: str, target: str = "") -> Observer:
    built: Observer = registry().get("tracker", name).build(target)
    return built


def epochs(count: int, first: int = 1) -> Iterator[dict[str, Any]]:
    for epoch in range(first, first + count):
        yield {"epoch": epoch, **ROW, "loss": 1 / epoch}


@pytest.fixture
def client(run: Run) -> Any:
    from mlflow.tracking import MlflowClient

    return lambda: MlflowClient(tracking_uri=f"sqlite:///{run.path.parent.resolve() / 'mlflow.db'}")


def test_mlflow_has_settings_epochs_and_files_and_a_resumed_run_goes_on_there(
    run: Run, config: RunConfig, client: Any
) -> None:
    first = build("mlflow")
    first.on_start(run.path, config.to_dict(), ())
    for row in epochs(2):
        first.on_epoch(row)
    first.on_end("interrupted")
    second = build("mlflow")
    second.on_start(
        run.path, config.to_dict(), tuple(epochs(3))
    )  # the third was not told before the process was killed
    for row in epochs(1, first=4):
        second.on_epoch(row)
    second.on_end("failed")

    found = client().search_runs(["1"])
    assert [each.info.run_name for each in found] == ["image"]
    data, number = found[0].data, found[0].info.run_id
    assert found[0].info.status == "FAILED"
    assert data.tags["zoo.status"] == "failed"
    assert (data.params["model.width"], data.params["seed"], data.params["data.name"]) == ("8", "3", "phantom")
    history = [(each.step, each.value) for each in client().get_metric_history(number, "loss")]
    assert history == [(epoch, pytest.approx(1 / epoch)) for epoch in (1, 2, 3, 4)]
    assert "val_auprc" not in data.metrics  # undefined
    assert [each.path for each in client().list_artifacts(number)] == ["config.yaml"]


def test_a_missing_server_is_an_error_at_once(run: Run, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ZooError, match=r"MLflow cannot be reached at http://127.0.0.1:9 .*--track mlflow=URI"):
        build("mlflow", "http://127.0.0.1:9").on_start(run.path, config.to_dict(), ())


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """What the event files hold, read by TensorFlow."""
    import tensorflow as tf

    found = []
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value if v.HasField("simple_value")]
    return found


def test_tensorboard_has_each_epoch_once_also_of_a_resumed_run(run: Run, config: RunConfig, tmp_path: Path) -> None:
    for rows in ((), tuple(epochs(1))):
        observer = build("tensorboard", str(tmp_path / "board"))
        observer.on_start(run.path, config.to_dict(), rows)
        observer.on_epoch(next(epochs(1, first=len(rows) + 1)))
        observer.on_end("interrupted")
    found = scalars(tmp_path / "board" / "image")
    assert [each for each in found if each[0] == "training/loss"] == [
        ("training/loss", 1, 1.0),
        ("training/loss", 2, 0.5),
    ]
    assert {name for name, _, _ in found} == {"training/loss", "training/lr", "validation/auroc"}


@pytest.mark.parametrize(("name", "library"), [("mlflow", "mlflow.tracking"), ("tensorboard", "tensorboardX")])
def test_a_missing_library_says_how_to_install_it(name: str, library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=r"pip install 'cxr-zoo\[track\]'"):
        build(name)


def test_trackers_are_named_with_their_places() -> None:
    assert [str(each) for each in parse(["mlflow=http://host:5000?a=b", "tensorboard"], registry())] == [
        "mlflow=http://host:5000?a=b",
        "tensorboard",
    ]
    with pytest.raises(UsageError, match="names mlflow twice"):
        parse(["mlflow", "mlflow=sqlite:///a.db"], registry())
    with pytest.raises(UsageError, match=r"unknown tracker 'mlfow'\. Did you mean 'mlflow'"):
        parse(["mlfow"], registry())


def test_what_tracks_a_run_is_noted_for_its_resumption(run: Run, config: RunConfig) -> None:
    remembered = observers(["tensorboard"], registry())[0]
    remembered.on_start(run.path, config.to_dict(), ())
    assert run.info() == {"status": "running", "track": ["tensorboard"]}


class Broken(Observer):
    """Fails from the second epoch on."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_epoch(self, row: Any) -> None:
        self.told.append(row["epoch"])
        if row["epoch"] == 3:
            raise Pruned
        if row["epoch"] > 1:
            raise ConnectionError("gone")

    def on_end(self, status: str) -> None:
        self.told.append(status)


def test_a_tracker_that_fails_later_costs_one_warning(run: Run, config: RunConfig, logged: list[str]) -> None:
    broken = Broken()
    guarded = Guarded("odd", broken)
    guarded.on_epoch({"epoch": 1})  # not started: not told
    guarded.on_start(run.path, config.to_dict(), ())
    for row in epochs(3):
        guarded.on_epoch(row)
    guarded.on_end("complete")
    assert broken.told == [1, 2]
    assert len(logged) == 1
    assert "the tracker odd failed and is switched off (ConnectionError: gone)" in logged[0]


def test_a_tracker_may_give_a_training_up(run: Run, config: RunConfig) -> None:
    guarded = Guarded("odd", Broken())
    guarded.on_start(run.path, config.to_dict(), ())
    with pytest.raises(Pruned):
        guarded.on_epoch({"epoch": 3})
