"""What zoo relies on inside Keras. A failure here says what a new version of Keras has changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import pytest

from zoo.nn import keras_compat as compat

on_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="about the TensorFlow backend")


def network() -> keras.Model:
    """Two nested models, dropout in the inner one, and one layer that is called twice."""
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, keras.layers.Dropout(0.5, name="drop")(inner_input), name="inner")
    inputs = keras.Input((4,), name="in")
    twice = keras.layers.Dense(4, name="twice")
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(twice(twice(inner(inputs)))), name="outer")


def test_flatten_layers_descends_into_nested_models_and_composite_layers() -> None:
    assert {"outer", "in", "inner", "drop", "twice", "out"} <= {each.name for each in compat.flatten_layers(network())}
    tokens = keras.Input((3, 8))
    attention = keras.layers.MultiHeadAttention(2, 4)
    attention(tokens, tokens)
    assert any(isinstance(each, keras.layers.EinsumDense) for each in compat.flatten_layers(attention))


def test_only_a_graph_of_layers_is_functional() -> None:
    class Subclass(keras.Model):
        def call(self, inputs: Any) -> Any:
            return inputs

    assert compat.is_functional(network())
    assert not compat.is_functional(Subclass())
    assert not compat.is_functional(keras.Sequential([keras.layers.Dense(1)]))


def test_a_tensor_knows_the_call_that_computed_it() -> None:
    found = network()
    node = compat.node_of(found.outputs[0])
    assert node.operation is found.get_layer("out")
    assert node.outputs[0] is found.outputs[0]
    assert compat.node_of(node.input_tensors[0]).operation is found.get_layer("twice")
    with pytest.raises(AttributeError):
        compat.node_of(keras.ops.ones((1, 4)))


def test_calls_counts_how_often_a_layer_is_used() -> None:
    found = network()
    assert compat.calls(found.get_layer("twice")) == 2
    assert compat.calls(found.get_layer("out")) == 1


def test_the_random_generators_of_all_layers_are_found() -> None:
    found = network()
    (generator,) = compat.seed_generators(found)
    before = np.array(keras.ops.convert_to_numpy(generator.state))
    found(np.ones((1, 4), np.float32), training=True)
    assert not np.array_equal(before, keras.ops.convert_to_numpy(generator.state))
    assert callable(generator.next)


def test_batch_normalisation_takes_other_moments_for_a_while() -> None:
    norm = keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-3)
    images = np.random.default_rng(0).normal(5, 2, (4, 3, 3, 2)).astype(np.float32)
    norm.build(images.shape)
    seen = []

    def moments(inputs: Any, axes: Any) -> tuple[Any, Any]:
        seen.append(list(axes))
        return keras.ops.zeros((2,)), keras.ops.ones((2,))

    with compat.override_moments([norm], moments):
        given = keras.ops.convert_to_numpy(norm(images, training=True))
    np.testing.assert_allclose(given, images / np.sqrt(1.001), rtol=1e-5)
    assert seen == [[0, 1, 2]]
    own = keras.ops.convert_to_numpy(norm(images, training=True))
    np.testing.assert_allclose(own.mean((0, 1, 2)), 0, atol=1e-4)


def test_masked_inputs_keep_the_moments_of_keras() -> None:
    norm = keras.layers.BatchNormalization()
    steps, mask = np.ones((2, 3, 4), np.float32), np.ones((2, 3), bool)
    norm.build(steps.shape)

    def moments(inputs: Any, axes: Any) -> tuple[Any, Any]:
        raise AssertionError("called for masked inputs")

    with compat.override_moments([norm], moments):
        norm(steps, training=True, mask=mask)


SYNC = """
import keras, numpy as np
from zoo.nn.keras_compat import sync_variables

class Look(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        sync_variables(self.model)
        found.append(float(np.array(self.model.weights[0])[0, 0]))

found = []
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
model.compile(keras.optimizers.SGD(1.0), "mae")
model.fit(np.ones((3, 1)), np.full((3, 1), 9.0), batch_size=1, shuffle=False, verbose=0, callbacks=[Look()])
print(found)
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_variables_hold_the_values_of_the_last_step_once_synchronised(
    backend: str, run_python: Callable[..., Any]
) -> None:
    if backend == "jax":
        pytest.importorskip("jax")
    done = run_python("-c", SYNC, KERAS_BACKEND=backend)
    assert done.stdout.split("\n")[0] == "[1.0, 2.0, 3.0]", done.stderr


class Counting(compat.OwnAverages):
    """Keeps the number of batches, and sets each average to the variable."""

    def update_averages(self, pairs: Iterable[tuple[Any, Any]], batches: Any) -> None:
        self.seen = [*getattr(self, "seen", []), int(keras.ops.convert_to_numpy(batches))]
        for variable, average in pairs:
            average.assign(variable + 1.0)


def test_averages_are_updated_after_every_batch_by_the_method_of_the_subclass() -> None:
    made: Any = type("Averaged", (Counting, keras.optimizers.SGD), {})
    optimizer = made(0.5, use_ema=True, gradient_accumulation_steps=2)
    variable = keras.Variable(np.zeros(3, np.float32))
    optimizer.build([variable])
    for _ in range(3):
        optimizer.apply([keras.ops.ones(3)])
    assert optimizer.seen == [0, 1, 2]  # batches, not updates
    ((trained, average),) = compat.moving_averages(optimizer)
    assert trained is variable
    np.testing.assert_allclose(keras.ops.convert_to_numpy(average), keras.ops.convert_to_numpy(variable) + 1)


def test_an_optimizer_knows_the_order_of_its_variables_and_which_decay() -> None:
    kernel = keras.Variable(np.zeros(2, np.float32), name="kernel")
    bias = keras.Variable(np.zeros(2, np.float32), name="bias")
    optimizer = keras.optimizers.AdamW(weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build([kernel, bias])
    assert [compat.variable_index(optimizer, each) for each in (kernel, bias)] == [0, 1]
    assert [compat.has_weight_decay(optimizer, each) for each in (kernel, bias)] == [True, False]


@on_tensorflow
def test_an_update_without_the_strategy_is_the_update_of_one_device() -> None:
    """Under a strategy of several devices: tests/engine/test_replicas.py."""
    values = []
    for without_strategy in (False, True):
        variable = keras.Variable(np.ones(3, np.float32))
        optimizer = keras.optimizers.SGD(0.1, weight_decay=0.1, gradient_accumulation_steps=2)
        optimizer.build([variable])
        if without_strategy:
            of_tensorflow = optimizer._backend_update_step
            compat.update_without_strategy(optimizer)
            assert optimizer._backend_update_step != of_tensorflow
        for _ in range(4):
            optimizer.apply([keras.ops.ones(3)])
        values.append(keras.ops.convert_to_numpy(variable))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
