"""The lean hard swish is the stock one, with a gradient that keeps and reads less, and leaves no trace in the network."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.config.resolve import resolve
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.engine.fit import Fitting
from zoo.inference.training import train
from zoo.nn.hard_swish import memory_efficient_hard_swish

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="on JAX the layers stay as they are")
POINTS = np.array([-9, -3, -2.5, -1.5, -1e-3, 0, 1e-3, 1.5, 2.999, 3, 3.5, 40], np.float32)


def one_layer() -> keras.Model:
    return keras.Sequential([keras.Input((len(POINTS),)), keras.layers.Activation("hard_swish")])


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = registry().get("model", "mobilenetv3")
    return model.build(Task("multilabel", ("Mass", "Nodule")), 64, None, model.Options())


def swishes(network: keras.Model) -> list[keras.Layer]:
    return [
        each
        for each in network._flatten_layers()
        if isinstance(each, keras.layers.Activation) and each.activation is keras.activations.hard_silu
    ]


def value_and_gradient(network: keras.Model, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import tensorflow as tf

    given = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(given)
        outputs = network(given, training=True)
        total = tf.reduce_sum(outputs * tf.constant(np.linspace(0.5, 2, outputs.shape[-1]), outputs.dtype))
    return np.asarray(outputs), np.asarray(tape.gradient(total, given))


def test_value_and_gradient_against_the_formula() -> None:
    network = one_layer()
    with memory_efficient_hard_swish(network) as count:
        value, gradient = value_and_gradient(network, POINTS[None])
    assert count == 1
    x = POINTS.astype(np.float64)
    slope = np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6))
    np.testing.assert_allclose(value[0], x * np.clip(x + 3, 0, 6) / 6, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient[0], np.linspace(0.5, 2, len(x)) * slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_the_forward_pass_is_the_stock_one_bit_for_bit(kind: str) -> None:
    import tensorflow as tf

    layer = keras.layers.Activation("hard_swish", dtype=kind)
    network = keras.Sequential([keras.Input((4096,), dtype=kind), layer])
    inputs = tf.cast(np.random.default_rng(0).normal(0, 4, (1, 4096)), kind)
    stock = np.asarray(network(inputs, training=True))
    with memory_efficient_hard_swish(network):
        np.testing.assert_array_equal(np.asarray(network(inputs, training=True)), stock)


def test_a_network_trains_as_the_stock_one() -> None:
    network = build()
    images = np.random.default_rng(0).uniform(0, 255, (8, 64, 64, 1)).astype(np.float32)
    weights = network.get_weights()
    value, gradient = value_and_gradient(network, images)
    network.set_weights(weights)
    with memory_efficient_hard_swish(network) as count:
        lean_value, lean_gradient = value_and_gradient(network, images)
    assert count == len(swishes(network)) > 10
    np.testing.assert_array_equal(lean_value, value)
    assert np.linalg.norm(lean_gradient - gradient) <= 1e-4 * np.linalg.norm(gradient) > 0


def test_value_and_gradient_take_fewer_operations() -> None:
    """Counted in the graph of a step."""
    import tensorflow as tf

    network = one_layer()

    def operations() -> int:
        def slope(x: tf.Tensor) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = network(x, training=True)
            return tape.gradient(y, x)

        graph = tf.function(slope).get_concrete_function(tf.TensorSpec((1, len(POINTS)))).graph
        return sum(each.type not in ("Const", "Identity", "IdentityN") for each in graph.get_operations())

    stock = operations()
    with memory_efficient_hard_swish(network):
        assert operations() < stock
    assert operations() == stock


def test_a_run_trains_with_it_and_with_fused_norms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Looked(Exception):
        """Nothing needs to be trained."""

    seen: list[bool] = []

    def look(fitting: Fitting) -> None:
        norms = [each for each in fitting.network._flatten_layers() if type(each) is keras.layers.BatchNormalization]
        seen.extend("call" in vars(layer) for layer in [*swishes(fitting.network), *norms])
        raise Looked

    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Fitting, "carry_out", look)
    layer = {"data": {"name": "phantom", "patients": 40}, "model": {"name": "mobilenetv3"}, "image_size": 32}
    with pytest.raises(Looked):
        train(resolve([layer], registry()), registry(), tmp_path / "runs", "run")
    assert len(seen) > 40
    assert all(seen)


def test_a_file_saved_meanwhile_is_a_stock_file(tmp_path: Path) -> None:
    network = build()
    with memory_efficient_hard_swish(network):
        config = network.get_config()
        network.save(tmp_path / "lean.keras")
    assert config == network.get_config()
    loaded = keras.saving.load_model(tmp_path / "lean.keras", safe_mode=True)
    assert len(swishes(loaded)) == len(swishes(network))


def test_the_layers_are_back_after_a_failure() -> None:
    network = one_layer()
    with pytest.raises(KeyboardInterrupt), memory_efficient_hard_swish(network):
        raise KeyboardInterrupt
    assert all("call" not in vars(layer) for layer in network.layers)


def test_other_activations_are_left_alone() -> None:
    network = keras.Sequential(
        [keras.Input((4,)), keras.layers.Activation("relu"), keras.layers.Dense(2, "hard_swish")]
    )
    with memory_efficient_hard_swish(network) as count:
        assert count == 0
        assert all("call" not in vars(layer) for layer in network.layers)
