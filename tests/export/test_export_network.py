"""What goes into an exported file: activation and calibration as zoo computes them, no layer that only training needs."""

from __future__ import annotations

from typing import Any

import exported
import keras
import numpy as np
import pytest
from exported import BINARY, CALIBRATIONS, CLASSES, SEVERAL

from zoo.core.tasks import Task
from zoo.evaluation import metrics
from zoo.evaluation.calibration import Calibration
from zoo.export.network import probabilities
from zoo.inference.operating_point import OperatingPoint
from zoo.nn.inference import for_inference

LOGITS = np.random.default_rng(1).normal(0, 2, (200, 3))


def computed(logits: np.ndarray, task: Task, calibration: Any) -> np.ndarray:
    entrance = keras.Input((task.outputs,))
    return np.asarray(keras.Model(entrance, probabilities(entrance, task, calibration))(logits.astype(np.float32)))


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_calibrations_are_those_of_the_run(name: str) -> None:
    calibration = exported.calibration(name)
    logits = LOGITS[:, : calibration.task.outputs]
    expected = calibration.probabilities(logits)
    assert np.abs(expected - metrics.probabilities(calibration.task, logits)).max() > 0.05  # it does something
    np.testing.assert_allclose(computed(logits, calibration.task, calibration), expected, atol=1e-6)


def test_an_isotonic_map_with_a_jump_keeps_both_sides_of_it() -> None:
    calibration = exported.calibration("isotonic")
    calibration.parameters["Mass"].update(logits=[-1.0, 0.25, 0.25 + 1e-12, 2.0], values=[0.1, 0.2, 0.7, 0.8])
    logits = np.array([[-3.0, 0, 0], [0.249, 0, 0], [0.251, 0, 0], [3.0, 0, 0]])
    np.testing.assert_allclose(computed(logits, SEVERAL, calibration), calibration.probabilities(logits), atol=1e-6)


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES])
def test_without_a_calibration_it_is_the_activation(task: Task) -> None:
    logits = LOGITS[:, : task.outputs]
    np.testing.assert_allclose(computed(logits, task, None), metrics.probabilities(task, logits), atol=1e-6)


def test_layers_for_training_are_removed_and_outputs_stay() -> None:
    network = exported.network(BINARY, dropout=0.5)
    bare = for_inference(network)
    assert not [each for each in bare._flatten_layers() if isinstance(each, keras.layers.Dropout)]
    images = np.random.default_rng(0).integers(0, 256, (4, exported.SIZE, exported.SIZE, 1)).astype("float32")
    np.testing.assert_array_equal(bare.predict_on_batch(images), network.predict_on_batch(images))
    np.testing.assert_array_equal(bare(images, training=False), network(images, training=False))


def test_a_network_without_such_layers_is_taken_as_it_is() -> None:
    network = exported.network(BINARY, dropout=0.0)
    assert for_inference(network, float32=True) is network


def test_lower_precision_becomes_float32_where_asked() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = exported.network(BINARY)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {each.compute_dtype for each in for_inference(network, float32=True)._flatten_layers()} == {"float32"}
    assert "bfloat16" in {each.compute_dtype for each in for_inference(network)._flatten_layers()}


@pytest.mark.parametrize("name", ["temperature", "platt", "isotonic"])
def test_thresholds_go_through_the_calibration_so_that_decisions_stay(name: str) -> None:
    calibration = exported.calibration(name)
    task = calibration.task
    raw = {label: 0.35 + 0.1 * k for k, label in enumerate(task.labels)}
    carried = OperatingPoint(task, raw, calibration).thresholds
    logits = LOGITS[:, : task.outputs]
    calibrated = calibration.probabilities(logits)
    for k, label in enumerate(task.labels):
        apart = np.abs(calibrated[:, k] - carried[label]) > 1e-9  # an isotonic map makes some images equal to it
        positive = metrics.probabilities(task, logits)[:, k] >= raw[label]
        assert apart.sum() > 100
        assert np.array_equal(positive[apart], calibrated[apart, k] >= carried[label])


def test_thresholds_of_exclusive_classes_and_without_calibration() -> None:
    assert OperatingPoint(CLASSES, dict.fromkeys(CLASSES.labels, 0.5)).thresholds == {}
    assert OperatingPoint(BINARY, {"Abnormal": 0.42}).thresholds == {"Abnormal": 0.42}


def test_a_threshold_that_is_a_logit_decides_by_logits_and_is_shown_as_a_probability() -> None:
    logits, raw = np.array([[41.0], [42.0], [-3.0]], np.float32), {"Abnormal": 41.5}
    halved = Calibration("temperature", BINARY, {"Abnormal": {"temperature": 2.0}})
    for calibration, shown in ((None, 1.0), (halved, 1 / (1 + np.exp(-41.5 / 2)))):
        point = OperatingPoint(BINARY, raw, calibration)
        assert point.thresholds["Abnormal"] == pytest.approx(shown, rel=1e-15)
        assert point.positive(logits)[:, 0].tolist() == [False, True, False]
