"""Which images and labels are explained, and the pictures of their maps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from maps_of import TASK
from PIL import Image

from zoo.core.tasks import Task
from zoo.data.boxes import in_square
from zoo.data.resize import square
from zoo.explain.explain import Pair, _positive_labels, _spread
from zoo.explain.overlay import Picture, file_name, save_picture
from zoo.explain.pairs import no_boxes


def test_boxes_follow_the_image_into_its_padded_square() -> None:
    image = np.zeros((20, 40), np.uint8)
    image[5:10, 30:36] = 200  # x .75, y .25, width .15, height .25 of the image
    x, y, width, height = in_square(np.array([0.75, 0.25, 0.15, 0.25]), 20, 40) * 40
    inside = square(image, 40)[round(y) : round(y + height), round(x) : round(x + width)]
    assert inside.shape == (5, 6)
    assert (inside == 200).all()


def test_without_a_label_files_are_explained_for_their_positive_labels() -> None:
    probabilities = np.array([0.2, 0.6, 0.7])
    assert _positive_labels(TASK, probabilities, {"Mass": 0.1, "Nodule": 0.65, "Effusion": 0.65}) == [0, 2]
    assert _positive_labels(TASK, probabilities, dict.fromkeys(TASK.labels, 0.9)) == [2]
    assert _positive_labels(Task("multiclass", TASK.labels), probabilities, dict.fromkeys(TASK.labels, 0.1)) == [2]


def test_pictures_are_spread_over_the_labels() -> None:
    columns = [0] * 50 + [1] * 2 + [2] * 50
    pairs = [Pair(i, c, str(i), str(i), 1, no_boxes()) for i, c in enumerate(columns)]
    chosen = _spread(pairs, 12)
    assert np.bincount([columns[i] for i in chosen]).tolist() == [5, 2, 5]
    assert len(set(chosen)) == 12
    assert _spread(pairs, 200) == list(range(102))
    assert _spread(pairs, 0) == []


def picture(**changes: Any) -> Picture:
    heat = np.zeros((64, 64), np.float32)
    heat[40:56, 40:56] = 1
    values = {
        "image": np.full((64, 64), 90, np.uint8),
        "heat": heat,
        "name": "1.png",
        "label": "Mass",
        "probability": 0.5,
        "reference": 1,
        "boxes": np.array([[0.1, 0.1, 0.2, 0.2]]),
        "how": "Grad-CAM",
    }
    return Picture(**(values | changes))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_picture_shows_heat_and_boxes_on_a_gray_image(tmp_path: Path) -> None:
    file = tmp_path / "maps" / "a.png"
    save_picture(picture(), file)
    drawn = pixels(file)
    assert 450 <= drawn.shape[1] <= 550
    assert [p.name for p in file.parent.iterdir()] == ["a.png"]
    red, blue = drawn[..., 0], drawn[..., 2]
    assert ((red > 150) & (blue < red - 60)).sum() > 2000  # the heat
    assert ((blue > 200) & (red < 120)).sum() > 100  # the box
    save_picture(picture(heat=np.zeros((64, 64), np.float32), boxes=no_boxes()), file)
    plain = pixels(file)[60:380, 30:400]
    assert (np.ptp(plain, axis=2) < 12).mean() > 0.99


def test_a_picture_of_any_name_can_be_drawn(tmp_path: Path) -> None:
    for name in ("$x^2$_{", "肺.png", "a" * 300, "ünïcode\udcff.png".encode("utf-8", "backslashreplace").decode()):
        file = tmp_path / file_name(7, name, f"{name}/label")
        save_picture(picture(name=name, label=name, reference=None), file)
        assert file.exists()
        assert file.name.isascii()


def test_file_names_are_plain_and_numbered() -> None:
    assert file_name(3, "a/b c.png", "Pleural Thickening") == "003-b-c-Pleural-Thickening.png"
    assert file_name(1234, "x.png", "../y") == "1234-x-y.png"
    assert json.dumps(file_name(0, "肺.png", "肺")) == '"000-.png"'
