"""Batches for Keras: tf.data on TensorFlow, generators elsewhere; NumPy gathers the images in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from zoo.data.batches import TrainingBatches, inference_batches
from zoo.engine.replicas import own_part

PREFETCH = 4  # batches


def training_feed(batches: TrainingBatches, start: int, stop: int) -> Any:
    """An iterable of `{"image": (B, S, S, 1) uint8, "label": (B, K) float32}`: steps `start` to `stop` of the training, counted
    from the first of epoch 0, in their seeded order."""
    return step_feed(batches.batch, "image", range(start, stop))


def step_feed(batch: Callable[[int], tuple[np.ndarray, np.ndarray]], name: str, steps: range) -> Any:
    """An iterable of `{name: (B, …), "label": (B, K) float32}`: what `batch` gives for each step, all of the same shapes."""
    return _tf_steps(batch, name, steps) if _on_tensorflow() else _generate(batch, name, steps)


def inference_feed(images: np.ndarray, rows: np.ndarray, batch_size: int) -> Any:
    """An iterable of `(B, S, S, 1)` uint8 in the order of `rows`; the last batch is filled up to full size."""
    index = inference_batches(rows, batch_size)
    if _on_tensorflow():
        return _tf_inference(images, index)
    return ((images[own_part(rows_of_batch)][..., None],) for rows_of_batch in index)


def _on_tensorflow() -> bool:
    import keras

    return bool(keras.backend.backend() == "tensorflow")


def _generate(batch: Any, name: str, steps: range) -> Iterator[tuple[dict[str, np.ndarray]]]:
    for step in steps:
        values, labels = (own_part(each) for each in batch(step))
        yield ({name: values, "label": labels},)


def _tf_steps(batch: Any, name: str, steps: range) -> Any:
    import tensorflow as tf

    first = batch(steps.start)  # for its types and shapes

    def tensors(step: Any) -> tuple[dict[str, Any]]:
        values, labels = tf.numpy_function(batch, [step], [each.dtype for each in first], stateful=False)
        values.set_shape(first[0].shape)
        labels.set_shape(first[1].shape)
        return ({name: values, "label": labels},)

    # a range of steps, not `from_generator`: that costs a training step of MobileNetV3 at 96 pixels a fifth of its speed
    return _settled(tf.data.Dataset.range(steps.start, steps.stop).map(tensors))


def _tf_inference(images: np.ndarray, index: np.ndarray) -> Any:
    import tensorflow as tf

    size = images.shape[1]

    def gather(rows: Any) -> Any:
        batch = tf.numpy_function(lambda r: images[r][..., None], [rows], tf.uint8, stateful=False)
        batch.set_shape((index.shape[1], size, size, 1))
        return (batch,)

    return _settled(tf.data.Dataset.from_tensor_slices(index).map(gather))


def _settled(dataset: Any) -> Any:
    """Prefetch with autotune off: with it on, TensorFlow 2.21 often sleeps for seconds at the end of an epoch."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(PREFETCH).with_options(options)
