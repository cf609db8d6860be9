"""`zoo export` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import zoo
from PIL import Image

Finished = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_run_becomes_a_file_that_keras_loads(finished: Finished) -> None:
    finished("first", "multilabel")
    result = zoo("export", "first", "--format", "keras", "--images", "5")
    assert result.exit_code == 0, result.output
    assert "Against zoo on 5 images" in " ".join(result.stdout.split())
    assert "not a medical device" in result.stdout
    import keras

    model = keras.saving.load_model("runs/first/exports/first.keras")
    assert model(np.zeros((1, 40, 51, 1), np.uint8)).shape == (1, 6)


def test_json_holds_the_comparison_and_nothing_else_is_printed(finished: Finished) -> None:
    finished()
    Path("images").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 80), dtype=np.uint8)).save("images/a.png")
    result = zoo("export", "first", "--format", "onnx", "--images", "images", "--out", "chest.onnx", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["file"] == "chest.onnx"
    assert found["size"] == Path("chest.onnx").stat().st_size
    assert found["parity"]["images"] == 1
    assert found["parity"]["prepared"]["largest"] <= 1e-5


@pytest.mark.slow
def test_a_quantised_file_is_printed_with_the_change_of_auroc(finished: Finished) -> None:
    finished()
    result = zoo("export", "first", "--format", "litert", "--quantize", "float16", "--tolerance", "1")
    assert result.exit_code == 0, result.output
    assert "95% interval" in result.stdout
    assert Path("runs/first/exports/first-float16.tflite").exists()


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["first", "--format", "keras", "--quantize", "int8"], 2, "Valid: litert (float16, int8)"),
        (["first", "--format", "onnx", "--out", "model.bin"], 2, "ends in .onnx"),
        (["first", "--format", "keras", "--images", "nowhere"], 2, "there is no such folder"),
        (["first", "--format", "keras", "--images", "0"], 2, "a number from 1"),
        (["first", "--format", "keras", "--tolerance", "-1"], 2, "from 0 to 1"),
        (["frist", "--format", "keras"], 2, "Did you mean 'first'?"),
    ],
)
def test_requests_that_make_no_sense_are_refused(words: list[str], code: int, part: str, finished: Finished) -> None:
    finished()
    result = zoo("export", *words)
    assert result.exit_code == code, result.output
    assert part in result.stderr
    assert not list(Path().rglob("*.partial*"))


def test_a_file_that_does_not_agree_is_refused_in_one_line(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.export import formats

    finished()
    right = formats.keras_resizing
    monkeypatch.setattr(formats, "keras_resizing", lambda pixels, size: right(pixels, size) * 0.5)
    result = zoo("export", "first", "--format", "keras", "--images", "5", "--out", "a.keras")
    assert result.exit_code == 1, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: the file's probabilities differ")]
    assert not Path("a.keras").exists()
    assert not list(Path().glob(".partial*"))
