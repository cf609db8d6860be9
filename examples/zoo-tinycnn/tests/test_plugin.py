"""The public checks of zoo on everything this plugin adds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zoo import Task, registry
from zoo.testing import check_augmenter, check_dataset, check_loss, check_model, check_recipe, check_tracker


@pytest.mark.parametrize("name", ["small-cnn", "gated-cnn", "mean-gray"])
def test_model(name: str) -> None:
    check_model(registry().get("model", name))


def test_loss() -> None:
    check_loss(registry().get("loss", "smooth-bce"))


def test_augmenter() -> None:
    check_augmenter(registry().get("augmenter", "shift"))


def test_dataset(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    lines = ["image,patient,finding"]
    for number, finding in enumerate(("1", "0", "")):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        lines.append(f"{number}.png,p{number},{finding}")
    (tmp_path / "images.csv").write_text("\n".join(lines) + "\n")
    check_dataset(registry().get("dataset", "tiny-table"), tmp_path)


def test_recipe() -> None:
    check_recipe(registry().get("recipe", "tiny-binary"))


def test_tracker() -> None:
    check_tracker(registry().get("tracker", "lines"))


def test_command() -> None:
    small = registry().get("model", "small-cnn").info
    result = CliRunner().invoke(registry().commands["widths"], ["--most", "16"])
    assert result.output.splitlines()[-1].split() == ["16", f"{small.parameters:,}"]


def test_smoothing_draws_labels_towards_one_half() -> None:
    loss = registry().get("loss", "smooth-bce")
    build = loss.build(Task("binary", ("abnormal",)), None, loss.Options(smoothing=0.2))
    labels, logits = np.array([[1.0], [0.0]], "float32"), np.array([[2.0], [-1.0]], "float32")
    probability, target = 1 / (1 + np.exp(-logits)), np.array([[0.9], [0.1]])
    expected = -(target * np.log(probability) + (1 - target) * np.log(1 - probability))
    np.testing.assert_allclose(np.asarray(build(labels, logits)), expected, rtol=1e-5)
