"""Preparation of 1024×1024 originals at 224×224: `zoo` beside Pillow, beside tf.data, and beside what inflating alone takes.

    python benchmarks/preparation.py [ROUNDS [IMAGES [SET ...]]]

Three sets are made of the 140 images in ../shared/data/nih-originals, each repeated up to IMAGES (4,200, so that starting the
workers, a fifth of a second, counts as little as it does for anyone with thousands of images):

- "as they lie": 12 are RGBA, and 125 of the 128 gray ones were written anew by whoever passed them on, with filters (Paeth,
  Average) that take longer to undo;
- "as published": the same images, the gray ones written as the published files are (`images.py`);
- "gray as published": these without the RGBA ones.

In a round each contender prepares all of them once, in a process of its own, in an order that rotates; two processes or threads
each. The time is that from the list of files to the finished array, without the imports of the contender's own libraries in its
main process:

- zoo: `zoo.data.store.prepare` with two workers, from starting them to the published store with its checksums on the disk;
- pillow: a plain script, open, to gray, resize, in a pool of two processes (forked, so without start-up);
- tf.data: `decode_png` and `tf.image.resize` in `map` with two parallel calls;
- limit: reading, inflating the pixel data by Python's zlib and zoo's resizing, in two processes: no pixels are decoded.

Written to benchmarks/results/preparation.csv: the median rate; the ratio of zoo's rate to the contender's within a round; and the
processor time per image with its ratio (the contender's to zoo's), which other work on the machine disturbs less.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import Costs, alternate, machine, median, ratios, write_csv
from images import ORIGINALS, is_gray, published_png

SIZE, PROCESSES = 224, 2
SETS = ("as they lie", "as published", "gray as published")
Seconds = tuple[float, float]


def clock() -> Seconds:
    """Wall time, and processor time of this process and of those it has waited for, in seconds."""
    times = os.times()
    return time.perf_counter(), times.user + times.system + times.children_user + times.children_system


def since(start: Seconds) -> Seconds:
    now = clock()
    return now[0] - start[0], now[1] - start[1]


def by_zoo(files: list[str]) -> Seconds:
    import pandas as pd

    from zoo.core.records import Records
    from zoo.data.images import FileSource
    from zoo.data.store import prepare

    names = [f"{i}" for i in range(len(files))]
    table = pd.DataFrame({"image": names, "path": [os.path.basename(f) for f in files], "patient": names, "Mass": 0.0})
    records = Records(table, ("Mass",), FileSource(os.path.dirname(files[0])))
    with tempfile.TemporaryDirectory() as cache:
        start = clock()
        store = prepare(records, SIZE, Path(cache), workers=PROCESSES)
        cost = since(start)
    assert (store.table["reason"] == "").all()
    return cost


def pillow_image(file: str) -> np.ndarray:
    from PIL import Image

    with Image.open(file) as image:
        return np.asarray(image.convert("L").resize((SIZE, SIZE)))


def limit_image(file: str) -> np.ndarray:
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


def in_processes(image: Callable[[str], np.ndarray], files: list[str]) -> Seconds:
    from PIL import Image

    Image.preinit()
    start = clock()
    images = np.empty((len(files), SIZE, SIZE), np.uint8)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        for row, pixels in enumerate(pool.imap(image, files, chunksize=16)):
            images[row] = pixels
    return since(start)


def by_tf_data(files: list[str]) -> Seconds:
    import tensorflow as tf

    def image(file: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(tf.io.read_file(file), channels=1)
        return tf.cast(tf.image.resize(pixels, (SIZE, SIZE)), tf.uint8)[..., 0]

    start = clock()
    images = np.empty((len(files), SIZE, SIZE), np.uint8)
    data = tf.data.Dataset.from_tensor_slices(files).map(image, num_parallel_calls=PROCESSES).batch(64).prefetch(1)
    row = 0
    for batch in data.as_numpy_iterator():
        images[row : row + len(batch)] = batch
        row += len(batch)
    return since(start)


CONTENDERS: dict[str, Callable[[list[str]], Seconds]] = {
    "zoo": by_zoo,
    "pillow": lambda files: in_processes(pillow_image, files),
    "tf.data": by_tf_data,
    "limit": lambda files: in_processes(limit_image, files),
}


def write_set(name: str, folder: Path) -> Path:
    """The folder in which a set lies; the rewritten ones are written into `folder`."""
    if name == SETS[0]:
        return ORIGINALS
    from PIL import Image

    for file in sorted(ORIGINALS.glob("*.png")):
        if is_gray(file):
            with Image.open(file) as image:
                (folder / file.name).write_bytes(published_png(np.asarray(image)))
        elif name == SETS[1]:
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def measure(name: str, rounds: int, count: int) -> list[dict[str, object]]:
    """One line per contender on one set."""
    with tempfile.TemporaryDirectory() as made:
        folder = write_set(name, Path(made))
        commands = {each: [sys.executable, __file__, "contender", each, str(folder), str(count)] for each in CONTENDERS}
        costs = alternate(commands, rounds)
    rows = []
    for each, found in costs.items():
        quotients = {kind: ratios(column(found, kind), column(costs["zoo"], kind)) for kind in ("wall", "cpu")}
        row = {"images": name, "contender": each}
        row |= {"images_per_s": f"{count / float(median(found, 'wall', 6)):.0f}", **quotients["wall"]}
        row |= {"cpu_ms_per_image": f"{float(median(found, 'cpu', 6)) / count * 1e3:.2f}"}
        row |= {f"cpu_{key}": value for key, value in quotients["cpu"].items()}
        rows.append({**row, "count": count, "rounds": rounds, "processes": PROCESSES, **machine()})
    return rows


def column(costs: list[Costs], kind: str) -> list[float]:
    return [each[kind] for each in costs]


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["contender"]:
        each, folder, count = words[1], Path(words[2]), int(words[3])
        files = sorted(str(file) for file in folder.glob("*.png"))
        wall, processor = CONTENDERS[each]((files * (count // len(files) + 1))[:count])
        print(json.dumps({"wall": wall, "cpu": processor}))
        return
    if not ORIGINALS.is_dir():
        sys.exit(f"no originals in {ORIGINALS}")
    rounds, count = (int(words[at]) if len(words) > at else default for at, default in ((0, 6), (1, 4200)))
    names = words[2:] or list(SETS)
    if unknown := set(names) - set(SETS):
        sys.exit(f"unknown set {', '.join(sorted(unknown))}; valid: {', '.join(SETS)}")
    write_csv("preparation", [row for name in names for row in measure(name, rounds, count)])


if __name__ == "__main__":
    main()
