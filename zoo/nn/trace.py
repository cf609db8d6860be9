"""The layers of a network in the order in which they compute, with their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from zoo.nn.keras_compat import flatten_layers
from zoo.nn.override_call import override_call


def trace(network: Any) -> list[tuple[Any, Any]]:
    """Every layer of a network with its symbolic output, in the order of computation.

    Nothing is computed: the outputs have a shape, but no values. Layers of nested models are included, and so are the plain
    operations between layers, such as the product in `x * gate`.
    """
    import keras

    shape = (1, *network.input_shape[1:])
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with recorded(network) as seen:
            function = tf.function(lambda images: network(images, training=False), autograph=False)
            function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        return seen
    import jax

    found: list[tuple[Any, Any]] = []

    def call(trainable: Any, others: Any, images: Any) -> Any:
        with recorded(network) as seen:
            logits, _ = network.stateless_call(trainable, others, images, training=False)
        found.extend(seen)
        return logits

    jax.eval_shape(call, *variable_values(network), np.zeros(shape, np.float32))
    return found


def variable_values(network: Any) -> tuple[list[Any], list[Any]]:
    """The values of the trainable and of the other variables, as `stateless_call` takes them on JAX."""
    return [v.value for v in network.trainable_variables], [v.value for v in network.non_trainable_variables]


@contextmanager
def recorded(network: Any) -> Iterator[list[tuple[Any, Any]]]:
    """Record every layer and operation with its output, in the order of computation, while the network is called."""
    parts = _parts(network)
    original = {id(part): part.call for part in parts}
    seen: list[tuple[Any, Any]] = []

    def call(part: Any, *args: Any, **kwargs: Any) -> Any:
        output = original[id(part)](*args, **kwargs)
        seen.append((part, output))
        return output

    with override_call(parts, call):
        yield seen


def _parts(network: Any) -> list[Any]:
    """All layers inside a network and the operations between them."""
    found: dict[int, Any] = {}
    for layer in flatten_layers(network):
        found |= {id(each): each for each in (layer, *getattr(layer, "operations", ()))}
    del found[id(network)]
    return list(found.values())
