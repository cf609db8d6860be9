"""`zoo train` and `zoo evaluate` as a user types them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from PIL import Image

from zoo.cli.main import cli

QUICK = [
    "--model",
    "tiny-cnn",
    "--set",
    "model.width=8",
    "--set",
    "model.depth=1",
    "--image-size",
    "32",
    "--epochs",
    "1",
]
PHANTOM = [*QUICK, "--data", "phantom", "--set", "data.patients=40", "--batch-size", "16"]


Finished = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of each task that tests may copy, and the cache they all use."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        for task in ("binary", "multilabel"):
            result = zoo("train", *PHANTOM, "--task", task, "--run", task, "--runs-dir", str(folder / "runs"), "--json")
            assert result.exit_code == 0, result.output
            (folder / f"{task}.json").write_text(result.stdout)
    return folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(shared / "cache"))


@pytest.fixture
def finished(shared: Path) -> Finished:
    """Put a finished run into runs/NAME; returns its results."""

    def put(name: str = "first", task: str = "binary") -> dict[str, Any]:
        shutil.copytree(shared / "runs" / task, Path("runs", name))
        return dict(json.loads((shared / f"{task}.json").read_text()))

    return put


def zoo(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def refused(result: Result, code: int, *parts: str) -> None:
    """One line on stderr, the right exit code, no traceback, and no run left behind."""
    assert result.exit_code == code, result.output
    error = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(error) == 1
    for part in parts:
        assert part in error[0]
    assert "Traceback" not in result.stderr
    assert not list(Path().glob("runs/*"))


# --- the main job -----------------------------------------------------------------------------------------------------


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
        "films.csv",
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
    with Path("runs/first/films.csv").open() as file:
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
    names = pd.read_csv(store / "films.csv", dtype=str)["image"].tolist()
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
    result = zoo("train", *PHANTOM, "--task", "multilabel", "--weights", "first", "--freeze", "--run", "second")
    assert result.exit_code == 0, result.output
    assert "layers loaded" in result.stderr
    with Path("runs/second/metrics.csv").open() as file:
        assert [row["phase"] for row in csv.DictReader(file)] == ["head", "all"]


def test_a_frozen_backbone_stays_as_it_was_loaded(finished: Finished) -> None:
    import keras

    from zoo.engine.train import _freeze

    finished()
    network = keras.saving.load_model("runs/first/model.keras", compile=False)
    _freeze(network, True, False)
    assert [w.path.split("/")[0] for w in network.trainable_weights] == ["logits", "logits"]
    _freeze(network, False, False)
    assert {w.path.split("/")[-1] for w in network.trainable_weights} == {"kernel", "bias", "gamma", "beta"}
    _freeze(network, False, True)
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
        "1e30",
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


# --- evaluating -------------------------------------------------------------------------------------------------------


def test_evaluate_shows_the_saved_results_again_without_keras(finished: Finished) -> None:
    trained = finished()
    for split in ("val", "test"):
        again = json.loads(zoo("evaluate", "first", "--split", split, "--json").stdout)
        assert again["per_label"] == trained[split]["per_label"]
    code = "import sys; from zoo.cli.main import cli; cli(sys.argv[1:], standalone_mode=False); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "evaluate", "first"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_evaluate_on_other_films_uses_all_of_them(finished: Finished) -> None:
    finished(task="multilabel")
    words = ["--data", "phantom", "--set", "data.patients=15", "--set", "data.seed=5", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    evaluation = json.loads(result.stdout)
    assert evaluation["patients"] == 15
    kept = next(Path("runs/first/evaluations").glob("phantom-*/predictions.csv"))
    assert len(kept.read_text().splitlines()) == evaluation["images"] + 1


def test_evaluate_on_other_films_matches_labels_by_name(finished: Finished) -> None:
    finished(task="multilabel")
    films(12)
    table("image,effusion,Hernia", [f"{i}.png,{i % 2},0" for i in range(12)])
    Path("films/t.csv").write_text(Path("films/t.csv").read_text().replace("0.png,0,0", "0.png,0,1"))
    words = ["--data", "csv", "--root", "films", "--set", "data.labels=effusion,Hernia", "--json"]
    result = zoo("evaluate", "first", *words)
    assert result.exit_code == 0, result.output
    labels = json.loads(result.stdout)["per_label"]
    assert labels["Effusion"]["auroc"]["value"] is not None
    assert labels["Nodule"]["auroc"]["value"] is None


def test_evaluating_on_films_of_the_training_says_that_the_result_is_too_good(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--data", "phantom", "--set", "data.patients=40")
    assert result.exit_code == 0, result.output
    assert "were used in training or validation" in " ".join(result.stdout.split())
    other = zoo("evaluate", "first", "--data", "phantom", "--set", "data.patients=40", "--set", "data.seed=3")
    assert "used in training" not in " ".join(other.stdout.split())


def test_films_that_cannot_be_evaluated_are_counted_and_kept_with_their_reason(finished: Finished) -> None:
    finished(task="multilabel")
    films(12)
    Path("films/3.png").write_text("a letter")
    table("image,label", [f"{i}.png,{'Mass [large]|Effusion' if i % 2 else 'No Finding'}" for i in range(12)])
    result = zoo("evaluate", "first", "--data", "csv", "--root", "films")
    assert result.exit_code == 0, result.output
    assert "1 films set aside" in result.stderr
    kept = next(Path("runs/first/evaluations").glob("csv-*/set_aside.csv"))
    assert "3.png,not an image" in kept.read_text()


def test_evaluate_needs_the_root_of_a_dataset_on_disk(finished: Finished) -> None:
    finished()
    result = zoo("evaluate", "first", "--data", "nih")
    assert result.exit_code == 2
    assert "--root DIR" in result.stderr


def test_looking_at_a_run_changes_nothing_in_it(finished: Finished) -> None:
    finished()
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


# --- bad input --------------------------------------------------------------------------------------------------------


def films(count: int, size: int = 40) -> None:
    Path("films").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (size, size), dtype=np.uint8)).save(f"films/{i}.png")


def table(header: str, rows: list[str]) -> None:
    Path("films/t.csv").write_text("\n".join([header, *rows]) + "\n")


CSV = [*QUICK, "--data", "csv", "--root", "films", "--batch-size", "4"]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--model", "mobilnetv3"], ["unknown model 'mobilnetv3'", "Did you mean 'mobilenetv3'?", "zoo list models"]),
        (["--task", "binnary"], ["Did you mean 'binary'?"]),
        (["--loss", "bcee"], ["unknown loss 'bcee'", "'bce'"]),
        (["--augment", "strong"], ["unknown augmenter 'strong'"]),
        (["--data", "nhi", "--root", "."], ["unknown dataset 'nhi'", "'nih'"]),
        (["--recipe", "mobilenet-binary"], ["'mobilenetv3-binary'"]),
        (["--set", "model.alfa=1"], ["Did you mean 'alpha'?", "zoo info mobilenetv3"]),
        (["--set", "model.alpha=wide"], ["model.alpha", "'wide'"]),
        (["--epochs", "0"], ["epochs", "0"]),
        (["--data", "nih"], ["--root DIR"]),
        (["--data", "nih", "--root", "nowhere"], ["nowhere does not exist"]),
        (["--image-size", "20"], ["too small", "32"]),
        (
            ["--batch-size", "5000", "--set", "data.patients=40"],
            ["batch size 5000 is larger than the", "training films"],
        ),
        (["--run", "a/b"], ["a run's name"]),
        (["--device", "tpu"], ["unknown device 'tpu'"]),
        (["--weights", "nowhere.keras"], ["nowhere.keras"]),
    ],
)
def test_bad_usage_is_one_clear_line(words: list[str], parts: list[str]) -> None:
    refused(zoo("train", "--limit", "60", *words), 2, *parts)


def test_a_missing_option_name_is_answered_by_click_with_the_closest() -> None:
    result = zoo("train", "--epoch", "3")
    assert result.exit_code == 2
    assert "--epochs" in result.stderr


def test_an_empty_folder() -> None:
    Path("empty").mkdir()
    refused(zoo("train", *QUICK, "--data", "folder", "--root", "empty"), 1, "empty")
    refused(zoo("train", *QUICK, "--data", "nih", "--root", "empty"), 1, "Data_Entry_2017")
    refused(zoo("train", *QUICK, "--data", "csv", "--root", "empty"), 1, "csv")


def test_a_table_without_the_needed_columns() -> None:
    films(4)
    table("file,finding", ["0.png,Mass"])
    refused(zoo("train", *CSV), 1, "image", "file, finding")


def test_a_label_that_is_never_positive() -> None:
    films(4)
    table("image,Mass,Nodule", [f"{i}.png,{i % 2},0" for i in range(4)])
    refused(zoo("train", *CSV, "--set", "data.labels=Mass,Nodule"), 1, "Nodule")


def test_a_split_with_one_class_only() -> None:
    films(30)
    rows = [f"{i}.png,{'Mass' if i < 15 else 'No Finding'},{'train' if i < 15 else 'test'}" for i in range(30)]
    table("image,label,split", rows)
    refused(zoo("train", *CSV), 1, "training films are abnormal")


def test_a_published_test_split_that_cannot_be_used_is_not_replaced_by_a_drawn_one() -> None:
    films(40)
    for i in range(30, 40):
        Path(f"films/{i}.png").write_text("a letter")
    label = ["Mass" if i % 2 else "No Finding" for i in range(40)]
    table("image,label,split", [f"{i}.png,{label[i]},{'test' if i >= 30 else 'train'}" for i in range(40)])
    refused(zoo("train", *CSV), 1, "none of the 10 published test films can be used", "not an image")


def test_a_split_with_nothing_to_train_on() -> None:
    films(10)
    table("image,label,split", [f"{i}.png,{'Mass' if i % 2 else 'No Finding'},test" for i in range(10)])
    refused(zoo("train", *CSV), 1, "no film to train on")


def test_validation_films_of_one_class_cannot_pick_the_best_epoch() -> None:
    films(40)
    split = ["val" if i % 4 == 0 else "test" if i % 4 == 1 else "train" for i in range(40)]
    table("image,label,split", [f"{i}.png,{'Mass' if i % 3 and i % 4 else 'No Finding'},{split[i]}" for i in range(40)])
    refused(zoo("train", *CSV), 1, "val_auroc is undefined", "--monitor val_loss")
    assert zoo("train", *CSV, "--monitor", "val_loss").exit_code == 0


def test_a_label_with_brackets_is_shown_as_it_is() -> None:
    films(60)
    rows = [f"{i}.png,{'Mass [large]' if i % 2 else 'Nodule [/x]' if i % 3 else 'No Finding'}" for i in range(60)]
    table("image,label", rows)
    result = zoo("train", *CSV, "--task", "multilabel")
    assert result.exit_code == 0, result.output
    assert "Mass [large]" in result.stdout


def test_a_file_name_that_is_not_unicode_is_set_aside() -> None:
    for kind in ("NORMAL", "SICK"):
        Path("folders", kind).mkdir(parents=True)
        for i in range(30):
            pixels = np.random.default_rng(i).integers(0, 256, (40, 40), dtype=np.uint8)
            Image.fromarray(pixels + (kind == "SICK")).save(f"folders/{kind}/{i}.png")
    os.rename(b"folders/SICK/7.png", b"folders/SICK/caf\xe9.png")
    result = zoo("train", *QUICK, "--data", "folder", "--root", "folders", "--batch-size", "4", "--run", "names")
    assert result.exit_code == 0, result.output
    assert "not Unicode" in Path("runs/names/set_aside.csv").read_text()


def test_published_weights_without_a_network_end_in_the_two_ways_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def no_network(*args: object, **keywords: object) -> None:
        raise Exception("URL fetch failure on the host: None -- [Errno -2] Name or service not known") from OSError()

    monkeypatch.setattr(keras.src.applications.mobilenet_v3.file_utils, "get_file", no_network)
    words = ["--data", "phantom", "--set", "data.patients=40", "--batch-size", "16", "--image-size", "32"]
    refused(zoo("train", *words, "--weights", "imagenet"), 1, "--weights none", "--weights PATH")


def test_an_unwritable_run_directory() -> None:
    Path("blocked").write_text("a file")
    refused(zoo("train", *PHANTOM, "--runs-dir", "blocked"), 1, "blocked", "--runs-dir")


def test_an_existing_run_name_is_not_overwritten(finished: Finished) -> None:
    finished()
    before = Path("runs/first/predictions/test.csv").read_text()
    result = zoo("train", *PHANTOM, "--run", "first")
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert Path("runs/first/predictions/test.csv").read_text() == before


def png_16bit(path: Path) -> None:
    """A 16-bit gray PNG, written by hand so that no library decides what is in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + b"".join(struct.pack(">H", 257 * x) for x in range(40))
    header = struct.pack(">IIBBBBB", 40, 40, 16, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 40)) + chunk(b"IEND", b"")
    )


def test_bad_films_are_counted_and_set_aside_with_their_reasons_and_odd_ones_are_used() -> None:
    films(60)
    whole = Path("films/0.png").read_bytes()
    Path("films/0.png").write_bytes(whole[: len(whole) // 2])
    Path("films/1.png").write_text("a letter")
    Path("films/2.png").write_bytes(b"")
    Path("films/3.png").unlink()
    png_16bit(Path("films/4.png"))
    Image.open("films/5.png").convert("RGBA").save("films/5.png")
    table("image,label", [f"{i}.png,{'Mass' if i % 2 else 'No Finding'}" for i in range(60)])
    result = zoo("train", *CSV, "--run", "odd")
    assert result.exit_code == 0, result.output
    assert "4 films set aside" in result.stderr
    assert "2 films were normalised" in result.stderr
    with Path("runs/odd/set_aside.csv").open() as file:
        reasons = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {f"{i}.png" for i in range(4)}
    assert "truncated" in reasons["0.png"]
    assert "not an image" in reasons["1.png"]
    assert "missing" in reasons["3.png"]
    with Path("runs/odd/films.csv").open() as file:
        assert {"4.png", "5.png"} <= {row["image"] for row in csv.DictReader(file)}


def test_an_identical_film_in_training_and_test_is_refused_or_set_aside_on_request() -> None:
    films(60)
    Path("films/59.png").write_bytes(Path("films/0.png").read_bytes())
    label = ["Mass" if i % 2 else "No Finding" for i in range(60)]
    table("image,label,split", [f"{i}.png,{label[i]},{'test' if i >= 40 else 'train'}" for i in range(60)])
    refused(zoo("train", *CSV), 1, "0.png", "--drop-leaks")
    result = zoo("train", *CSV, "--drop-leaks", "--run", "clean")
    assert result.exit_code == 0, result.output
    assert "0.png,identical film in a later split" in Path("runs/clean/set_aside.csv").read_text()


def test_yaml_of_a_run_holds_every_setting(finished: Finished) -> None:
    finished()
    values = yaml.safe_load(Path("runs/first/config.yaml").read_text())
    assert values["model"] == {"name": "tiny-cnn", "pooling": "avg", "dropout": 0.0, "width": 8, "depth": 1}
    assert values["epochs"] == 1
