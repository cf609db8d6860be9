"""MedMNIST's chest sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.core.errors import DataError
from zoo.core.records import Records
from zoo.datasets.medmnist import MedMnist, MedMnistOptions

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "pneumoniamnist"
RNG = np.random.default_rng(3)


def arrays(columns: int = 1, side: int = 28, **changes: Any) -> dict[str, np.ndarray]:
    made: dict[str, np.ndarray] = {}
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        made[f"{split}_images"] = RNG.integers(0, 256, (count, side, side), dtype=np.uint8)
        made[f"{split}_labels"] = RNG.integers(0, 2, (count, columns), dtype=np.uint8)
    return {name: array for name, array in {**made, **changes}.items() if array is not None}


def read(root: Path | None, **options: str) -> Records:
    return MedMnist().read(root, MedMnistOptions(**options))


def test_pneumoniamnist(tmp_path: Path) -> None:
    made = arrays()
    np.savez_compressed(tmp_path / "pneumoniamnist.npz", **made)
    records = read(tmp_path)
    table = records.table
    assert (records.labels, records.normal) == (("pneumonia",), "normal")
    assert table["split"].tolist() == ["train"] * 6 + ["val"] * 3 + ["test"] * 4
    assert table["image"].tolist()[5:7] == ["train/5", "val/0"]
    np.testing.assert_array_equal(
        table["pneumonia"], np.concatenate([made[f"{s}_labels"][:, 0] for s in ("train", "val", "test")])
    )
    assert (records.official_split, records.patients_known) == (True, False)
    assert any("28×28 pixels" in note for note in records.notes)
    pixels, note = records.source.read(table["path"][7])
    np.testing.assert_array_equal(pixels, made["val_images"][1])
    assert note == ""


def test_chestmnist_has_its_fourteen_labels_in_order(tmp_path: Path) -> None:
    labels = np.vstack([np.eye(14, dtype=np.uint8), np.zeros((1, 14), np.uint8)])
    images = np.zeros((15, 64, 64), np.uint8)
    np.savez(tmp_path / "chestmnist_64.npz", **arrays(14, 64, train_labels=labels, train_images=images))
    records = read(tmp_path)
    expected = (
        "atelectasis cardiomegaly effusion infiltration mass nodule pneumonia pneumothorax consolidation edema "
        "emphysema fibrosis pleural hernia"
    )
    assert " ".join(records.labels) == expected
    np.testing.assert_array_equal(records.table.loc[:14, list(records.labels)], labels)
    assert records.normal == "no finding"
    assert any("64×64" in note for note in records.notes)


def test_the_file_can_be_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays())
    np.savez(tmp_path / "pneumoniamnist_64.npz", **arrays(side=64))
    with pytest.raises(DataError, match=r"has pneumoniamnist.npz, pneumoniamnist_64.npz: say which .* option file"):
        read(tmp_path)
    assert any("64×64" in note for note in read(tmp_path, file="pneumoniamnist_64.npz").notes)
    with pytest.raises(DataError, match=r"chestmnist.npz does not exist \(option file\)"):
        read(tmp_path, file="chestmnist.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test_labels": None}, "has no test_labels. Its arrays: train_images, train_labels"),
        ({"val_images": np.zeros((3, 28), np.uint8)}, r"val_images has shape \(3, 28\), not \(N, H, W\)"),
        ({"val_images": np.zeros((3, 28, 28), np.float32)}, "val_images has type float32, not uint8"),
        ({"val_images": np.zeros((3, 32, 32), np.uint8)}, r"images of several sizes: \(28, 28\), \(32, 32\)"),
        ({"val_labels": np.zeros((2, 1), np.uint8)}, r"val_labels has shape \(2, 1\), not \(3, 1\)"),
        ({"val_labels": np.full((3, 1), 5, np.uint8)}, "val_labels has the value 5; labels are 0 and 1"),
        ({"val_labels": np.array([[{}]] * 3, dtype=object)}, "cannot be read as an .npz file"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "pneumoniamnist.npz", **arrays(**changes))
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert str(tmp_path / "pneumoniamnist.npz") in str(caught.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no root folder was given"):
        read(None)
    np.savez(tmp_path / "breastmnist.npz", **arrays())
    with pytest.raises(DataError, match=r"no chest set of MedMNIST \(.npz files there: breastmnist.npz\)"):
        read(tmp_path)
    with pytest.raises(DataError, match="not a chest set of MedMNIST by its name"):
        read(tmp_path, file="breastmnist.npz")
    (tmp_path / "pneumoniamnist.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        read(tmp_path)
    np.savez_compressed(tmp_path / "pneumoniamnist.npz", **arrays())
    content = (tmp_path / "pneumoniamnist.npz").read_bytes()
    (tmp_path / "pneumoniamnist.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
        read(tmp_path)


def test_the_real_file() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    records = read(SHARED)
    counts = records.table.groupby("split")["pneumonia"].agg(["count", "sum"])
    assert counts.to_dict("index") == {
        "train": {"count": 4708, "sum": 3494},
        "val": {"count": 524, "sum": 389},
        "test": {"count": 624, "sum": 390},
    }
    assert records.source.read("test/623")[0].shape == (28, 28)
