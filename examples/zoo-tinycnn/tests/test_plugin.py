"""The public checks of zoo on everything this plugin adds."""

from __future__ import annotations

import numpy as np

from zoo import Task, registry
from zoo.testing import check_augmenter, check_loss, check_model


def test_model() -> None:
    check_model(registry().get("model", "small-cnn"))


def test_loss() -> None:
    check_loss(registry().get("loss", "smooth-bce"))


def test_augmenter() -> None:
    check_augmenter(registry().get("augmenter", "shift"))


def test_smoothing_draws_labels_towards_one_half() -> None:
    loss = registry().get("loss", "smooth-bce")
    build = loss.build(Task("binary", ("abnormal",)), None, loss.Options(smoothing=0.2))
    labels, logits = np.array([[1.0], [0.0]], "float32"), np.array([[2.0], [-1.0]], "float32")
    probability, target = 1 / (1 + np.exp(-logits)), np.array([[0.9], [0.1]])
    expected = -(target * np.log(probability) + (1 - target) * np.log(1 - probability))
    np.testing.assert_allclose(np.asarray(build(labels, logits)), expected, rtol=1e-5)
