"""Preparation of 1024×1024 originals at 224×224: `zoo` beside Pillow, beside tf.data, and beside what inflating alone takes.

    python benchmarks/preparation.py [ROUNDS]

The films are the originals in ../shared/data/nih-originals, ten times over, 12 of the 140 RGBA as published. In a round each
contender prepares all of them once, in a process of its own, in an order that rotates; two processes or threads each. The time is
that from the list of files to the finished array, without the imports of the contender's own libraries in its main process:

- zoo: `zoo.data.store.prepare` with two workers, from starting them to the published store with its checksums on the disk;
- pillow: a plain script, open, to gray, resize, in a pool of two processes (forked, so without start-up);
- tf.data: `decode_png` and `tf.image.resize` in `map` with two parallel calls;
- limit: reading, inflating the pixel data by Python's zlib and zoo's resizing, in two processes: no pixels are decoded.

Written to benchmarks/results/preparation.csv: the median rate and the ratio of zoo's rate to the contender's within a round; and
the processor time per film with its ratio (the contender's to zoo's), which other work on the machine disturbs less.
"""

from __future__ import annotations

import csv
import multiprocessing
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parent / "results" / "preparation.csv"
ORIGINALS = Path(__file__).parents[2] / "shared" / "data" / "nih-originals" / "images"
SIZE, COPIES, PROCESSES = 224, 10, 2


Cost = tuple[float, float]


def clock() -> Cost:
    """Wall time, and processor time of this process and of those it has waited for, in seconds."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system


def since(start: Cost) -> Cost:
    now = clock()
    return now[0] - start[0], now[1] - start[1]


def by_zoo(files: list[str]) -> Cost:
    import pandas as pd

    from zoo.data.images import FileSource
    from zoo.data.records import Records
    from zoo.data.store import prepare

    names = [f"{i}" for i in range(len(files))]
    table = pd.DataFrame({"image": names, "path": [os.path.basename(f) for f in files], "patient": names, "Mass": 0.0})
    records = Records(table, ("Mass",), FileSource(str(ORIGINALS)))
    with tempfile.TemporaryDirectory() as cache:
        start = clock()
        store = prepare(records, SIZE, Path(cache), workers=PROCESSES)
        cost = since(start)
    assert (store.films["reason"] == "").all()
    return cost


def pillow_film(file: str) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE)))


def limit_film(file: str) -> np.ndarray:
    from zoo.data.resize import square

    data, parts, at = Path(file).read_bytes(), [], 8
    while at < len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            parts.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    height = int.from_bytes(data[20:24], "big")
    rows = np.frombuffer(zlib.decompress(b"".join(parts), bufsize=1 << 20), np.uint8).reshape(height, -1)
    return square(np.ascontiguousarray(rows[:, 1 : height + 1]), SIZE)


def in_processes(film: Callable[[str], np.ndarray], files: list[str]) -> Cost:
    from PIL import Image

    Image.preinit()
    start = clock()
    films = np.empty((len(files), SIZE, SIZE), np.uint8)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for row, pixels in enumerate(pool.imap(film, files, chunksize=16)):
            films[row] = pixels
    return since(start)


def by_tf_data(files: list[str]) -> Cost:
    import tensorflow as tf

    def film(file: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(tf.io.read_file(file), channels=1)
        return tf.cast(tf.image.resize(pixels, (SIZE, SIZE)), tf.uint8)[..., 0]

    start = clock()
    films = np.empty((len(files), SIZE, SIZE), np.uint8)
    data = tf.data.Dataset.from_tensor_slices(files).map(film, num_parallel_calls=PROCESSES).batch(64).prefetch(1)
    row = 0
    for batch in data.as_numpy_iterator():
        films[row : row + len(batch)] = batch
        row += len(batch)
    return since(start)


CONTENDERS: dict[str, Callable[[list[str]], Cost]] = {
    "zoo": by_zoo,
    "pillow": lambda files: in_processes(pillow_film, files),
    "tf.data": by_tf_data,
    "limit": lambda files: in_processes(limit_film, files),
}


def rotations(rounds: int) -> Iterator[list[str]]:
    names = list(CONTENDERS)
    return (names[number % len(names) :] + names[: number % len(names)] for number in range(rounds))


def measure(rounds: int) -> dict[str, list[Cost]]:
    """What every contender took in every round."""
    costs: dict[str, list[Cost]] = {name: [] for name in CONTENDERS}
    for names in rotations(rounds):
        for name in names:
            words = [sys.executable, __file__, name]
            done = subprocess.run(words, check=True, capture_output=True, text=True)
            wall, processor = done.stdout.split()[-2:]
            costs[name].append((float(wall), float(processor)))
    return costs


def ratios(zoo: list[Cost], other: list[Cost], which: int) -> list[str]:
    """Median, least and greatest ratio of another's cost to zoo's, within a round."""
    values = [b[which] / a[which] for a, b in zip(zoo, other, strict=True)]
    return [f"{summary(values):.2f}" for summary in (statistics.median, min, max)]


def main() -> None:
    files = sorted(str(file) for file in ORIGINALS.glob("*.png")) * COPIES
    if not files:
        sys.exit(f"no originals in {ORIGINALS}")
    if len(sys.argv) > 1 and sys.argv[1] in CONTENDERS:
        print(*CONTENDERS[sys.argv[1]](files))
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    costs = measure(rounds)
    with TARGET.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        head = ["contender", "films_per_s", "zoo_ratio_median", "zoo_ratio_min", "zoo_ratio_max"]
        head += [
            "cpu_ms_per_film",
            "cpu_ratio_median",
            "cpu_ratio_min",
            "cpu_ratio_max",
            "films",
            "rounds",
            "processes",
        ]
        writer.writerow([*head, "python", "machine", "command"])
        for name, values in costs.items():
            wall, processor = ([value[i] for value in values] for i in (0, 1))
            line = [name, f"{len(files) / statistics.median(wall):.0f}", *ratios(costs["zoo"], values, 0)]
            line += [f"{statistics.median(processor) / len(files) * 1e3:.2f}", *ratios(costs["zoo"], values, 1)]
            where = [len(files), rounds, PROCESSES, platform.python_version(), platform.machine()]
            writer.writerow([*line, *where, f"python benchmarks/preparation.py {rounds}"])
    print(TARGET.read_text(), end="")


if __name__ == "__main__":
    main()
