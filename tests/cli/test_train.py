"""`zoo train` as a user types it: what comes out, and what it leaves behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commandline import PHANTOM, QUICK, zoo

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_training_ends_in_a_table_with_intervals_and_a_run_that_holds_everything() -> None:
    result = zoo("train", *PHANTOM, "--run", "first")
    assert result.exit_code == 0, result.output
    assert "AUROC" in result.stdout
    assert "validation" in result.stdout
    assert "[" in result.stdout
    assert "runs/first" in result.stdout
    run = Path("runs/first")
    there = {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()}
    assert there >= {
        "config.yaml",
        "run.json",
        "data.json",
        "images.csv",
        "set_aside.csv",
        "metrics.csv",
        "model.keras",
        "checkpoints/best.weights.h5",
        "checkpoints/last.weights.h5",
        "predictions/val.csv",
        "predictions/test.csv",
        "evaluation-val.json",
        "evaluation-test.json",
        "metrics-test.csv",
    }
    assert not [name for name in there if "partial" in name]
    assert json.loads((run / "run.json").read_text())["status"] == "complete"


def test_no_patient_of_the_run_stands_in_two_splits(finished: Finished) -> None:
    finished()
    with Path("runs/first/images.csv").open() as file:
        rows = list(csv.DictReader(file))
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["patient"], set()).add(row["split"])
    assert len(rows) > 80
    assert all(len(s) == 1 for s in sides.values())
    assert {s for side in sides.values() for s in side} == {"train", "val", "test"}


def test_the_written_configuration_repeats_the_run_to_the_last_digit() -> None:
    assert zoo("train", *PHANTOM, "--run", "first", "--seed", "7").exit_code == 0
    assert zoo("train", "--config", "runs/first/config.yaml", "--run", "second").exit_code == 0
    first, second = (Path("runs", name, "predictions", "test.csv").read_text() for name in ("first", "second"))
    assert first == second
    assert zoo("train", "--config", "runs/first/config.yaml", "--run", "third", "--seed", "8").exit_code == 0
    assert Path("runs/third/predictions/test.csv").read_text() != first


def test_the_saved_network_gives_the_saved_predictions_without_zoo(finished: Finished) -> None:
    import keras
    import pandas as pd

    finished()
    network = keras.saving.load_model("runs/first/model.keras", compile=False, safe_mode=True)
    kept = pd.read_csv("runs/first/predictions/test.csv")
    store = Path(json.loads(Path("runs/first/data.json").read_text())["store"])
    names = pd.read_csv(store / "images.csv", dtype=str)["image"].tolist()
    rows = [names.index(str(image)) for image in kept["image"].astype(str)]
    logits = network.predict(np.load(store / "images.npy")[rows][..., None], verbose=0)
    np.testing.assert_allclose(logits[:, 0], kept.filter(like="logit:").iloc[:, 0], atol=1e-4)


def test_the_other_tasks_run_through(finished: Finished) -> None:
    assert 0 <= finished(task="multilabel")["test"]["per_label"]["Effusion"]["auroc"]["value"] <= 1
    result = zoo("train", *PHANTOM, "--task", "multiclass", "--json")
    assert result.exit_code == 0, result.output
    assert 0 <= json.loads(result.stdout)["test"]["per_label"]["No Finding"]["auroc"]["value"] <= 1


def test_freezing_trains_the_head_first_and_starting_from_a_run_loads_its_backbone(finished: Finished) -> None:
    finished()
    result = zoo(
        "train", *PHANTOM, "--task", "multilabel", "--weights", "first", "--freeze-epochs", "1", "--run", "second"
    )
    assert result.exit_code == 0, result.output
    assert "layers loaded" in result.stderr
    with Path("runs/second/metrics.csv").open() as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["head", "all"]


def test_without_epochs_of_the_whole_network_the_head_alone_is_trained(finished: Finished) -> None:
    import keras

    finished()
    result = zoo("train", *PHANTOM, "--weights", "first", "--freeze-epochs", "2", "--epochs", "0", "--run", "features")
    assert result.exit_code == 0, result.output
    with Path("runs/features/metrics.csv").open() as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["head", "head"]
    before, after = (
        keras.saving.load_model(f"runs/{name}/model.keras", compile=False) for name in ("first", "features")
    )
    for old, new in zip(*(each.get_layer("backbone").get_weights() for each in (before, after)), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (before.get_layer("logits").get_weights()[0] != after.get_layer("logits").get_weights()[0]).any()


def test_a_frozen_backbone_stays_as_it_was_loaded(finished: Finished) -> None:
    import keras

    from zoo.engine.fit import freeze

    finished()
    network = keras.saving.load_model("runs/first/model.keras", compile=False)
    freeze(network, True, False)
    assert [w.path.split("/")[0] for w in network.trainable_weights] == ["logits", "logits"]
    freeze(network, False, False)
    assert {w.path.split("/")[-1] for w in network.trainable_weights} == {"kernel", "bias", "gamma", "beta"}
    freeze(network, False, True)
    assert {w.path.split("/")[-1] for w in network.trainable_weights} == {"kernel", "bias"}


def test_without_data_the_command_says_what_it_trains_on() -> None:
    result = zoo("train", *QUICK, "--set", "data.patients=40", "--batch-size", "16")
    assert result.exit_code == 0, result.output
    assert "phantom" in result.stderr.splitlines()[0]


def test_early_stopping_and_the_plateau_schedule_say_what_they_do() -> None:
    words = [*PHANTOM, "--lr", "1e-12", "--patience", "2", "--schedule", "plateau", "--set", "schedule.patience=0"]
    result = zoo(
        "train", *words, "--epochs", "9", "--set", "schedule.min_lr=0", "--augment", "none", "--run", "stopped"
    )
    assert result.exit_code == 0, result.output
    assert "stopping early" in result.stderr
    assert "learning rate 1e-12 → 5e-13" in result.stderr
    assert len(Path("runs/stopped/metrics.csv").read_text().splitlines()) < 10


def test_a_diverging_training_is_named_and_keeps_its_run() -> None:
    result = zoo(
        "train",
        *PHANTOM,
        "--optimizer",
        "sgd",
        "--lr",
        "1e38",
        "--schedule",
        "constant",
        "--run",
        "wild",
        "--epochs",
        "3",
    )
    assert result.exit_code == 1
    assert "the training loss became" in result.stderr
    assert "Lower --lr" in result.stderr


def test_yaml_of_a_run_holds_every_setting(finished: Finished) -> None:
    finished()
    values = yaml.safe_load(Path("runs/first/config.yaml").read_text())
    model = {
        "name": "tiny-cnn",
        "pooling": "avg",
        "sharpness": 10.0,
        "hidden": 0,
        "dropout": 0.0,
        "width": 8,
        "depth": 1,
    }
    assert values["model"] == model
    assert values["epochs"] == 1
