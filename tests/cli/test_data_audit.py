"""`zoo data audit`: planted leaks, copies and contradictions are found and named, and --fix leaves a table without them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commandline import refused, zoo
from PIL import Image

ROOT = Path("ours")
CSV = ["--data", "csv", "--root", "ours", "--set", "data.labels=Edema,Mass", "--set", "data.table=t.csv"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def image(seed: int) -> np.ndarray:
    """Smooth patches, as unlike each other as images are not."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 12), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((96, 96), Image.Resampling.BICUBIC))


def made(clean: bool = False, root: Path = ROOT, first: int = 0) -> None:
    """24 images of 24 patients: train, val and test; unless clean with one of each fault."""
    root.mkdir(exist_ok=True)
    rows = []
    for i in range(24):
        Image.fromarray(image(first + i)).save(root / f"{i}.png")
        split = "test" if i >= 18 else "val" if i >= 14 else "train"
        rows.append([f"{i}.png", f"p{first + i}", i % 2, int(i % 3 == 0), split, 40 + i, "M"])
    if not clean:
        rows[0][1] = "p20"  # in train and test
        Image.fromarray(image(21)).save(root / "1.png")  # identical, train and test
        Image.fromarray(image(22)).resize((80, 80)).save(root / "2.jpg", quality=60)  # near, train and test
        rows[2][0] = "2.jpg"
        Image.fromarray(image(4)).save(root / "3.png")  # identical in train, with other labels
        rows[5][1], rows[6][1], rows[6][6] = "p5", "p5", "F"
        (root / "7.png").write_bytes(b"no image")
        (root / "8.png").unlink()
        rows.append(list(rows[9]))
    header = ["image", "patient", "Edema", "Mass", "split", "age", "sex"]
    pd.DataFrame(rows, columns=header).to_csv(root / "t.csv", index=False)


def test_planted_faults_are_found_and_leaks_set_the_exit_code() -> None:
    made()
    result = zoo("data", "audit", *CSV, "--json", "--csv", "found.csv")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["issues"] == {
        "patient on two sides": 1,
        "identical image on two sides": 1,
        "near-duplicate on two sides": 1,
        "identical image": 1,
        "identical images, other labels": 2,
        "two sexes": 1,
        "unreadable": 1,
        "row twice": 1,
        "no image file": 1,
    }
    assert (found["leaks"], found["clean"]) == (3, False)
    table = pd.read_csv("found.csv").set_index("kind")
    assert table.loc["identical image on two sides", ["image", "other_image"]].tolist() == ["1.png", "21.png"]
    near = table.loc["near-duplicate on two sides"]
    assert (near["image"], near["other_image"], near["split"], near["other_split"]) == (
        "2.jpg",
        "22.png",
        "train",
        "test",
    )
    assert near["correlation"] > 0.9
    assert table.loc["patient on two sides", "patient"] == "p20"
    assert (table["weight"] == "leak").sum() == 3
    assert table.loc["two sexes", "image"] == "6.png"


def test_a_clean_dataset_is_called_clean_within_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    made(clean=True)
    result = zoo("data", "audit", *CSV)
    assert result.exit_code == 0, result.output
    assert "Clean: no patient and no image is in two splits." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_fix_of_a_clean_dataset_keeps_every_image_and_says_so() -> None:
    made(clean=True)
    result = zoo("data", "audit", *CSV, "--fix", "clean.csv")
    assert result.exit_code == 0, result.output
    assert "Left out: 0 images" in result.stdout
    assert "Audited again: no patient and no image is in two splits." in result.stdout
    assert "zoo train --data csv" in result.stdout
    assert set(pd.read_csv("clean.csv")["image"]) == set(pd.read_csv(ROOT / "t.csv")["image"])
    assert list(pd.read_csv("clean-removed.csv")) == ["image", "split", "reason", "because_of"]


def test_fix_writes_a_table_that_the_csv_reader_takes_and_that_is_clean() -> None:
    made()
    before = {path: path.read_bytes() for path in ROOT.iterdir()}
    result = zoo("data", "audit", *CSV, "--fix", "clean.csv", "--json")
    assert result.exit_code == 1
    fixed = json.loads(result.stdout)["fixed"]
    removed = pd.read_csv("clean-removed.csv", keep_default_na=False).set_index("image")
    assert set(removed.index) == {"0.png", "1.png", "2.jpg", "7.png", "8.png"}
    assert removed.loc["1.png", ["reason", "because_of"]].tolist() == ["identical image on two sides", "21.png"]
    assert (removed["split"] == "train").all()
    assert fixed["left"] == 0
    kept = pd.read_csv("clean.csv")
    assert set(kept["image"]) | set(removed.index) == set(pd.read_csv(ROOT / "t.csv")["image"])
    assert list(kept) == ["image", "patient", "Edema", "Mass", "age", "sex", "split"]
    assert (kept["split"] == "test").sum() == 6
    words = ["--data", "csv", "--root", "ours", "--set", f"data.table={Path('clean.csv').absolute()}"]
    words += ["--set", "data.labels=Edema,Mass"]
    again = zoo("data", "audit", *words, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["leaks"] == 0
    assert zoo("data", "prepare", *words, "--image-size", "32", "--task", "multilabel").exit_code == 0
    assert {path: path.read_bytes() for path in ROOT.iterdir()} == before
    refused(zoo("data", "audit", *CSV, "--fix", "clean.csv"), 2, "clean.csv, which exists already")


def test_what_two_datasets_share_is_found_and_left_out() -> None:
    made(clean=True)
    made(clean=True, root=Path("theirs"), first=20)  # patients and images 20 to 23 of ours are there too
    other = ["--with", "theirs:csv=theirs"]
    os.rename("theirs/t.csv", "theirs/only.csv")
    text = pd.read_csv("theirs/only.csv").assign(label=["Mass" if i % 2 else "normal" for i in range(24)])
    text.drop(columns=["Edema", "Mass"]).to_csv("theirs/only.csv", index=False)
    result = zoo("data", "audit", *CSV, *other, "--json", "--fix", "clean.csv")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)
    assert found["issues"] == {"patient in two datasets": 4, "identical image in two datasets": 4}
    assert found["datasets"]["theirs"]["images"] == 24
    assert (found["fixed"]["removed"], found["fixed"]["left"]) == (0, 8)  # all are test images of ours: kept, and said
    refused(zoo("data", "audit", *CSV, "--with", "cvs=theirs"), 2, "unknown dataset 'cvs'", "Did you mean 'csv'?")
    refused(zoo("data", "audit", *CSV, "--with", "theirs"), 2, "name a dataset and its folder")


def nih(lists: dict[str, list[str]], labels: list[str]) -> None:
    Path("nih").mkdir()
    rows = [f"{i}.png,{label},{i % 3},{i // 3},{60 - i},M,PA" for i, label in enumerate(labels)]
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    Path("nih/Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    for name, images in lists.items():
        Path(f"nih/{name}_list.txt").write_text("\n".join(images) + "\n")


def test_tables_without_images_are_audited_with_faults_that_reading_refuses() -> None:
    labels = ["Mass", "No Finding|Mass", "No Finding", "Edema", "Mass", "No Finding", "Hernia"]
    nih({"train_val": ["0.png", "1.png", "2.png", "3.png", "9.png"], "test": ["3.png", "4.png", "2.png"]}, labels)
    result = zoo("data", "audit", "--data", "nih", "--root", "nih", "--json")
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["issues"] == {
        "patient on two sides": 1,
        "age goes backwards": 4,
        "normal and a finding": 1,
        "in both lists": 2,
        "listed, not in the table": 1,
        "in no list": 2,
        "no image file": 7,
    }
    assert "only the tables are audited" in result.stderr


def test_images_of_an_archive_are_written_out_by_fix() -> None:
    Path("mnist").mkdir()
    images = [np.asarray(Image.fromarray(image(i)).resize((28, 28))) for i in range(18)]
    parts = {"train": images[:12], "val": images[11:15], "test": images[15:]}
    arrays = {f"{name}_images": np.stack(each) for name, each in parts.items()}
    arrays |= {f"{n}_labels": (np.arange(len(e)) % 2)[:, None].astype(np.uint8) for n, e in parts.items()}
    np.savez("mnist/pneumoniamnist.npz", **arrays)
    result = zoo("data", "audit", "--data", "medmnist", "--root", "mnist", "--fix", "clean.csv")
    assert result.exit_code == 1
    assert "NOT CLEAN: 1 leak." in result.stdout
    kept = pd.read_csv("clean.csv")
    assert len(kept) == 18
    assert np.array_equal(np.asarray(Image.open(kept["image"][0])), images[0])
    assert "train-11" not in " ".join(kept["image"])
    words = ["--data", "csv", "--root", ".", "--set", "data.table=clean.csv", "--set", "data.labels=pneumonia"]
    assert zoo("data", "audit", *words).exit_code == 0
