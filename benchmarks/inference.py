"""Speed of the inference pass of `zoo predict` and `zoo evaluate` in each runtime, compared with stock Keras' `predict`.

    python benchmarks/inference.py [ROUNDS [MODEL IMAGES]...]

The networks have 224 pixels and random weights. The images are 8-bit noise in memory, the same array for all contenders. Stock
Keras is `keras.Model.predict(images, batch_size=32)` on the saved network, on TensorFlow with its default autotune. zoo-keras,
zoo-litert and zoo-onnx are the runtimes of `zoo.inference.runtimes.runtime.open_runtime`; they compute features as well as logits.

A round runs every contender once, each in its own process, in rotating order. A process opens its runtime, predicts all images
once to warm up and then three times; the fastest pass counts. Ratios compare with stock Keras in the same round: images per
second, and processor time, which other programs affect less. open_s is the time from a running interpreter to the first
prediction, loading of libraries included; convert_s is the time of the conversion, which happens once per network. Results go
to benchmarks/results/inference.csv.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import alternate, machine, median, ratios, run, write_csv

SIZE, BATCH, PASSES = 224, 32, 3
CONTENDERS = ("keras predict", "zoo-keras", "zoo-litert", "zoo-onnx")
MODELS = {"mobilenetv3": 2048, "densenet121": 256}  # images


def convert(folder: str, model: str) -> None:
    """Make a run with an untrained network, and convert it for both runtimes."""
    from zoo.core.registry import registry
    from zoo.core.tasks import Task
    from zoo.engine.weights import build_network
    from zoo.inference.runtimes.artifacts import find
    from zoo.inference.runtimes.runtime import open_runtime
    from zoo.runs.run import Run

    strategy = registry().get("model", model)
    network, _ = build_network(strategy, Task("binary", ("Abnormal",)), SIZE, None, strategy.Options())
    made = Run(Path(folder))
    network.save(made.model_file)
    seconds = {}
    for form in ("litert", "onnx"):
        open_runtime(made, form).close()
        artifact = find(made, form)
        assert artifact is not None
        seconds[f"zoo-{form}"] = artifact.seconds
    print(json.dumps(seconds))


def measure(folder: str, contender: str, images: int) -> None:
    """Images per second and processor milliseconds per image of one contender."""
    import numpy as np

    arrays = np.random.default_rng(0).integers(0, 256, (images, SIZE, SIZE), dtype=np.uint8)
    started = time.monotonic()
    predict = _stock(folder) if contender == "keras predict" else _runtime(folder, contender.removeprefix("zoo-"))
    predict(arrays[:BATCH])
    opened = time.monotonic() - started
    predict(arrays)
    rates, costs = [], []
    for _ in range(PASSES):
        wall, processor = time.perf_counter(), time.process_time()
        predict(arrays)
        costs.append((time.process_time() - processor) / images * 1e3)
        rates.append(images / (time.perf_counter() - wall))
    print(json.dumps({"rate": max(rates), "cpu": min(costs), "open": opened}))


def _stock(folder: str) -> Callable[[Any], Any]:
    import keras

    network = keras.saving.load_model(Path(folder) / "model.keras", compile=False)
    return lambda images: network.predict(images[..., None], batch_size=BATCH, verbose=0)


def _runtime(folder: str, name: str) -> Callable[[Any], Any]:
    from zoo.inference.runtimes.runtime import open_runtime
    from zoo.runs.run import Run

    return open_runtime(Run(Path(folder)), name, device="cpu").predict


def compare(model: str, images: int, rounds: int) -> list[dict[str, Any]]:
    """One row for each contender."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = run([sys.executable, __file__, "convert", folder, model])
        words = {each: [sys.executable, __file__, "measure", folder, each, str(images)] for each in CONTENDERS}
        found = alternate(words, rounds)
    stock = found["keras predict"]
    rows = []
    for name, costs in found.items():
        cpu = ratios([each["cpu"] for each in stock], [each["cpu"] for each in costs])
        rows.append(
            {
                "model": model,
                "contender": name,
                "images_per_s": median(costs, "rate"),
                **ratios([each["rate"] for each in costs], [each["rate"] for each in stock]),
                "cpu_ms_per_image": median(costs, "cpu", 3),
                **{f"cpu_{column}": value for column, value in cpu.items()},
                "open_s": median(costs, "open", 2),
                "convert_s": f"{seconds[name]:.1f}" if name in seconds else "",
                "image_size": SIZE,
                "images": images,
                "rounds": rounds,
                **machine(),
            }
        )
    return rows


def main() -> None:
    if sys.argv[1:2] == ["convert"]:
        convert(*sys.argv[2:4])
    elif sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
        pairs = dict(zip(sys.argv[2::2], map(int, sys.argv[3::2]), strict=True)) or MODELS
        write_csv("inference", [row for model, images in pairs.items() for row in compare(model, images, rounds)])


if __name__ == "__main__":
    main()
