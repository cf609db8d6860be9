"""Logits and gradients with respect to features, on TensorFlow and JAX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from zoo.core.errors import ZooError
from zoo.explain.layers import SpatialLayer, perturbed
from zoo.nn.trace import variable_values


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


class Probe:
    """Computes a network's logits, and the gradient of one of them with respect to the features of a layer.

    Compiled once for batches of `batch` images; stays valid when the weights change.
    """

    def __init__(self, network: Any, target: SpatialLayer | None = None, batch: int = 16) -> None:
        self.network, self.target, self.batch = network, target, batch
        self.size = int(network.input_shape[1])

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Logits float32 `(N, K)` of images `(N, S, S)` in [0, 255]."""
        return np.concatenate([self._logits(part)[:count] for count, part, _ in self._batches(images, None)])

    def gradients(self, images: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features and the gradients of logits by them.

        Args:
            images: images `(N, S, S)` in [0, 255].
            columns: which logit of each image is meant, `(N,)`.

        Returns:
            The layer's features and the gradients, each float32 `(N, height, width, channels)`, and all logits `(N, K)`.
        """
        parts = [[a[:n] for a in self._gradients(part, of)] for n, part, of in self._batches(images, columns)]
        features, gradients, logits = (np.concatenate(each) for each in zip(*parts, strict=True))
        return features, gradients, logits

    def _batches(self, images: np.ndarray, columns: np.ndarray | None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Batches of one size, the last one filled up: another size would be compiled anew."""
        if images.shape[1:] != (self.size, self.size):
            raise ZooError(f"the network takes {self.size}×{self.size} pixels, the images are {images.shape[1:]}.")
        columns = np.zeros(len(images), np.int32) if columns is None else columns.astype(np.int32)
        for start in range(0, len(images), self.batch):
            rows = np.arange(start, start + self.batch).clip(max=len(images) - 1)
            yield min(self.batch, len(images) - start), images[rows].astype(np.float32)[..., None], columns[rows]

    @cached_property
    def _logits(self) -> Callable[[np.ndarray], np.ndarray]:
        return _tf_logits(self) if _backend() == "tensorflow" else _jax_logits(self)

    @cached_property
    def _gradients(self) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
        return _tf_gradients(self) if _backend() == "tensorflow" else _jax_gradients(self)


def _tf_logits(probe: Probe) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    from zoo.nn.fused_norm import fused_batch_norm

    shape = (probe.batch, probe.size, probe.size, 1)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(shape, tf.float32)])
    def compute(images: Any) -> Any:
        with fused_batch_norm(probe.network):
            return tf.cast(probe.network(images, training=False), tf.float32)

    return lambda images: np.asarray(compute(images))


def _tf_gradients(probe: Probe) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
    import tensorflow as tf

    from zoo.nn.fused_norm import fused_batch_norm

    network, target = probe.network, probe.target
    assert target is not None
    pixels = tf.TensorSpec((probe.batch, probe.size, probe.size, 1), tf.float32)
    shape = (probe.batch, target.height, target.width, target.channels)

    @tf.function(autograph=False, input_signature=[pixels, tf.TensorSpec((probe.batch,), tf.int32)])
    def compute(images: Any, columns: Any) -> Any:
        zeros = tf.zeros(shape)

        def change(output: Any) -> Any:
            return output + tf.cast(zeros, output.dtype)

        # the fused norms first: both replace `call`, and the layer looked into may be a norm
        with tf.GradientTape() as tape, fused_batch_norm(network), perturbed(target, change) as seen:
            tape.watch(zeros)
            logits = tf.cast(network(images, training=False), tf.float32)
            chosen = tf.gather(logits, columns, axis=1, batch_dims=1)
        gradients = tape.gradient(chosen, zeros, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return tf.cast(seen[0], tf.float32), gradients, logits

    return lambda images, columns: tuple(np.asarray(each) for each in compute(images, columns))


def _jax_logits(probe: Probe) -> Callable[[np.ndarray], np.ndarray]:
    import jax

    network = probe.network

    @jax.jit
    def compute(trainable: Any, others: Any, images: Any) -> Any:
        return network.stateless_call(trainable, others, images, training=False)[0].astype("float32")

    return lambda images: np.asarray(compute(*variable_values(network), images))


def _jax_gradients(probe: Probe) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
    import jax
    import jax.numpy as jnp

    network, target = probe.network, probe.target
    assert target is not None
    shape = (probe.batch, target.height, target.width, target.channels)

    @jax.jit
    def compute(trainable: Any, others: Any, images: Any, columns: Any) -> Any:
        def score(zeros: Any) -> tuple[Any, Any]:
            with perturbed(target, lambda output: output + zeros.astype(output.dtype)) as seen:
                logits, _ = network.stateless_call(trainable, others, images, training=False)
            logits = logits.astype("float32")
            chosen = jnp.take_along_axis(logits, columns[:, None], axis=1)
            return chosen.sum(), (seen[0].astype("float32"), logits)

        gradients, (features, logits) = jax.grad(score, has_aux=True)(jnp.zeros(shape))
        return features, gradients, logits

    return lambda images, columns: tuple(
        np.asarray(each) for each in compute(*variable_values(network), images, columns)
    )
