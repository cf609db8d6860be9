"""Fused batch normalisation computes what the stock layers compute, and leaves no trace in the network."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.nn.fused_norm import fused_batch_norm

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the fused kernel is TensorFlow's")
TASK = Task("multilabel", ("Mass", "Nodule"))


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (16, 64, 64, 1)).astype(np.float32)


def build(name: str, size: int = 64) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = registry().get("model", name)
    network = model.build(TASK, size, None, model.Options())
    # statistics and scales that are not those of a fresh network
    random = np.random.default_rng(1)
    for layer in norms(network):
        for weight in layer.weights:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return network


def norms(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [each for each in network._flatten_layers() if isinstance(each, keras.layers.BatchNormalization)]


def prepared(name: str, frozen: bool) -> keras.Model:
    """The network without dropout, which draws other numbers in float64; on request half of its norms are frozen."""
    network = build(name)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    for layer in norms(network)[: len(norms(network)) // 2]:
        layer.trainable = not frozen
    return network


def one_step(network: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, all gradients and all weights after a forward pass in training mode, each as one vector."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        logits = network(images, training=True)
        loss = keras.ops.sum(keras.ops.square(logits))
    gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
    parts = ([logits], gradients, network.get_weights())
    return tuple(np.concatenate([np.asarray(each, np.float64).ravel() for each in part]) for part in parts)


def assert_close(one: np.ndarray, other: np.ndarray, tolerance: float) -> None:
    """The difference is at most `tolerance` of the whole, by the Euclidean norm: roundings grow from layer to layer."""
    assert np.linalg.norm(one - other) <= tolerance * np.linalg.norm(one) + 1e-6


@pytest.mark.parametrize("frozen", [False, True], ids=["trainable", "frozen"])
@pytest.mark.parametrize(
    "name", ["mobilenetv3", pytest.param("efficientnet-lite0", marks=pytest.mark.slow), "tiny-cnn"]
)
def test_a_training_step_is_as_exact_as_the_stock_step(name: str, frozen: bool, images: np.ndarray) -> None:
    """Logits, gradients and new statistics, beside those of the same network in float64."""
    network = prepared(name, frozen)
    weights = network.get_weights()
    stock = one_step(network, images)
    network.set_weights(weights)
    with fused_batch_norm(network) as count:
        fused = one_step(network, images)
    assert count == len(norms(network)) > 0
    keras.config.set_dtype_policy("float64")
    try:
        reference = prepared(name, frozen)
        reference.set_weights(weights)
        exact = one_step(reference, images)
    finally:
        keras.config.set_dtype_policy("float32")
    for one, other, truth in zip(fused, stock, exact, strict=True):
        # a unit whose input lies on an edge of ReLU6 may fall on either side, which on some processors one does
        edge = 1e-3 if name == "efficientnet-lite0" else 1e-6
        allowed = 4 * np.linalg.norm(other - truth) + edge * np.linalg.norm(truth)
        assert np.linalg.norm(one - truth) <= allowed < 0.02 * np.linalg.norm(truth)


@pytest.mark.parametrize("name", ["mobilenetv3", "densenet121"])
def test_inference_is_the_stock_inference(name: str, images: np.ndarray) -> None:
    network = build(name)
    stock = np.array(network(images, training=False))
    with fused_batch_norm(network):
        fused = np.array(network(images, training=False))
    assert_close(stock, fused, 1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_one_layer_against_the_formula(training: bool) -> None:
    random = np.random.default_rng(2)
    inputs = random.normal(3, 2, (5, 4, 3, 2)).astype(np.float32)
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-3)
    network = keras.Sequential([keras.Input((4, 3, 2)), layer])
    start = [random.uniform(0.5, 1.5, 2).astype(np.float32) for _ in range(4)]
    layer.set_weights(start)
    gamma, beta, mean, variance = (each.astype(np.float64) for each in start)
    with fused_batch_norm(network):
        outputs = np.array(network(inputs, training=training))
    if training:
        batch_mean, batch_variance = inputs.mean((0, 1, 2), dtype=np.float64), inputs.var((0, 1, 2), dtype=np.float64)
        np.testing.assert_allclose(layer.moving_mean, 0.9 * mean + 0.1 * batch_mean, rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, 0.9 * variance + 0.1 * batch_variance, rtol=1e-5)
        mean, variance = batch_mean, batch_variance
    np.testing.assert_allclose(outputs, (inputs - mean) / np.sqrt(variance + 1e-3) * gamma + beta, rtol=1e-4, atol=1e-5)


def test_the_kernel_is_in_the_graph_and_gone_afterwards(images: np.ndarray) -> None:
    import tensorflow as tf

    network = build("mobilenetv3")

    def kernels() -> int:
        graph = tf.function(lambda x: network(x, training=True)).get_concrete_function(tf.TensorSpec(images.shape))
        return sum(op.type == "FusedBatchNormV3" for op in graph.graph.get_operations())

    assert kernels() == 0
    with fused_batch_norm(network) as count:
        assert kernels() == count == len(norms(network))
    assert kernels() == 0


def test_a_file_saved_while_fused_is_a_stock_file(images: np.ndarray, tmp_path: Path) -> None:
    network = build("mobilenetv3")
    with fused_batch_norm(network):
        config = network.get_config()
        network.save(tmp_path / "fused.keras")
    assert config == network.get_config()
    loaded = keras.saving.load_model(tmp_path / "fused.keras", safe_mode=True)
    assert all(type(layer) is keras.layers.BatchNormalization for layer in norms(loaded))
    np.testing.assert_array_equal(np.array(loaded(images)), np.array(network(images)))


def test_mixed_precision_computes_in_the_policy_and_keeps_float32_statistics(images: np.ndarray) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build("mobilenetv3")
        stock = np.array(network(images, training=False))
        with fused_batch_norm(network) as count:
            fused = np.array(network(images, training=False))
            network(images, training=True)
    finally:
        keras.config.set_dtype_policy("float32")
    assert count > 0
    assert {str(layer.moving_variance.dtype) for layer in norms(network)} == {"float32"}
    assert_close(stock, fused, 0.05)


def test_layers_the_kernel_does_not_serve_stay_stock() -> None:
    class Own(keras.layers.BatchNormalization):
        pass

    inputs = keras.Input((8, 8, 4))
    x = keras.layers.BatchNormalization(axis=1)(inputs)
    x = keras.layers.BatchNormalization(epsilon=1e-6)(x)
    x = Own()(x)
    x = keras.layers.Flatten()(x)
    network = keras.Model(inputs, keras.layers.BatchNormalization()(x))
    random = np.random.default_rng(3).normal(size=(3, 8, 8, 4)).astype(np.float32)
    stock = np.array(network(random))
    with fused_batch_norm(network) as count:
        assert count == 0
        np.testing.assert_array_equal(np.array(network(random)), stock)


def test_stock_layers_are_back_after_a_failure() -> None:
    network = build("tiny-cnn")
    with pytest.raises(KeyboardInterrupt), fused_batch_norm(network):
        raise KeyboardInterrupt
    assert all("call" not in vars(layer) for layer in norms(network))
