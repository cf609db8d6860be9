"""Batch normalisation by TensorFlow's fused kernel, in the layers of any network, while a run trains and predicts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from zoo.nn.keras_compat import flatten_layers
from zoo.nn.override_call import override_call

if TYPE_CHECKING:
    import keras

FUSED_TYPES = ("float32", "bfloat16", "float16")
CUDNN_LEAST_EPSILON = 1e-5  # CUDNN_BN_MIN_EPSILON: cuDNN takes nothing smaller


def fused_batch_norm(network: keras.Model, *, deterministic: bool = False) -> AbstractContextManager[int]:
    """Let the network's batch-normalisation layers compute with `FusedBatchNormV3`; yields how many do.

    Keras 3 composes the normalisation from single operations, each of which reads and writes the whole activation; the
    kernel does it in one pass (benchmarks/training_overhead.py). Weights, configuration and saved files are those of the
    stock layers, which are back when the context ends. Layers that the kernel does not serve stay as they are: other
    than 4 axes with the channels last, renormalised, synchronised, of a subclass; and all of them on JAX, where XLA fuses.
    With `deterministic` frozen layers train as stock ones: on a GPU their kernel has no deterministic gradient
    (`tf.config.experimental.enable_op_determinism` lists it among the operations that are refused).
    """
    import keras

    on_tensorflow = keras.backend.backend() == "tensorflow"
    layers = [layer for layer in flatten_layers(network) if on_tensorflow and _served(layer)]
    return override_call(layers, _deterministic_call if deterministic else _fused_call)


def _served(layer: keras.Layer) -> bool:
    import keras

    return (
        type(layer) is keras.layers.BatchNormalization
        and not getattr(layer, "renorm", False)  # newer than the oldest Keras that zoo takes
        and not layer.synchronized
        and layer.epsilon >= CUDNN_LEAST_EPSILON
        and layer.input_spec is not None
        and layer.input_spec.ndim == 4
        and layer.axis in (-1, 3)
    )


def _deterministic_call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """As `_fused_call`, but without the kernel where it would need the gradient of a frozen layer."""
    call = type(layer).call if training and not layer.trainable else _fused_call
    return call(layer, inputs, training=training, mask=mask)


def _fused_call(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """What `BatchNormalization.call` computes, in one kernel."""
    import keras
    import tensorflow as tf

    if mask is not None or keras.backend.standardize_dtype(inputs.dtype) not in FUSED_TYPES:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    mean, variance = (tf.convert_to_tensor(v) for v in (layer.moving_mean, layer.moving_variance))
    scale = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones_like(mean)
    offset = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros_like(mean)
    learns = bool(training and layer.trainable)
    outputs = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=scale,
        offset=offset,
        mean=tf.zeros([0]) if learns else mean,
        variance=tf.zeros([0]) if learns else variance,
        epsilon=layer.epsilon,
        is_training=learns,
    )
    if learns:
        # the kernel gives the variance with Bessel's correction, Keras keeps the one without
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], "float32")
        biased = outputs.batch_variance * (count - 1.0) / count
        for average, new in ((layer.moving_mean, outputs.batch_mean), (layer.moving_variance, biased)):
            average.assign(average * layer.momentum + new * (1.0 - layer.momentum))
    return tf.cast(outputs.y, layer.compute_dtype)
