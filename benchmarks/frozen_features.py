"""Epochs of the head alone, on the features kept of a frozen backbone beside epochs that compute them anew.

    python benchmarks/frozen_features.py [ROUNDS [IMAGE_SIZE [IMAGES]]]

The registered mobilenetv3 with random weights and a frozen backbone on phantom images, batches of 32, without augmentation, fused
batch normalisation; an epoch is its steps and the validation after it, in both. In each round one epoch is computed anew and
`KEPT` are trained on the features, in turn; the ratio is that of the medians of a round. `seconds_features` is what computing the
features took, once for all epochs. Written to benchmarks/results/frozen_features.csv.
"""

from __future__ import annotations

import csv
import platform
import statistics
import sys
import time
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "results" / "frozen_features.csv"
BATCH, KEPT = 32, 20


def prepare(size: int, count: int) -> tuple[Any, Any, Any]:
    """Trainer, training batches, and rows of the validation images."""
    import keras
    import numpy as np

    from zoo.config.optimizers import OptimizerOptions
    from zoo.config.resolve import resolve
    from zoo.core.contracts import NoOptions
    from zoo.core.registry import registry
    from zoo.data.batches import TrainingBatches
    from zoo.data.pipeline import load_images
    from zoo.engine.optimizers import build_optimizer
    from zoo.engine.training import Trainer

    layer = {"image_size": size, "limit": int(count / 0.7), "data": {"name": "phantom", "patients": count}}
    config = resolve([layer], registry())
    images = load_images(config, registry())
    labels = np.full((len(images.store.images), 1), np.nan, np.float32)
    labels[images.rows] = images.labels
    batches = TrainingBatches(images.store.images, labels, images.rows[images.of("train")], BATCH, 0)
    model, bce = registry().get("model", "mobilenetv3"), registry().get("loss", "bce")
    network = model.build(images.task, size, None, model.Options())
    network.get_layer("backbone").trainable = False
    augment = registry().get("augmenter", "none").build(size, NoOptions())
    trainer = Trainer(network, images.task, bce.build(images.task, None, bce.Options()), augment, 0)
    optimizer = build_optimizer("adam", OptimizerOptions(lr=1e-3), "constant", NoOptions(), 1, "float32")
    network.jit_compile = keras.backend.backend() != "tensorflow"
    trainer.compile(optimizer=optimizer, jit_compile=network.jit_compile)
    return trainer, batches, images.rows[images.of("val")]


def epochs(trainer: Any, feed: Any, steps: int, count: int, validate: Any) -> list[float]:
    """Seconds of each epoch, steps and validation."""
    import keras

    found: list[float] = []

    class Clock(keras.callbacks.CallbackList):
        """As in `zoo train`, reads the loss after each step."""

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 0:
                self.start = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            float((logs or {})["loss"])

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            validate()
            found.append(time.perf_counter() - self.start)

    trainer.fit(
        feed,
        epochs=count,
        steps_per_epoch=steps,
        callbacks=Clock(add_history=True, model=trainer),
        shuffle=False,
        verbose=0,
    )
    return found


def main() -> None:
    rounds, size, count = (int(word) for word in (*sys.argv[1:], *("5", "224", "1280")[len(sys.argv) - 1 :]))
    from zoo.core.registry import registry
    from zoo.engine.features import cached_features
    from zoo.engine.feed import training_feed
    from zoo.engine.predict import predict_logits
    from zoo.nn.fused_norm import fused_batch_norm

    anew, batches, validation = prepare(size, count)
    kept, _, _ = prepare(size, count)
    none, steps = registry().get("augmenter", "none").info, batches.steps
    with fused_batch_norm(anew.network), fused_batch_norm(kept.network):
        start = time.perf_counter()
        cache = cached_features(kept, none, batches, validation, views=1, epochs=KEPT)
        assert cache is not None
        once = time.perf_counter() - start

        def by_images(number: int) -> list[float]:
            return epochs(
                anew,
                training_feed(batches, 0, number * steps),
                steps,
                number,
                lambda: predict_logits(anew.network, batches.images, validation, BATCH),
            )

        def by_features(number: int) -> list[float]:
            with cache.feeding(kept):
                return epochs(kept, cache.feed(0, number * steps), steps, number, cache.validation_logits)

        by_images(1), by_features(1)  # tracing
        found: dict[str, list[float]] = {"images": [], "features": []}
        for number in range(rounds):
            for what in ("images", "features") if number % 2 else ("features", "images"):
                seconds = by_images(1) if what == "images" else by_features(KEPT)
                found[what].append(statistics.median(seconds))
    ratios = [a / b for a, b in zip(found["images"], found["features"], strict=True)]
    row = {
        "model": "mobilenetv3",
        "image_size": size,
        "images": len(batches.rows),
        "validation_images": len(validation),
        "batch_size": BATCH,
        "seconds_anew": f"{statistics.median(found['images']):.3f}",
        "seconds_kept": f"{statistics.median(found['features']):.4f}",
        "ratio_median": f"{statistics.median(ratios):.1f}",
        "ratio_min": f"{min(ratios):.1f}",
        "ratio_max": f"{max(ratios):.1f}",
        "seconds_features": f"{once:.2f}",
        "rounds": rounds,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerow(row)
    print(TARGET.read_text(), end="")


if __name__ == "__main__":
    main()
