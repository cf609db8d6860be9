"""Hard swish with a gradient of its own, in the layers of any network, while a run trains on TensorFlow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from zoo.nn.keras_compat import flatten_layers
from zoo.nn.override_call import override_call

if TYPE_CHECKING:
    import keras


def memory_efficient_hard_swish(network: keras.Model) -> AbstractContextManager[int]:
    """Let the network's hard-swish activations (Howard et al. 2019, arXiv:1905.02244) keep less and read less for their
    gradient; yields how many do.

    TensorFlow derives the gradient of `x * relu6(x + 3) / 6` operation by operation, which keeps three arrays of the
    activation's size from the forward pass and takes five passes over memory. Written as one expression it keeps two and
    takes four (benchmarks/hard_swish.py). The forward pass is the stock one bit for bit. Weights, configuration and saved
    files are those of the stock layers, which are back when the context ends. Only layers of type
    `keras.layers.Activation` are served, and none on JAX, where XLA fuses.
    """
    import keras

    on_tensorflow = keras.backend.backend() == "tensorflow"
    return override_call(
        (layer for layer in flatten_layers(network) if on_tensorflow and _served(layer)), _memory_efficient_call
    )


def _served(layer: keras.Layer) -> bool:
    import keras

    return type(layer) is keras.layers.Activation and layer.activation is keras.activations.hard_silu


def _memory_efficient_call(layer: Any, inputs: Any) -> Any:
    return _hard_swish()(inputs)


@functools.cache
def _hard_swish() -> Callable[[Any], Any]:
    import tensorflow as tf

    @tf.custom_gradient
    def hard_swish(x: Any) -> tuple[Any, Callable[[Any], Any]]:
        three, six = tf.constant(3.0, x.dtype), tf.constant(6.0, x.dtype)
        gate = tf.nn.relu6(x + three)

        def gradient(upstream: Any) -> Any:
            inside = tf.raw_ops.Relu6Grad(gradients=x, features=gate)  # x where 0 < gate < 6, else 0
            return upstream * ((gate + inside) / six)

        return x * (gate / six), gradient

    hard_swish_call: Callable[[Any], Any] = hard_swish
    return hard_swish_call
