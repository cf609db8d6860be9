"""`zoo data export`, and training from what it wrote."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from commandline import refused, zoo

IMAGES = ["--data", "phantom", "--set", "data.patients=60", "--image-size", "32"]
READ = """
import pickle, sys
from pathlib import Path
from zoo.core.registry import registry
from zoo.data.store import prepare
dataset = registry().get("dataset", "tfrecord")
records = dataset.read(Path(sys.argv[1]), dataset.Options())
store = prepare(records, 32)
Path(sys.argv[2]).write_bytes(pickle.dumps((records.source, list(records.table["path"]))))
print(len(records), store.images.shape)
"""
READ_PIXELS = """
import pickle, sys
from pathlib import Path
source, paths = pickle.loads(Path(sys.argv[1]).read_bytes())
print({source.read(path)[0].shape for path in paths}, "tensorflow" in sys.modules)
"""


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def test_export_says_what_it_wrote_and_how_to_train_on_it() -> None:
    result = zoo("data", "export", *IMAGES, "--out", "images")
    assert result.exit_code == 0, result.output
    assert "Exported: " in result.stdout
    assert "Train on it: zoo train --data tfrecord --root images --image-size 32" in result.stdout
    metadata = json.loads(Path("images/metadata.json").read_text())
    names = set(metadata["shards"])
    assert {p.name for p in Path("images").iterdir()} == names | {"metadata.json"}
    assert metadata["images"] == sum(metadata["shards"].values())
    again = zoo("data", "export", *IMAGES, "--out", "images")
    refused(again, 2, "--out images exists already")


def test_json_has_every_figure_and_shards_have_the_asked_size() -> None:
    result = zoo("data", "export", *IMAGES, "--out", "a", "--encoding", "raw", "--shard-mb", "1", "--json")
    found = json.loads(result.stdout)
    assert found["folder"] == "a"
    assert sum(found["split"].values()) == sum(found["shards"].values())
    assert sum(Path("a", name).stat().st_size for name in found["shards"]) == found["bytes"]
    assert all(Path("a", name).stat().st_size < 1.1e6 for name in found["shards"])


def test_an_export_is_read_on_jax_and_its_pixels_without_tensorflow(run_python: Any, tmp_path: Path) -> None:
    images = json.loads(zoo("data", "export", *IMAGES, "--out", "images", "--json").stdout)["split"]
    count, listed = sum(images.values()), str(tmp_path / "listed")
    result = run_python("-c", READ, str(tmp_path / "images"), listed, KERAS_BACKEND="jax")
    assert (result.returncode, result.stdout) == (0, f"{count} ({count}, 32, 32)\n"), result.stderr
    result = run_python("-c", READ_PIXELS, listed)
    assert (result.returncode, result.stdout) == (0, "{(32, 32)} False\n"), result.stderr


def test_the_split_drawn_on_the_export_is_that_of_the_dataset() -> None:
    assert zoo("data", "export", *IMAGES, "--out", "images").exit_code == 0
    for task, seed in (("binary", "0"), ("multilabel", "5"), ("multiclass", "1")):
        options = ["--task", task, "--seed", seed, "--image-size", "32", "--limit", "70", "--json"]
        one, other = (
            json.loads(zoo("data", "prepare", *data, *options).stdout)
            for data in (IMAGES[:4], ["--data", "tfrecord", "--root", "images"])
        )
        assert one["split"] == other["split"]
        assert one["labels"] == other["labels"]
        assert one["set_aside"] == other["set_aside"]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--out", "x"], 2, "name a dataset with --data"),
        (["--data", "nih", "--out", "x"], 2, "needs --root DIR"),
        (["--data", "phantom", "--out", "x", "--set", "model.width=3"], 2, "--set data.OPTION=VALUE only"),
    ],
)
def test_what_cannot_be_exported_is_refused(words: list[str], code: int, part: str) -> None:
    refused(zoo("data", "export", *words), code, part)
    assert not list(Path().iterdir())


def weights(run: Path) -> dict[str, np.ndarray]:
    (file,) = run.glob("*.keras")
    found: dict[str, np.ndarray] = {}
    with h5py.File(io.BytesIO(zipfile.ZipFile(file).read("model.weights.h5"))) as tree:
        tree.visititems(lambda name, each: found.update({name: each[()]}) if isinstance(each, h5py.Dataset) else None)
    return found


@pytest.mark.slow
def test_training_on_the_export_gives_the_same_weights_and_predictions() -> None:
    assert zoo("data", "export", *IMAGES, "--out", "images").exit_code == 0
    network = ["--model", "tiny-cnn", "--set", "model.width=8", "--set", "model.depth=1", "--image-size", "32"]
    how = [*network, "--task", "multilabel", "--epochs", "2", "--batch-size", "16", "--seed", "3"]
    for name, data in (("one", IMAGES[:4]), ("other", ["--data", "tfrecord", "--root", "images"])):
        result = zoo("train", *how, *data, "--run", name)
        assert result.exit_code == 0, result.output
    one, other = weights(Path("runs/one")), weights(Path("runs/other"))
    assert one.keys() == other.keys()
    assert len(one) > 4
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)
    for split in ("val", "test"):
        tables = [pd.read_csv(f"runs/{name}/predictions/{split}.csv") for name in ("one", "other")]
        shared = [c for c in tables[0] if c in tables[1] and c != "digest"]
        assert len(shared) > 10
        pd.testing.assert_frame_equal(tables[0][shared], tables[1][shared], check_exact=False, rtol=1e-7)
        numbers = [c for c in shared if c.startswith(("prob", "logit"))]
        pd.testing.assert_frame_equal(tables[0][numbers], tables[1][numbers], check_exact=True)
