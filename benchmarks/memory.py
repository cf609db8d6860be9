"""Peak memory of preparing and of training, over the number of images.

    python benchmarks/memory.py [MODEL [IMAGES ...]]

For each of IMAGES (2000, 20000) so many different 224-pixel PNGs are made in a folder per class (train, val and test: 8, 1 and 1
tenths). They are prepared at 224 pixels in two processes, and MODEL (mobilenetv3) is trained on them for an epoch, each stage in a
process of its own. `peak_mb` is the greatest resident memory of all its processes together; `own_mb` leaves out the pages of
files, above all of the memory-mapped store, which the system takes back when it needs the room; `store_mb` is the store's size.
Written to benchmarks/results/memory.csv.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import machine, run, watched, write_csv
from images import CLASSES, made, published_png

SIZE, BATCH, PROCESSES, KINDS = 224, 32, 2, 64
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


def write_images(root: Path, count: int) -> None:
    """Different images, quickly: a few made ones, each brightened and shifted."""
    import numpy as np

    kinds, number = [made(seed, SIZE) // 2 for seed in range(KINDS)], 0
    for split, share in SHARES.items():
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
        for index in range(round(count * share)):
            brighter, shift = number // KINDS % 100, number // KINDS // 100
            pixels = np.roll(kinds[number % KINDS], 3 * shift, axis=1) + np.uint8(brighter)
            file = root / split / CLASSES[index % len(CLASSES)] / f"{number:06d}.png"
            file.write_bytes(published_png(pixels))
            number += 1


def stage(name: str, root: Path, model: str) -> dict[str, float]:
    """Seconds and memory of preparing, or of training on what was prepared."""
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry

    layer = {
        "data": {"name": "folder", "root": str(root)},
        "model": {"name": model},
        "image_size": SIZE,
        "task": "binary",
    }
    config = resolve([{**layer, "weights": "none", "epochs": 1, "batch_size": BATCH}], registry())
    start = time.perf_counter()
    with watched() as memory, tempfile.TemporaryDirectory() as runs:
        if name == "prepare":
            from zoo.data.pipeline import read_records
            from zoo.data.store import prepare

            prepare(read_records(config, registry()), SIZE, name="folder", workers=PROCESSES)
        else:
            from zoo.inference.training import train

            train(config, registry(), Path(runs), "run")
    return {"seconds": time.perf_counter() - start, "peak_mb": memory.peak, "own_mb": memory.own}


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["stage"]:
        print(json.dumps(stage(words[1], Path(words[2]), words[3])))
        return
    model = words[0] if words else "mobilenetv3"
    lines: list[dict[str, Any]] = []
    for count in [int(word) for word in words[1:]] or (2_000, 20_000):
        with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as cache:
            os.environ["ZOO_CACHE"] = cache
            write_images(Path(root), count)
            for name in ("prepare", "train"):
                cost = run([sys.executable, __file__, "stage", name, root, model])
                row = {"stage": name, "images": count, **{key: f"{value:.0f}" for key, value in cost.items()}}
                row |= {"store_mb": f"{count * SIZE * SIZE / 1e6:.0f}", "model": model, "image_size": SIZE}
                lines.append({**row, "processes": PROCESSES if name == "prepare" else 1, **machine()})
                print(row, file=sys.stderr, flush=True)
    write_csv("memory", lines)


if __name__ == "__main__":
    main()
