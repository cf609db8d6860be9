"""`zoo data explore`: counts that are those of the table, a page that stands alone, and tables without images."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commandline import refused, zoo
from PIL import Image

PHANTOM = [
    "--data",
    "phantom",
    "--set",
    "data.patients=60",
    "--image-size",
    "32",
    "--task",
    "multilabel",
    "--sample",
    "20",
]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "80")


class Page(HTMLParser):
    """Collects tags with their attributes, and complains of what is closed without having been opened."""

    VOID = ("meta", "img", "br", "rect", "path", "use", "line", "circle")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_stands_alone_and_the_terminal_fits_80_columns() -> None:
    result = zoo("data", "explore", *PHANTOM, "--out", "out")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80
    page = Page(Path("out/exploration.html").read_text())
    assert page.open == []
    assert {attrs["id"] for tag, attrs in page.tags if tag == "h2"} == {
        "summary",
        "labels",
        "together",
        "people",
        "tests",
        "pixels",
        "images",
        "missing",
    }
    images = [attrs["src"] or "" for tag, attrs in page.tags if tag == "img"]
    assert images
    assert all(source.startswith("data:image/jpeg;base64,") for source in images)
    assert not [1 for tag, attrs in page.tags if tag in ("link", "script") or "http" in (attrs.get("href") or "")]


def test_figures_are_those_of_the_images_and_come_again_with_the_seed() -> None:
    words = ["data", "explore", *PHANTOM, "--json", "--out"]
    first, second = (json.loads(zoo(*words, out).stdout) for out in ("a", "b"))
    assert {**first, "page": ""} == {**second, "page": ""}
    labels = {row["label"]: row for row in first["labels"]}
    assert sum(first["split"].values()) == first["images"] == first["images_looked_at"]
    for name, row in labels.items():
        assert row["images"] == row["train_images"] + row["val_images"] + row["test_images"]
        if name in first["together"]:
            assert first["together"][name][name] == row["images"]
    table = pd.read_csv("a/labels.csv").set_index("label")
    assert {name: row["images"] for name, row in labels.items()} == table["images"].to_dict()
    assert first["association_images"] == first["patients"] == 60
    kinds = {row["kind"]: row for row in first["intensities"] if row["images"] == "all"}
    assert set(kinds) == {"raw", "prepared"}
    assert kinds["raw"]["n"] == 20


def test_gray_values_raw_and_prepared_bad_files_and_copies() -> None:
    """Images of one gray value in a frame twice as wide as high: prepared, half of the pixels are black."""
    Path("images/NORMAL").mkdir(parents=True)
    Path("images/SICK").mkdir()
    for i in range(12):
        values = np.full((20, 40), 100 if i % 2 else 200, np.uint8)
        values[0, 0] = i
        Image.fromarray(values).save(f"images/{'SICK' if i % 2 else 'NORMAL'}/{i}.png")
    Path("images/SICK/bad.png").write_bytes(b"nothing")
    Image.open("images/SICK/1.png").save("images/SICK/copy.png")
    result = zoo("data", "explore", "--data", "folder", "--root", "images", "--image-size", "40", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    values = {(row["images"], row["kind"]): row for row in found["intensities"]}
    assert values["SICK", "raw"]["q50"] == 100
    assert values["SICK", "raw"]["mean"] == pytest.approx(99.9, abs=0.2)
    assert values["SICK", "prepared"]["mean"] == pytest.approx(50, abs=0.2)
    assert values["all", "raw"]["n"] == 13
    assert found["problems"] == {"unreadable": 1}
    assert found["identical_images"] == 2
    assert Path(found["page"]) == Path("exploration/folder/exploration.html")
    problems = pd.read_csv("exploration/folder/problems.csv")
    assert problems["image"].tolist() == ["SICK/bad.png"]


def test_tables_without_images_are_explored() -> None:
    Path("nih").mkdir()
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    rows = [f"{i}.png,{'Mass' if i % 3 else 'No Finding'},0,{i},{'' if i == 5 else 30 + i},M,PA" for i in range(60)]
    Path("nih/Data_Entry_2017.csv").write_text("\n".join([header, *rows]) + "\n")
    result = zoo("data", "explore", "--data", "nih", "--root", "nih")
    assert result.exit_code == 0, result.output
    assert "60 images: no image file" in result.stdout
    assert "Empty cells: 1 of age" in result.stdout
    assert "No image was read" in result.stdout
    assert pd.read_csv("exploration/nih/labels.csv").set_index("label").loc["Mass", "images"] == 40


def test_wrong_words_are_refused() -> None:
    refused(zoo("data", "explore", "--data", "phantom", "--task", "binry"), 2, "unknown task 'binry'", "'binary'")
    refused(zoo("data", "explore"), 2, "name a dataset with --data")
    refused(zoo("data", "explore", "--data", "nih", "--root", "nowhere"), 2, "nowhere does not exist")
