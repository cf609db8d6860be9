"""Several devices on TensorFlow: makes replicas under `tf.distribute.MirroredStrategy` compute what one device would.

Each replica sees its part of the batch. Keras 3 does not share between replicas the number of known labels, the statistics of
batch normalisation and the gradient before it is clipped, scaled or accumulated; and all replicas draw the same random numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import keras

from zoo.nn.keras_compat import flatten_layers, override_moments, seed_generators, update_without_strategy

STRIDE = 0x9E3779B1  # between the seeds of two replicas; odd and large, so that no two generators meet


@functools.cache
def mirrored_strategy(names: tuple[str, ...]) -> Any:
    """The strategy over devices by Keras' names, such as gpu:0 and gpu:1.

    One for all trainings of a process: a second one would reuse the numbers of the first one's collective operations, which
    TensorFlow rejects ("Shape mismatch in the collective instance").
    """
    import tensorflow as tf

    return tf.distribute.MirroredStrategy([name.upper() for name in names])


def total(value: Any) -> Any:
    """The sum of a tensor over the replicas; its gradient flows to all of them. Outside of replicas the tensor itself."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


@contextmanager
def synchronised_norm(network: keras.Model, replicas: int) -> Iterator[None]:
    """Let batch normalisation in training use mean and variance over the images of all replicas, as on one device.

    Mean first, then the mean squared distance from it, as on one device: Keras' own `synchronized=True` subtracts the square
    of the mean from the mean of squares, which loses digits where the mean is large. The layers are restored at the end.
    """

    def moments(inputs: Any, axes: Sequence[int]) -> tuple[Any, Any]:
        import tensorflow as tf

        shape = [1 if axis in axes else size for axis, size in enumerate(inputs.shape)]
        mean = total(tf.reduce_mean(inputs, axes)) / _parts(replicas)
        distance = inputs - tf.reshape(mean, shape)
        return mean, total(tf.reduce_mean(tf.square(distance), axes)) / _parts(replicas)

    layers = [layer for layer in flatten_layers(network) if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.synchronized for layer in layers]
    for layer in layers:
        layer.synchronized = True  # keeps `fused_batch_norm` away, whose kernel knows one replica
    try:
        with override_moments(layers, moments):
            yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.synchronized = value


def _parts(replicas: int) -> int:
    """The number of replicas in the current context; 1 outside of one, where Keras also traces layers."""
    import tensorflow as tf

    return replicas if tf.distribute.get_replica_context() is not None else 1


def separate_seeds(model: keras.Model) -> None:
    """Let every random generator of a model draw differently in each replica.

    Replica 0 draws as a single device does; the seed of replica r is r strides away. The saved state is shared, so draws are
    determined by seed, step and replica.
    """
    for generator in seed_generators(model):
        generator.next = MethodType(_next, generator)


def _next(generator: Any, ordered: bool = True) -> Any:
    import tensorflow as tf

    seed = type(generator).next(generator, ordered)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return seed
    replica = tf.cast(context.replica_id_in_sync_group, seed.dtype)
    return seed + tf.stack([replica * STRIDE, tf.zeros_like(replica)])


def sum_gradients(optimizer: Any) -> None:
    """Let an optimizer sum the gradients of all replicas first, then update each replica's copy of the weights.

    Keras sums them during the update: after clipping and accumulation, which then see partial gradients, and by an operation
    that is not allowed inside the condition that accumulation needs. All copies start equal and get the same sum.
    """
    update_without_strategy(getattr(optimizer, "inner_optimizer", optimizer))
    optimizer.apply = MethodType(_apply_total, optimizer)


def _apply_total(optimizer: Any, grads: Sequence[Any], trainable_variables: Any = None) -> None:
    import tensorflow as tf

    known = [gradient for gradient in grads if gradient is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, known))
    whole = [None if gradient is None else next(summed) for gradient in grads]
    type(optimizer).apply(optimizer, whole, trainable_variables)
