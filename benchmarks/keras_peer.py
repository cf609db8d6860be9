"""Stock Keras in the benchmarks; runs in the environment `keras` of peers.py, without zoo.

    python benchmarks/keras_peer.py batches FOLDER SIZE BATCH
    python benchmarks/keras_peer.py train MODEL FOLDER SIZE BATCH EPOCHS
    python benchmarks/keras_peer.py steps MODEL SIZE BATCH STEPS

MODEL is a class of keras.applications. Each prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
from common import Costs, StepClock


def directory(folder: Path, size: int, batch: int) -> Any:
    """Keras' own reader of a folder per class, one channel."""
    return keras.utils.image_dataset_from_directory(
        str(folder),
        label_mode="binary",
        color_mode="grayscale",
        batch_size=batch,
        image_size=(size, size),
        verbose=False,
    )


def batches(folder: Path, size: int, batch: int) -> Costs:
    """Images per second of the second epoch of batches."""
    data = directory(folder, size, batch)
    for _ in data.take(2):
        pass
    start, count = time.perf_counter(), 0
    for images, _ in data:
        count += len(images)
    return {"images_per_s": count / (time.perf_counter() - start), "images": count}


def network(name: str, size: int) -> Any:
    """The network of keras.applications on gray images, compiled with Adam and the loss from logits, at float32."""
    pixels = keras.Input((size, size, 1))
    scaled = pixels if name.startswith("MobileNetV3") else keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    colours = keras.layers.Concatenate()([scaled] * 3)
    backbone = getattr(keras.applications, name)(
        weights=None, include_top=False, input_shape=(size, size, 3), pooling="avg"
    )
    built = keras.Model(pixels, keras.layers.Dense(1)(backbone(colours)))
    built.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    return built


class Clock(keras.callbacks.Callback):
    """Hands the ends of the steps to a StepClock."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = StepClock()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.steps.begin_epoch()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps.step()


def train(model: str, folder: Path, size: int, batch: int, epochs: int) -> Costs:
    """`fit` on the images of a folder, as Keras' guides have it."""
    clock = Clock()
    network(model, size).fit(directory(folder, size, batch), epochs=epochs, verbose=0, callbacks=[clock])
    return clock.steps.costs(batch)


def steps(model: str, size: int, batch: int, count: int) -> Costs:
    """`fit` on one batch in memory, over and over."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 1)).astype(np.float32)
    labels = rng.integers(0, 2, (batch, 1)).astype(np.float32)
    clock, data = Clock(), tf.data.Dataset.from_tensors((images, labels)).repeat()
    network(model, size).fit(data, epochs=2, steps_per_epoch=count + 1, verbose=0, callbacks=[clock])
    return clock.steps.costs(batch)


def main() -> None:
    what, *words = sys.argv[1:]
    if what == "batches":
        found = batches(Path(words[0]), int(words[1]), int(words[2]))
    elif what == "train":
        found = train(words[0], Path(words[1]), *(int(word) for word in words[2:]))
    else:
        found = steps(words[0], *(int(word) for word in words[1:]))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
