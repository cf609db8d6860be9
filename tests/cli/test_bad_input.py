"""Bad input through the command line: one clear line and the right exit code, or counted and set aside."""

from __future__ import annotations

import csv
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import CSV, PHANTOM, QUICK, make_images, refused, table, zoo
from PIL import Image

Finished = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("elsewhere")


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
            ["batch size 5000 is larger than the", "training images"],
        ),
        (["--run", "a/b"], ["a run's name"]),
        (["--device", "tpu"], ["unknown device 'tpu'"]),
        (["--weights", "nowhere.keras"], ["nowhere.keras"]),
    ],
)
def test_bad_usage_is_one_clear_line(words: list[str], parts: list[str]) -> None:
    refused(zoo("train", "--limit", "60", *words), 2, *parts)


def test_an_unknown_option_gets_click_s_closest_match() -> None:
    result = zoo("train", "--epoch", "3")
    assert result.exit_code == 2
    assert "--epochs" in result.stderr


@pytest.mark.parametrize("name", ["bad.keras", "bad.weights.h5", "bad.h5"])
def test_a_damaged_weights_file_is_found_before_images_are_prepared(name: str) -> None:
    Path(name).write_bytes(b"not weights" * 100)
    result = zoo("train", *PHANTOM, "--weights", name)
    refused(result, 1, f"{name} cannot be read, it may be damaged")
    assert "Preparing" not in result.stderr
    assert not list(Path("runs").iterdir())


def test_an_empty_folder() -> None:
    Path("empty").mkdir()
    refused(zoo("train", *QUICK, "--data", "folder", "--root", "empty"), 1, "empty")
    refused(zoo("train", *QUICK, "--data", "nih", "--root", "empty"), 1, "Data_Entry_2017")
    refused(zoo("train", *QUICK, "--data", "csv", "--root", "empty"), 1, "csv")


def test_a_table_without_the_needed_columns() -> None:
    make_images(4)
    table("thing,other", ["0.png,Mass"])
    refused(zoo("train", *CSV), 1, "image", "thing, other")


def test_a_label_that_is_never_positive() -> None:
    make_images(4)
    table("image,Mass,Nodule", [f"{i}.png,{i % 2},0" for i in range(4)])
    refused(zoo("train", *CSV, "--set", "data.labels=Mass,Nodule"), 1, "Nodule")


def test_a_split_with_one_class_only() -> None:
    make_images(30)
    rows = [f"{i}.png,{'Mass' if i < 15 else 'No Finding'},{'train' if i < 15 else 'test'}" for i in range(30)]
    table("image,label,split", rows)
    refused(zoo("train", *CSV), 1, "training images are abnormal")


def test_a_published_test_split_that_cannot_be_used_is_not_replaced_by_a_drawn_one() -> None:
    make_images(40)
    for i in range(30, 40):
        Path(f"images/{i}.png").write_text("a letter")
    label = ["Mass" if i % 2 else "No Finding" for i in range(40)]
    table("image,label,split", [f"{i}.png,{label[i]},{'test' if i >= 30 else 'train'}" for i in range(40)])
    refused(zoo("train", *CSV), 1, "none of the 10 published test images can be used", "not an image")


def test_a_test_split_that_has_to_be_drawn_is_not_called_published() -> None:
    make_images(60)
    label = ["Mass" if i % 2 else "No Finding" for i in range(60)]
    table("image,label,split", [f"{i}.png,{label[i]},{'val' if i >= 45 else 'train'}" for i in range(60)])
    result = zoo("train", *CSV, "--run", "drawn")
    assert result.exit_code == 0, result.output
    assert "published" not in result.stderr
    assert json.loads(Path("runs/drawn/data.json").read_text())["split"] == "drawn"


def test_a_split_with_nothing_to_train_on() -> None:
    make_images(10)
    table("image,label,split", [f"{i}.png,{'Mass' if i % 2 else 'No Finding'},test" for i in range(10)])
    refused(zoo("train", *CSV), 1, "no image to train on")


def test_validation_images_of_one_class_cannot_pick_the_best_epoch() -> None:
    make_images(40)
    split = ["val" if i % 4 == 0 else "test" if i % 4 == 1 else "train" for i in range(40)]
    table("image,label,split", [f"{i}.png,{'Mass' if i % 3 and i % 4 else 'No Finding'},{split[i]}" for i in range(40)])
    refused(zoo("train", *CSV), 1, "val_auroc is undefined", "--monitor val_loss")
    assert zoo("train", *CSV, "--monitor", "val_loss").exit_code == 0


def test_a_label_with_brackets_is_shown_as_it_is() -> None:
    make_images(60)
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


def test_bad_images_are_counted_and_set_aside_with_their_reasons_and_odd_ones_are_used() -> None:
    make_images(60)
    whole = Path("images/0.png").read_bytes()
    Path("images/0.png").write_bytes(whole[: len(whole) // 2])
    Path("images/1.png").write_text("a letter")
    Path("images/2.png").write_bytes(b"")
    Path("images/3.png").unlink()
    png_16bit(Path("images/4.png"))
    Image.open("images/5.png").convert("RGBA").save("images/5.png")
    table("image,label", [f"{i}.png,{'Mass' if i % 2 else 'No Finding'}" for i in range(60)])
    result = zoo("train", *CSV, "--run", "odd")
    assert result.exit_code == 0, result.output
    assert "4 images set aside" in result.stderr
    assert "2 images were normalised" in result.stderr
    with Path("runs/odd/set_aside.csv").open() as file:
        reasons = {row["image"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {f"{i}.png" for i in range(4)}
    assert "truncated" in reasons["0.png"]
    assert "not an image" in reasons["1.png"]
    assert "missing" in reasons["3.png"]
    with Path("runs/odd/images.csv").open() as file:
        assert {"4.png", "5.png"} <= {row["image"] for row in csv.DictReader(file)}


def test_an_identical_image_in_training_and_test_is_refused_or_set_aside_on_request() -> None:
    make_images(60)
    Path("images/59.png").write_bytes(Path("images/0.png").read_bytes())
    label = ["Mass" if i % 2 else "No Finding" for i in range(60)]
    table("image,label,split", [f"{i}.png,{label[i]},{'test' if i >= 40 else 'train'}" for i in range(60)])
    refused(zoo("train", *CSV), 1, "0.png", "--drop-leaks")
    result = zoo("train", *CSV, "--drop-leaks", "--run", "clean")
    assert result.exit_code == 0, result.output
    assert "0.png,identical image in a later split" in Path("runs/clean/set_aside.csv").read_text()
