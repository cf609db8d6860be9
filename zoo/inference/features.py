"""The features of a network: what its last Dense layer reads, beside its logits."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import keras
from keras import ops

from zoo.core.errors import ZooError
from zoo.explain.layers import perturbed, spatial_layers
from zoo.nn.keras_compat import flatten_layers, node_of
from zoo.nn.override_call import override_call


def with_features(network: keras.Model) -> keras.Model:
    """A network that gives its features too; it shares layers and weights with the one given.

    The features are what the last Dense layer reads: behind a backbone the pooled maps. Axes between the first and the last
    are averaged. A network without a Dense layer, such as one that ends in a 1×1 convolution, has the mean over
    the image of the last maps before its logits.

    Args:
        network: `(N, S, S, 1)` pixels to `(N, K)` logits.

    Returns:
        A model with the same input and the outputs `[logits (N, K), features (N, D)]`, both float32.

    Raises:
        ZooError: the network has neither a Dense layer nor maps.
    """
    read = _read_by_dense(network)
    if read is not None:
        model = keras.Model(network.inputs, [_plain(network.outputs[0]), _plain(read)], name=network.name)
    else:  # the last Dense lies inside a nested model, out of this graph's reach: watch it while the network computes
        inputs = keras.Input(network.input_shape[1:], name="image")
        model = keras.Model(inputs, Watched(network)(inputs), name=network.name)
    model.jit_compile = network.jit_compile
    return model


def _read_by_dense(network: Any) -> Any | None:
    """The tensor in the network's own graph that the Dense layer nearest to its output reads; None if there is none."""
    pending, seen = list(getattr(network, "outputs", None) or ()), set()
    while pending:
        node = node_of(pending.pop(0))
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node.operation, keras.layers.Dense):
            return node.input_tensors[0]
        if isinstance(node.operation, keras.Model):  # it may hold the last Dense
            return None
        pending.extend(node.input_tensors)
    return None


def _plain(values: Any) -> Any:
    """Float32 `(N, D)`: axes in the middle averaged."""
    if keras.backend.standardize_dtype(values.dtype) != "float32":
        values = ops.cast(values, "float32")
    return ops.mean(values, axis=tuple(range(1, len(values.shape) - 1))) if len(values.shape) > 2 else values


class Watched(keras.layers.Layer):
    """A network as one layer, which gives its logits and what was seen inside it while they were computed."""

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="network", dtype="float32")
        self.network = network
        self.dense = [layer for layer in flatten_layers(network) if isinstance(layer, keras.layers.Dense)]
        maps = [] if self.dense else spatial_layers(network)
        if not self.dense and not maps:
            raise ZooError(f"the network {network.name} has neither a Dense layer nor maps: no features to look at.")
        self.last_maps = maps[-1] if maps else None

    def call(self, images: Any) -> list[Any]:
        with ExitStack() as stack:
            seen: list[Any] = []
            if self.last_maps is not None:
                seen = stack.enter_context(perturbed(self.last_maps, lambda maps: maps))
            stack.enter_context(override_call(self.dense, _noting(self.dense, seen)))
            logits = self.network(images, training=False)
        return [_plain(logits), _plain(seen[-1])]


def _noting(layers: list[Any], seen: list[Any]) -> Callable[..., Any]:
    """The layers' own computation, which appends their input to `seen`."""
    original = {id(layer): layer.call for layer in layers}

    def call(layer: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(inputs)
        return original[id(layer)](inputs, *args, **kwargs)

    return call
