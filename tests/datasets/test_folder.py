"""One folder per class, with and without split folders on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import DataError, UsageError
from zoo.core.records import BadImage, Records
from zoo.datasets.folder import Folder, FolderOptions


def build(root: Path, *files: str) -> Path:
    for name in files:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 5), 60, np.uint8)).save(file)
    return root


def read(root: Path | None, **options: str) -> Records:
    return Folder().read(root, FolderOptions(**options))


def test_a_folder_per_class(tmp_path: Path) -> None:
    records = read(build(tmp_path, "NORMAL/b.png", "PNEUMONIA/a.JPEG", "NORMAL/a.bmp", "PNEUMONIA/deeper/c.TIF"))
    table = records.table
    assert table["image"].tolist() == ["NORMAL/a.bmp", "NORMAL/b.png", "PNEUMONIA/a.JPEG", "PNEUMONIA/deeper/c.TIF"]
    assert (records.labels, records.normal) == (("PNEUMONIA",), "NORMAL")
    assert table["PNEUMONIA"].tolist() == [0, 0, 1, 1]
    assert table["patient"].tolist() == table["image"].tolist()
    assert (records.patients_known, records.official_split) == (False, False)
    assert "split" not in table.columns
    assert any("patient_pattern" in note for note in records.notes)
    assert [records.source.read(path)[0].shape for path in table["path"]] == [(6, 5)] * 4


def test_split_folders_are_the_official_split(tmp_path: Path) -> None:
    files = ("train/NORMAL/a.png", "train/ill/a.png", "valid/ill/b.png", "test/NORMAL/c.png", "test/ill/d.webp")
    records = read(build(tmp_path, *files, "extra/NORMAL/e.png"))
    split = dict(zip(records.table["image"], records.table["split"], strict=True))
    assert split == {f: {"train": "train", "valid": "val", "test": "test"}[f.split("/")[0]] for f in files}
    assert records.official_split
    assert "the class 'NORMAL' has no images in val" in records.notes
    assert records.set_aside.to_dict("records") == [{"image": "extra/", "reason": "a folder beside test, train, valid"}]


def test_train_and_val_alone_are_no_official_split(tmp_path: Path) -> None:
    records = read(build(tmp_path, "train/normal/a.png", "train/ill/a.png", "val/normal/b.png", "val/ill/b.png"))
    assert not records.official_split
    assert sorted(records.table["split"].unique()) == ["train", "val"]
    assert any("no test folder beside train and val" in note for note in records.notes)


def test_other_files_are_set_aside_with_a_reason(tmp_path: Path) -> None:
    build(tmp_path, "normal/a.png", "ill/a.png", ".cache/x.png")
    (tmp_path / "ill" / "notes.txt").write_text("x")
    (tmp_path / "ill" / "LICENSE").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    (tmp_path / "ill" / "fake.png").write_text("no image")
    (tmp_path / "ill" / "linked").symlink_to(tmp_path / "normal")
    records = read(tmp_path)
    reasons = dict(zip(records.set_aside["image"], records.set_aside["reason"], strict=True))
    assert reasons == {
        "ill/notes.txt": "not an image file (.txt)",
        "ill/LICENSE": "not an image file (no extension)",
        "readme.md": "in no class folder",
        ".cache/": "a hidden folder",
        "ill/linked": "a link to a folder that is read already",
    }
    assert records.table["image"].tolist() == ["ill/a.png", "ill/fake.png", "normal/a.png"]
    assert (records.labels, records.normal) == (("ill",), "normal")
    with pytest.raises(BadImage, match="not an image"):
        records.source.read("ill/fake.png")


@pytest.mark.parametrize("name", ["Normal", "No Finding", "no_finding", "No-Finding", "NEGATIVE", "healthy"])
def test_the_normal_class_is_recognised(tmp_path: Path, name: str) -> None:
    records = read(build(tmp_path, f"{name}/a.png", "x/a.png", "y/a.png"))
    assert (records.normal, records.labels) == (name, ("x", "y"))


def test_the_normal_class_can_be_named_or_be_absent(tmp_path: Path) -> None:
    build(tmp_path, "control/a.png", "tb/a.png")
    assert read(tmp_path).normal is None
    assert read(tmp_path).labels == ("control", "tb")
    records = read(tmp_path, normal="Control")
    assert (records.normal, records.labels) == ("control", ("tb",))
    with pytest.raises(DataError, match=r"has no class 'contrl' .*Did you mean 'control'\? Classes: control, tb"):
        read(tmp_path, normal="contrl")
    build(tmp_path, "normal/a.png", "healthy/a.png")
    with pytest.raises(DataError, match="'healthy' and 'normal' could each mean normal"):
        read(tmp_path)
    assert read(tmp_path, normal="healthy").labels == ("control", "normal", "tb")


def test_patients_from_the_file_name(tmp_path: Path) -> None:
    build(tmp_path, "normal/p12_0.png", "normal/p12_1.png", "ill/p3_0.png")
    records = read(tmp_path, patient_pattern=r"^p(\d+)_")
    assert records.table["patient"].tolist() == ["3", "12", "12"]
    assert records.patients_known
    assert records.notes == ()


def test_patterns_that_cannot_work(tmp_path: Path) -> None:
    build(tmp_path, "normal/p12_0.png", "ill/q3_0.png")
    with pytest.raises(DataError, match=r"finds no patient in 1 of 2 paths, 'ill/q3_0.png' for one"):
        read(tmp_path, patient_pattern=r"^p(\d+)_")
    with pytest.raises(DataError, match="finds no patient in 1 of 2"):
        read(tmp_path, patient_pattern=r"q|p(\d+)")
    with pytest.raises(UsageError, match="has no group"):
        read(tmp_path, patient_pattern=r"\d+")
    with pytest.raises(UsageError, match=r"'\(' is not a regular expression"):
        read(tmp_path, patient_pattern="(")


def test_layouts_that_are_not_there_show_an_example(tmp_path: Path) -> None:
    example = "ROOT/PNEUMONIA"
    for root, message in (
        (None, "no root folder"),
        (tmp_path / "no", "does not exist"),
        (tmp_path, "no image files in"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            read(root)
        assert example in str(caught.value)
    build(tmp_path, "train/a/x.png", "test/a/y.png")
    with pytest.raises(DataError, match=r"only one class has images in .*: 'a'") as caught:
        read(tmp_path)
    assert example in str(caught.value)
    with pytest.raises(DataError, match="is not a folder"):
        read(tmp_path / "train" / "a" / "x.png")


def test_class_names_that_cannot_be_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a class cannot be called 'image'"):
        read(build(tmp_path / "reserved", "image/x.png", "ill/x.png"))
    build(tmp_path, "train/NORMAL/x.png", "train/ill/x.png", "test/Normal/y.png", "test/ill/y.png")
    with pytest.raises(DataError, match="'NORMAL' and 'Normal' differ only in case"):
        read(tmp_path)
