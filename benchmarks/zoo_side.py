"""zoo in the benchmarks; runs in zoo's own environment.

    python benchmarks/zoo_side.py batches FOLDER SIZE BATCH
    python benchmarks/zoo_side.py train MODEL FOLDER SIZE BATCH EPOCHS
    python benchmarks/zoo_side.py steps MODEL FOLDER SIZE BATCH EPOCHS [PRECISION]

`batches` reads what a training is fed with from a prepared store. `train` is `zoo train` on ROOT/train, val and test of a folder
per class; `steps` is the same with one batch handed over again and again. All without augmentation, with Adam, at float32
unless said otherwise. Each prints one line of JSON; preparing is timed apart.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from common import Costs, StepClock

EPOCHS_OF_BATCHES = 40


def batches(root: Path, size: int, batch: int) -> Costs:
    """ImageSet per second of epochs of the batches that `zoo train` is fed with."""
    import numpy as np

    from zoo.data.batches import TrainingBatches
    from zoo.engine.feed import training_feed

    images, seconds = prepared(root, size)
    rows = images.rows[images.of("train")]
    labels = np.zeros((len(images.store.images), 1), np.float32)
    source = TrainingBatches(images.store.images, labels, rows, batch, 0)
    for _ in training_feed(source, 0, source.steps):
        pass
    start, count = time.perf_counter(), 0
    for each in training_feed(source, source.steps, EPOCHS_OF_BATCHES * source.steps):
        count += len(each[0]["image"])
    return {"images_per_s": count / (time.perf_counter() - start), "images": len(rows), "preparing_s": seconds}


def config_of(root: Path, size: int, **settings: Any) -> Any:
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry

    data = {"data": {"name": "folder", "root": str(root)}, "task": "binary"}
    return resolve([{**data, "image_size": size, **settings}], registry())


def prepared(root: Path, size: int) -> tuple[Any, float]:
    """The images of a folder, and how long preparing them took."""
    from zoo.core.registry import registry
    from zoo.data.pipeline import load_images, read_records
    from zoo.data.store import prepare

    config = config_of(root, size)
    start = time.perf_counter()
    prepare(read_records(config, registry()), size, name=config.data.name)
    seconds = time.perf_counter() - start
    return load_images(config, registry()), seconds


def train(
    model: str, root: Path, size: int, batch: int, epochs: int, precision: str = "float32", fed: bool = True
) -> Costs:
    """Times of the steps of `zoo train`; without `fed` on one batch that is in memory."""
    from zoo.core.registry import registry
    from zoo.engine import fit
    from zoo.engine.steps import Steps
    from zoo.inference.training import train as zoo_train

    _, seconds = prepared(root, size)
    clock, begin, after, feed = StepClock(), Steps.begin_epoch, Steps.after, fit.training_feed

    def begin_epoch(self: Steps) -> None:
        begin(self)
        clock.begin_epoch()

    def after_step(self: Steps, loss: Any) -> None:
        after(self, loss)
        clock.step()

    def one_batch(source: Any, start: int, stop: int) -> Any:
        import tensorflow as tf

        options = tf.data.Options()
        options.autotune.enabled = False
        images, labels = source.batch(start)
        again = tf.data.Dataset.from_tensors(({"image": images, "label": labels},)).repeat(stop - start)
        return again.with_options(options)

    options = {
        "augment": "none",
        "schedule": "constant",
        "optimizer": "adam",
        "weights": "none",
        "epochs": epochs,
        "batch_size": batch,
    }
    config = config_of(root, size, model={"name": model}, precision=precision, monitor="val_loss", **options)
    with (
        tempfile.TemporaryDirectory() as runs,
        mock.patch.object(Steps, "begin_epoch", begin_epoch),
        mock.patch.object(Steps, "after", after_step),
        mock.patch.object(fit, "training_feed", feed if fed else one_batch),
    ):
        zoo_train(config, registry(), Path(runs), "run")
    return {**clock.costs(batch), "preparing_s": seconds}


def main() -> None:
    what, *words = sys.argv[1:]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["ZOO_CACHE"] = cache
        if what == "batches":
            found = batches(Path(words[0]), int(words[1]), int(words[2]))
        else:
            numbers = [int(word) for word in words[2:5]]
            found = train(words[0], Path(words[1]), *numbers, *words[5:], fed=what == "train")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
