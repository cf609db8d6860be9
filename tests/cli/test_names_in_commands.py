"""Names of any characters through the commands, from the table of images to predictions, export and resume."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from commandline import zoo
from PIL import Image

from zoo.core.cells import csv_text, guarded

NAMES = [
    "a\rb.png",
    "new\nError: forged.png",
    "=HYPERLINK(1).png",
    "-0.5.png",
    "@x.png",
    'q"uo,te.png',
    "\x1b[31mred.png",
    "\u202ertl.png",
    "[red]x[link=y].png",
    "NA.png",
    "x" * 200 + ".png",
    "it's \\back.png",
    "'=x.png",
    "c1\x9b2J.png",
]
LABEL = "=eff\rusion\x1b[1m"
CONTROL = set("\x1b\x9b\u202e\r")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of 48 images below root/, which images.csv lists with odd patients, labels and another column."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    names = [*NAMES, *(f"{i}.png" for i in range(48 - len(NAMES)))]
    Path("root").mkdir()
    for i, name in enumerate(names):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16), dtype=np.uint8)
        Image.fromarray(pixels).save(file := Path("root/i.png"))
        os.rename(file, f"root/{name}")
    table = pd.DataFrame({"image": names, "patient": [f"=p\r{i}" for i in range(48)]}, dtype=object)
    table["label"], table["split"] = ["normal", LABEL] * 24, ["train", "val", "test"] * 16
    table["\x1b[1m\nno\rte"] = "a\n\x1b[1m"
    Path("root/images.csv").write_text(csv_text(table), newline="")
    return names


def done(*words: str, code: int = 0) -> Result:
    """The command ends with this code, and nothing of a name reaches the terminal raw."""
    result = zoo(*words)
    assert result.exit_code == code, result.output
    assert not CONTROL & set(result.output)
    assert not any(line.startswith("Error: forged") for line in result.output.splitlines())
    return result


def column(file: str, name: str) -> list[str]:
    return [row[name] for row in csv.DictReader(io.StringIO(Path(file).read_bytes().decode(), newline=""))]


@pytest.mark.slow
def test_what_the_commands_write_names_every_image_as_it_is(names: list[str]) -> None:
    data = ["--data", "csv", "--root", "root"]
    done("data", "audit", *data, "--csv", "issues.csv", "--fix", "clean.csv")
    assert column("clean.csv", "image") == names
    model = ["--model", "dense-baseline", "--task", "multilabel", "--image-size", "16", "--batch-size", "8"]
    done("train", *data, *model, "--epochs", "2", "--run", "r")
    run = Path("runs/r")
    assert column("runs/r/images.csv", "image") == names
    tests = (run / "predictions/test.csv").read_bytes()
    assert sorted(column("runs/r/predictions/test.csv", "image")) == sorted(names[2::3])
    info = json.loads((run / "run.json").read_text())
    assert LABEL in info["labels"]

    (run / "model.keras").unlink()  # as if it had been killed in its last epoch
    (run / "checkpoints/checkpoint-000002.npz").unlink()
    (run / "run.json").write_text(json.dumps(info | {"status": "interrupted"}))
    done("train", "--resume", "r")
    assert (run / "predictions/test.csv").read_bytes() == tests

    done("evaluate", "r", *data)
    done("report", "r")
    assert not CONTROL & set((run / "model-card.md").read_text())
    done("predict", "r", "root", "--csv", "p.csv")
    assert sorted(column("p.csv", "file")) == sorted(guarded(f"root/{name}") for name in names)
    lines = done("predict", "r", "root", "--json").stdout.splitlines()
    assert sorted(json.loads(line)["file"] for line in lines) == sorted(f"root/{name}" for name in names)
    done("data", "export", *data, "--image-size", "32", "--out", "tfr")
    store = done("data", "prepare", "--data", "tfrecord", "--root", "tfr", "--image-size", "32", "--json")
    assert sorted(column(f"{json.loads(store.stdout)['store']}/images.csv", "image")) == sorted(names)


def test_an_audit_of_names_that_are_not_unicode_lists_them(names: list[str]) -> None:
    for number, name in enumerate((b"a/1.png", b"a/\xff\x1b.png", b"b/1.png")):
        os.makedirs(b"folders/" + os.path.dirname(name), exist_ok=True)
        os.rename(f"root/{number}.png", b"folders/" + name)
    done("data", "audit", "--data", "folder", "--root", "folders", "--csv", "issues.csv")
    assert column("issues.csv", "image") == [r"a/\udcff\x1b.png"]
    assert column("issues.csv", "detail") == ["the file name is not Unicode (UTF-8)"]


def test_a_folder_that_is_not_unicode_is_an_error_that_names_it(names: list[str]) -> None:
    bad = os.fsdecode(b"out\xff")
    assert (
        r"out\udcff: the folder's name is not Unicode"
        in done("data", "prepare", "--data", "csv", "--root", bad, code=2).stderr
    )
    result = done("data", "export", "--data", "csv", "--root", "root", "--image-size", "32", "--out", bad, code=1)
    assert r"a name is not Unicode (UTF-8) and cannot be written" in result.stderr
    assert r"out\udcff" in result.stderr
