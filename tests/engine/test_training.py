"""The training class: what the loss means, and that it learns on both backends."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.core.tasks import Task
from zoo.engine.batch_norm import BatchStatistics
from zoo.engine.training import Trainer, masked_loss

MULTILABEL = Task("multilabel", ("a", "b", "c"))
MULTICLASS = Task("multiclass", ("a", "b", "c"))


def bce(labels: Any, logits: Any) -> Any:
    return keras.ops.binary_crossentropy(labels, logits, from_logits=True)


def cce(labels: Any, logits: Any) -> Any:
    return -labels * keras.ops.log_softmax(logits)


def numpy_bce(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, logits) - labels * logits


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_the_loss_is_the_mean_over_the_known_labels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (5, 3)).astype(np.float32)
    logits = rng.normal(0, 3, (5, 3)).astype(np.float32)
    known = rng.random((5, 3)) < 0.6
    expected = numpy_bce(labels, logits)[known].mean() if known.any() else 0.0
    value = masked_loss(MULTILABEL, bce, np.where(known, labels, np.nan).astype(np.float32), logits)
    assert float(value) == pytest.approx(expected, abs=1e-5)


def test_the_multiclass_loss_is_summed_over_classes_and_averaged_over_images() -> None:
    logits = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0], [9.0, 9.0, 9.0]], np.float32)
    labels = np.array([[0, 1, 0], [1, 0, 0], [np.nan] * 3], np.float32)
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -(np.log(probability[0, 1]) + np.log(probability[1, 0])) / 2
    assert float(masked_loss(MULTICLASS, cce, labels, logits)) == pytest.approx(expected, abs=1e-5)


def test_an_unknown_label_sends_no_gradient_not_even_nan() -> None:
    import tensorflow as tf

    logits = tf.Variable([[2.0, -1.0, 500.0]])
    with tf.GradientTape() as tape:
        value = masked_loss(MULTILABEL, bce, np.array([[1, np.nan, np.nan]], np.float32), logits)
    gradient = tape.gradient(value, logits).numpy()[0]
    assert gradient[0] == pytest.approx(1 / (1 + np.exp(-2.0)) - 1, abs=1e-6)
    np.testing.assert_array_equal(gradient[1:], 0)


def test_augmentation_happens_in_training_only() -> None:
    def invert(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
        return 255.0 - images, 1.0 - labels

    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, keras.layers.Flatten()(inputs))
    trainer = Trainer(network, Task("binary", ("a",)), bce, invert, 0)
    batch = {"image": np.full((2, 4, 4, 1), 5, np.uint8), "label": np.ones((2, 1), np.float32)}
    calm, trained = trainer(batch, training=False), trainer(batch, training=True)
    assert float(calm["logits"][0, 0]) == 5
    assert float(calm["labels"][0, 0]) == 1
    assert float(trained["logits"][0, 0]) == 250
    assert float(trained["labels"][0, 0]) == 0


def normalised(momentum: float = 0.999) -> keras.Model:
    inputs = keras.Input((4, 4, 1))
    inner_input = keras.Input((4, 4, 1))
    inner = keras.Model(inner_input, keras.layers.BatchNormalization(momentum=momentum)(inner_input), name="backbone")
    return keras.Model(inputs, keras.layers.Flatten()(inner(inputs)))


def test_batch_norm_statistics_are_those_of_clean_images_before_a_validation() -> None:
    network = normalised()
    layer = network.get_layer("backbone").layers[1]
    images = np.random.default_rng(0).normal(90, 20, (640, 4, 4)).clip(0, 255).astype(np.uint8)
    BatchStatistics(network).update(images, np.arange(640), 32)
    assert float(layer.moving_mean[0]) == pytest.approx(images.mean(), rel=0.02)
    assert float(layer.moving_variance[0]) == pytest.approx(images.var(), rel=0.06)
    assert layer.momentum == 0.999
    output = network.predict(images[..., None], verbose=0)
    assert abs(output.mean()) < 0.1
    assert output.std() == pytest.approx(1, abs=0.05)


def test_nothing_of_the_statistics_before_remains() -> None:
    images = np.random.default_rng(0).integers(0, 2, (64, 4, 4)).astype(np.uint8)  # a variance far below the initial 1
    found = []
    for start in (0.0, 50.0):
        network = normalised()
        layer = network.get_layer("backbone").layers[1]
        layer.set_weights([*layer.get_weights()[:2], np.full(1, start), np.full(1, start)])
        BatchStatistics(network).update(images, np.arange(64), 64)
        found.append(layer.get_weights())
    np.testing.assert_array_equal(found[0], found[1])
    assert float(found[0][2][0]) == pytest.approx(images.mean(), rel=1e-4)
    assert float(found[0][3][0]) == pytest.approx(images.var(), rel=1e-3)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    network = normalised()
    network.get_layer("backbone").trainable = False
    BatchStatistics(network).update(np.full((64, 4, 4), 200, np.uint8), np.arange(64), 32)
    assert float(network.get_layer("backbone").layers[1].moving_mean[0]) == 0


LEARN = """
    import sys
    class NotInstalled:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "{blocked}":
                raise ModuleNotFoundError(name)
    sys.meta_path.insert(0, NotInstalled())
    from pathlib import Path
    import numpy as np
    from zoo.config.resolve import resolve
    from zoo.inference.training import train
    from zoo.core.registry import registry
    layer = {{
        "task": "multilabel", "model": {{"name": "tiny-cnn", "width": 8, "depth": 1}}, "image_size": 32,
        "data": {{"name": "phantom", "patients": 30}}, "augment": "mixup", "epochs": 2, "batch_size": 16,
        "schedule": "constant",
    }}
    outcome = train(resolve([layer], registry()), registry(), Path("runs"), "r")
    import keras
    from zoo.evaluation import Predictions
    kept = Predictions.load(outcome.run.predictions_file("test"), outcome.run.task())
    rows = [row.split(",") for row in (outcome.run.path / "metrics.csv").read_text().splitlines()[1:]]
    print(keras.backend.backend(), len(rows), np.isfinite(kept.logits).all(), float(rows[1][2]) < float(rows[0][2]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def test_the_same_code_trains_on_both_backends_the_other_not_installed(
    backend: str, run_python: Callable[..., Any]
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed (the extra '{backend}')")
    blocked = "tensorflow" if backend == "jax" else "jax"
    done = run_python("-c", textwrap.dedent(LEARN.format(blocked=blocked)), KERAS_BACKEND=backend, ZOO_CACHE="cache")
    assert done.stdout.split() == [backend, "2", "True", "True"], done.stderr
    assert "Warning" not in done.stderr
