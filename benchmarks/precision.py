"""How much faster a training step is at a lower precision than at float32: the measurements behind `--precision auto`.

    python benchmarks/precision.py [MODEL ...]

Each model is built twice in one process, with float32 and with the lower precision, at its own image size, with random
weights, the fused batch normalisation of `zoo train` and Adam. Steps on the same batch then alternate, which goes first too.
`ratio` is the median over the pairs of wall-clock time at float32 over that at the lower precision; `cpu_ratio` is the same of
CPU time, which other work on the machine disturbs less (on a CPU; meaningless on a GPU). mixed_float16 is measured on GPUs alone:
CPUs emulate it. Rows are put into zoo/engine/precision.csv, those of other devices are kept.
"""

from __future__ import annotations

import contextlib
import csv
import statistics
import subprocess
import sys
import time
from pathlib import Path

TARGET = Path(__file__).parents[1] / "zoo" / "engine" / "precision.csv"
COLUMNS = [
    "device", "backend", "model", "precision", "ratio", "ratio_min", "ratio_max", "cpu_ratio", "image_size", "batch_size",
    "pairs", "keras", "backend_version",
]  # fmt: skip
# model -> batch size, pairs of steps
MODELS = {
    "mobilenetv3": (16, 15),
    "densenet121": (16, 8),
    "efficientnet-lite0": (16, 8),
    "tiny-cnn": (64, 15),
    "inceptionresnetv2": (8, 6),
}

OPEN = contextlib.ExitStack()  # kept to the end of the process


def measure(model: str, lower: str) -> dict[str, str]:
    """One row: steps at float32 and at `lower` in turn."""
    from importlib.metadata import version

    import keras
    import numpy as np

    from zoo.core.registry import registry
    from zoo.engine import devices
    from zoo.engine.precision import cpu_kind

    batch, pairs = MODELS[model]
    strategy = registry().get("model", model)
    size = strategy.info.image_size
    rng = np.random.default_rng(0)
    data = {
        "image": rng.integers(0, 256, (batch, size, size, 1)).astype(np.uint8),
        "label": rng.integers(0, 2, (batch, 1)).astype(np.float32),
    }
    trainers = {precision: build(model, size, precision) for precision in ("float32", lower)}
    for trainer in trainers.values():
        for _ in range(2):  # tracing, and first use of the kernels
            trainer.train_on_batch(data)
    wall: dict[str, list[float]] = {p: [] for p in trainers}
    cpu: dict[str, list[float]] = {p: [] for p in trainers}
    for number in range(pairs):
        for precision in list(trainers) if number % 2 else reversed(list(trainers)):
            start = time.perf_counter(), time.process_time()
            trainers[precision].train_on_batch(data)
            wall[precision].append(time.perf_counter() - start[0])
            cpu[precision].append(time.process_time() - start[1])
    ratios = [a / b for a, b in zip(wall["float32"], wall[lower], strict=True)]
    backend = keras.backend.backend()
    name, line = devices.select("auto")
    device = cpu_kind() if name.startswith("cpu") else line.removesuffix(f" ({backend})")
    figures = {
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cpu_ratio": statistics.median(a / b for a, b in zip(cpu["float32"], cpu[lower], strict=True)),
    }
    return {
        "device": device,
        "backend": backend,
        "model": model,
        "precision": lower,
        **{name: f"{value:.2f}" for name, value in figures.items()},
        "image_size": str(size),
        "batch_size": str(batch),
        "pairs": str(pairs),
        "keras": version("keras"),
        "backend_version": version(backend),
    }


def build(model: str, size: int, precision: str) -> object:
    """A trainer ready for `train_on_batch`."""
    import keras

    from zoo.config.optimizers import OptimizerOptions
    from zoo.core.contracts import NoOptions
    from zoo.core.registry import registry
    from zoo.core.tasks import Task
    from zoo.engine.optimizers import build_optimizer
    from zoo.engine.training import Trainer
    from zoo.nn.fused_norm import fused_batch_norm

    keras.config.set_dtype_policy(precision)
    task, strategy = Task("binary", ("abnormal",)), registry().get("model", model)
    network = strategy.build(task, size, None, strategy.Options())
    OPEN.enter_context(fused_batch_norm(network))
    bce = registry().get("loss", "bce")
    loss = bce.build(task, None, bce.Options())
    trainer = Trainer(network, task, loss, lambda images, labels, seed: (images, labels), 0)
    optimizer = build_optimizer("adam", OptimizerOptions(lr=1e-3), "constant", NoOptions(), 1, precision)
    on_cpu_tensorflow = keras.backend.backend() == "tensorflow" and not on_gpu()
    trainer.compile(optimizer=optimizer, jit_compile=False if on_cpu_tensorflow else "auto")
    return trainer


def on_gpu() -> bool:
    from zoo.engine import devices

    return devices.select("auto")[0].startswith("gpu")


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
        writer.writerow(measure(sys.argv[2], sys.argv[3]))
        return
    rows = {}
    if TARGET.exists():
        with TARGET.open() as file:
            rows = {tuple(row[c] for c in COLUMNS[:4]): row for row in csv.DictReader(file)}
    for model in sys.argv[1:] or MODELS:
        for lower in ("mixed_bfloat16", "mixed_float16") if on_gpu() else ("mixed_bfloat16",):
            words = [sys.executable, __file__, "--one", model, lower]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            row = dict(zip(COLUMNS, next(csv.reader(done.stdout.splitlines()[-1:])), strict=True))
            rows[tuple(row[c] for c in COLUMNS[:4])] = row
            print(row, flush=True)
    with TARGET.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[key] for key in sorted(rows))


if __name__ == "__main__":
    main()
