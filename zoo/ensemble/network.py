"""Builds one network from several: each of them reads the image, and their outputs are combined into logits."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.core.errors import UsageError
from zoo.core.tasks import Task
from zoo.nn.inference import for_inference
from zoo.nn.keras_compat import calls, is_functional, node_of
from zoo.nn.members import BACKBONE, PREFIX


def averaged(networks: Sequence[Any], weights: Sequence[float], task: Task) -> keras.Model:
    """Build a network whose probabilities are the weighted mean of those of `networks`; its logits are those of `combine`.

    Where all networks end in a Dense layer, these layers become one that reads all features and has zeros between one
    network's features and another's logits. The joint features then come right before it, as in any network.

    Args:
        networks: from pixels `(N, S, S, 1)` to logits `(N, K)`, all with the same S and K.
        weights: one per network, above 0, with the sum 1.
        task: determines the activation.
    """
    heads = [_head(network) for network in networks]
    image = keras.Input(networks[0].input_shape[1:], name="image")
    found = [head for head in heads if head is not None]
    if len(found) == len(heads):
        backbone = _backbone([_trunk(n, head) for n, head in zip(networks, found, strict=True)])
        dense = keras.layers.Dense(len(networks) * task.outputs, dtype="float32", name="heads")
        logits = dense(backbone(image))
        dense.set_weights(_side_by_side([head.get_weights() for head in found]))
    else:
        logits = _backbone(list(networks))(image)
    each = ops.split(logits, len(networks), axis=1) if len(networks) > 1 else [logits]
    return keras.Model(image, _mean(each, weights, task), name="ensemble")


def concatenated(networks: Sequence[Any], task: Task) -> keras.Model:
    """Build one backbone of the networks without their heads, their features concatenated, with a new head.

    Raises:
        UsageError: a network does not end in a Dense layer, so its head cannot be separated from the rest.
    """
    trunks = []
    for network in networks:
        head = _head(network)
        if head is None:
            raise UsageError(
                f"the network {network.name} does not end in a Dense layer, so its head cannot be separated from its features: "
                "use --by mean or --by weighted."
            )
        trunks.append(_trunk(network, head))
    image = keras.Input(networks[0].input_shape[1:], name="image")
    features = _backbone(trunks)(image)
    logits = keras.layers.Dense(task.outputs, dtype="float32", name="logits")(features)
    return keras.Model(image, logits, name="ensemble")


def _head(network: Any) -> Any | None:
    """The linear Dense layer that computes a network's logits; None if another layer does."""
    if not is_functional(network):
        return None
    layer = node_of(network.outputs[0]).operation
    linear = isinstance(layer, keras.layers.Dense) and layer.activation is keras.activations.linear and layer.use_bias
    read = layer.input if linear and calls(layer) == 1 else None
    return layer if read is not None and len(read.shape) == 2 else None


def _trunk(network: Any, head: Any) -> keras.Model:
    """The network up to the input of its head, without layers that only its training needed, such as dropout."""
    features = keras.Model(network.inputs[0], head.input, name=network.name)
    return for_inference(features)


def _backbone(parts: Sequence[Any]) -> keras.Model:
    """From an image to the outputs of all parts, concatenated, in float32."""
    image = keras.Input(parts[0].input_shape[1:])
    for number, part in enumerate(parts, 1):
        part.name = f"{PREFIX}{number}"
    given = [part(image) for part in parts]
    join: Any = keras.layers.Concatenate if len(given) > 1 else keras.layers.Identity
    joined = join(dtype="float32", name="features")(given if len(given) > 1 else given[0])
    return keras.Model(image, joined, name=BACKBONE)


def _side_by_side(weights: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Kernels `(D_i, K)` and biases `(K,)` as one kernel `(ΣD_i, M·K)`, zero outside the blocks, and one bias."""
    from scipy.linalg import block_diag

    kernels, biases = zip(*weights, strict=True)
    return [block_diag(*kernels).astype(np.float32), np.concatenate(biases)]


def _mean(logits: Sequence[Any], weights: Sequence[float], task: Task) -> Any:
    """`combine` for logits `(N, K)` of each network, in operations that every export format supports; `(N, K)` float32."""
    if task.exclusive:
        return _log_sum([ops.log_softmax(each, axis=-1) for each in logits], weights)
    # log σ(z) = min(z, 0) − log(1 + e^−|z|), and log σ(−z) = log σ(z) − z
    positive = [
        ops.subtract(ops.minimum(each, 0.0), ops.log(ops.add(ops.exp(ops.negative(ops.abs(each))), 1.0)))
        for each in logits
    ]
    negative = [ops.subtract(log, each) for log, each in zip(positive, logits, strict=True)]
    return ops.subtract(_log_sum(positive, weights), _log_sum(negative, weights))


def _log_sum(values: Sequence[Any], weights: Sequence[float]) -> Any:
    """log Σ w·exp(value), one member at a time, so that nothing needs to be broadcast."""
    top = functools.reduce(ops.maximum, values)
    parts = [ops.multiply(ops.exp(ops.subtract(v, top)), float(w)) for v, w in zip(values, weights, strict=True)]
    return ops.add(ops.log(functools.reduce(ops.add, parts)), top)
