"""The images that benchmarks run on are written as the published ones are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.data.decode import decode

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "images.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


images = load()


@given(height=st.integers(1, 40), width=st.integers(1, 300), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_pixels_come_back(tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    file = tmp_path_factory.mktemp("images") / "image.png"
    file.write_bytes(images.published_png(pixels))
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
    np.testing.assert_array_equal(decode(file)[0], pixels)


# those of the originals at hand that were never written anew
@pytest.mark.parametrize("name", ["00001253_004.png", "00001382_004.png", "00001506_000.png"])
def test_published_files_are_given_back_to_the_byte(name: str) -> None:
    file = images.ORIGINALS / name
    if not file.exists():
        pytest.skip(f"{file} is not there")
    found = [each for each in images.originals() if each.name == name]
    assert found == [file]
    with Image.open(file) as image:
        assert images.published_png(np.asarray(image)) == file.read_bytes()


def test_images_for_a_training_are_all_different(tmp_path: Path) -> None:
    images.write_folders(tmp_path, 64, {"train": 6, "val": 2, "test": 2})
    files = sorted(tmp_path.glob("*/*/*.png"))
    assert len({file.read_bytes() for file in files}) == len(files) == 10
    assert len(list(tmp_path.glob("train/negative/*"))) == len(list(tmp_path.glob("train/positive/*"))) == 3
