"""Training throughput of `zoo train` beside a plain Keras `fit` on in-memory arrays.

    python benchmarks/training_overhead.py [ROUNDS]

Both train the same network (the registered mobilenetv3) on the same phantom images with the same batch size, precision and
optimizer, without augmentation, on TensorFlow; zoo computes its batch normalisation with the fused kernel. A round runs
each once, in a process of its own, and which goes first alternates. Each process trains three epochs; the images per second are
those of the last two, validation left out. Written to benchmarks/results/training_overhead.csv.
"""

from __future__ import annotations

import csv
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TARGET = Path(__file__).parent / "results" / "training_overhead.csv"
IMAGES, BATCH, EPOCHS = 1280, 32, 3
LAYER = {
    "model": {"name": "mobilenetv3"},
    "augment": "none",
    "schedule": "constant",
    "data": {"name": "phantom", "patients": 1000},
    "limit": int(IMAGES / 0.7) + 60,
    "epochs": EPOCHS,
    "batch_size": BATCH,
}


def by_zoo(size: int) -> float:
    """ImageSet per second of `zoo train`, as its metrics.csv says."""
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.inference.training import train

    config = resolve([LAYER, {"image_size": size}], registry())
    with tempfile.TemporaryDirectory() as runs:
        outcome = train(config, registry(), Path(runs), "run")
        with (outcome.run.path / "metrics.csv").open() as file:
            return statistics.mean(float(row["images_per_second"]) for row in list(csv.DictReader(file))[1:])


def by_keras(size: int) -> float:
    """ImageSet per second of `keras.Model.fit` on arrays."""
    import time

    import keras
    import numpy as np

    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.data.pipeline import load_images
    from zoo.engine.weights import build_network

    config = resolve([LAYER, {"image_size": size}], registry())
    images = load_images(config, registry())
    rows = images.of("train")
    x, y = np.array(images.store.images[images.rows[rows]])[..., None], images.labels[rows]
    keep = len(x) // BATCH * BATCH
    model = registry().get("model", "mobilenetv3")
    network, _ = build_network(model, images.task, size, None, config.model.options)
    network.compile(keras.optimizers.Adam(1e-3), keras.losses.BinaryCrossentropy(from_logits=True))
    rates = []
    for _ in range(EPOCHS):
        begin: list[float] = []
        timer = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs, begin=begin: begin.append(time.monotonic()),
            on_epoch_end=lambda epoch, logs, begin=begin: begin.append(time.monotonic()),
        )
        network.fit(x[:keep], y[:keep], batch_size=BATCH, epochs=1, verbose=0, callbacks=[timer])
        rates.append(keep / (begin[1] - begin[0]))
    return statistics.mean(rates[1:])


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in ("zoo", "keras"):
        print({"zoo": by_zoo, "keras": by_keras}[sys.argv[1]](int(sys.argv[2])))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    lines = []
    for size in (96, 224):
        rates: dict[str, list[float]] = {"zoo": [], "keras": []}
        for number in range(rounds):
            for each in ("zoo", "keras") if number % 2 else ("keras", "zoo"):
                words = [sys.executable, __file__, each, str(size)]
                done = subprocess.run(words, check=True, capture_output=True, text=True)
                rates[each].append(float(done.stdout.split()[-1]))
        ratios = [z / k for z, k in zip(rates["zoo"], rates["keras"], strict=True)]
        lines.append(
            [size, *(f"{statistics.median(rates[e]):.1f}" for e in ("zoo", "keras"))]
            + [f"{value:.3f}" for value in (statistics.median(ratios), min(ratios), max(ratios))]
            + [rounds, platform.python_version(), platform.machine()]
        )
    names = ["image_size", "zoo_images_per_s", "keras_images_per_s", "ratio_median", "ratio_min", "ratio_max"]
    with TARGET.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*names, "rounds", "python", "machine"])
        writer.writerows(lines)
    print(TARGET.read_text(), end="")


if __name__ == "__main__":
    main()
