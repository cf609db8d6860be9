"""`zoo evaluate --data` on images that the network was trained on, in other files."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commandline import table, zoo
from conftest import Finished
from PIL import Image

from zoo.core.registry import registry
from zoo.data.run_images import run_images
from zoo.runs.run import Run

pytestmark = pytest.mark.usefixtures("elsewhere")
WORDS = ["evaluate", "first", "--data", "csv", "--root", "images", "--replicates", "100"]


def passed_on(pixels: np.ndarray) -> np.ndarray:
    """An image as it is passed on: enlarged, compressed and slightly brightened."""
    file = io.BytesIO()
    side = round(1.5 * len(pixels))
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=75)
    return np.clip(np.asarray(Image.open(file)) * 1.05, 0, 255).astype(np.uint8)


def write_copies(count: int, split: str) -> None:
    """Images of the run as files of another dataset, with patients of their own."""
    found = run_images(Run(Path("runs/first")), split, registry())
    Path("images").mkdir(exist_ok=True)
    for number, row in enumerate(found.rows[:count]):
        Image.fromarray(passed_on(found.images[row])).save(f"images/{number}.png")
    table("image,label", [f"{n}.png,{'Mass' if n % 2 else 'No Finding'}" for n in range(min(count, len(found.rows)))])


def leaks() -> list[dict[str, Any]]:
    result = zoo(*WORDS, "--json")
    assert result.exit_code == 0, result.output
    return list(json.loads(result.stdout)["leaks"])


def test_near_copies_of_training_images_are_a_leak(finished: Finished) -> None:
    finished()
    write_copies(40, "train")
    (leak,) = leaks()
    assert (leak["shared"], leak["of"]) == ("near", 40)
    assert leak["images"] >= 36
    said = " ".join(zoo(*WORDS).stdout.split())
    assert f"Leak: {leak['images']} of the 40 test images are near-duplicates of images that the network was" in said


def test_images_of_other_patients_are_no_copies(finished: Finished) -> None:
    finished()
    write_copies(40, "test")
    assert leaks() == []


def test_where_the_own_images_are_gone_that_is_noted(finished: Finished) -> None:
    finished()
    write_copies(12, "train")
    config = Path("runs/first/config.yaml")
    config.write_text(config.read_text().replace("name: phantom", "name: gone"))
    shutil.rmtree("runs/first/compiled", ignore_errors=True)
    result = zoo(*WORDS, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["leaks"] == []
    assert "near_duplicates_unchecked" in [note["kind"] for note in found["notes"]]
    assert "near-duplicates of the images that the run was trained on were not looked for" in result.stderr
