"""How well near-duplicate images are told from images that only look alike: the evidence for the limits in zoo/data/audit/near.py.

    python benchmarks/near_duplicates.py [COPIES]

Two sets: the NIH subset in ../shared/data/nih (256 pixels, compared at 64) and PneumoniaMNIST (28 pixels, enlarged to 64).

- "copy": COPIES (300) images drawn with seed 0 are changed as files are when they are passed on, prepared, and compared with the
  image they came from. `recall` is the share found by the limits in force.
- "other": all pairs of images that the hashes propose at each threshold, split by whether they are of one patient (known for
  NIH only) or of two. `confirmed` counts those that the pixels confirm; identical images are left out. Pairs of two patients that
  are confirmed are false positives, unless the dataset holds copies under two names.
- "random": pairs of images drawn at random, whose correlation shows what images have in common by being images.
- "time": the search over 112,120 random hashes.

Written to benchmarks/results/near_duplicates.csv.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from common import machine, write_csv
from PIL import Image

DATA = Path(__file__).parents[2] / "shared" / "data"
SETS = {"nih": "nih", "medmnist": "pneumoniamnist"}
THRESHOLDS = (20, 30, 40, 50, 60)
Row = dict[str, object]


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (max(8, round(side * factor)) for side in pixels.shape)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def cropped(pixels: np.ndarray, share: float) -> np.ndarray:
    height, width = (max(1, round(side * share)) for side in pixels.shape)
    return pixels[height:-height, width:-width]


def bright(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.clip(change(pixels.astype(float)), 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG quality 50": lambda p: jpeg(p, 50),
    "JPEG quality 20": lambda p: jpeg(p, 20),
    "half the size": lambda p: scaled(p, 0.5),
    "a quarter of the size": lambda p: scaled(p, 0.25),
    "brighter by 20%": lambda p: bright(p, lambda v: 1.2 * v),
    "contrast 70%": lambda p: bright(p, lambda v: 0.7 * (v - 128) + 128),
    "gamma 1.5": lambda p: bright(p, lambda v: 255 * (v / 255) ** 1.5),
    "noise, sd 5": lambda p: bright(p, lambda v: v + np.random.default_rng(1).normal(0, 5, v.shape)),
    "cropped by 2%": lambda p: cropped(p, 0.02),
    "rotated by 2 degrees": lambda p: np.asarray(Image.fromarray(p).rotate(2, Image.Resampling.BILINEAR)),
}


def rows_of(name: str, folder: str, copies: int) -> Iterator[Row]:
    from zoo.core.registry import registry
    from zoo.data.audit import near
    from zoo.data.resize import square
    from zoo.data.store import prepare

    dataset = registry().get("dataset", name)
    records = dataset.read(DATA / folder, dataset.Options())
    with tempfile.TemporaryDirectory() as cache:
        store = prepare(records, near.SIZE, Path(cache), name=name)
        images = np.array(store.images)
    hashes = np.array([near.perceptual_hash(image) for image in images])
    paths, patients = records.table["path"].tolist(), records.table["patient"].to_numpy()
    rng = np.random.default_rng(0)
    drawn = rng.permutation(len(images))[:copies]
    for change, make in CHANGES.items():
        bits, alike = [], []
        for row in drawn:
            copy = square(make(np.array(records.source.read(paths[row])[0])), near.SIZE)
            bits.append(int(np.bitwise_count(hashes[row] ^ near.perceptual_hash(copy)).sum()))
            alike.append(float((near.details(images[row]) * near.details(copy)).sum()))
        found = (np.array(bits) <= near.THRESHOLD) & (np.array(alike) >= near.CORRELATION)
        yield {
            "set": folder,
            "what": "copy",
            "which": change,
            "pairs": len(drawn),
            "recall": round(float(found.mean()), 3),
        } | {
            "bits_median": float(np.median(bits)),
            "bits_q99": float(np.quantile(bits, 0.99)),
            "correlation_q01": round(float(np.quantile(alike, 0.01)), 3),
        }
    first, second, distance = near.pairs_within(hashes, max(THRESHOLDS))
    digests = store.table["digest"].to_numpy()
    alike = near.correlations(lambda row: images[row], first, second)
    for threshold in THRESHOLDS:
        for which, same in (("one patient", True), ("two patients", False)):
            chosen = (distance <= threshold) & (digests[first] != digests[second])
            chosen &= (patients[first] == patients[second]) == same
            if same and not records.patients_known:
                continue
            yield {
                "set": folder,
                "what": "other",
                "which": which if records.patients_known else "patients unknown",
                "threshold": threshold,
                "pairs": int(chosen.sum()),
                "confirmed": int((alike[chosen] >= near.CORRELATION).sum()),
                "correlation_max": round(float(alike[chosen].max()), 3) if chosen.any() else "",
            }
    a, b = rng.integers(0, len(images), (2, 5000))
    differ = digests[a] != digests[b]
    alike = near.correlations(lambda row: images[row], a[differ], b[differ])
    yield {"set": folder, "what": "random", "pairs": len(alike), "correlation_max": round(float(alike.max()), 3)} | {
        "correlation_q99": round(float(np.quantile(alike, 0.99)), 3)
    }


def timing() -> Row:
    from zoo.data.audit import near

    hashes = np.random.default_rng(0).integers(0, 2**63, (112_120, near.HASH_WORDS), dtype=np.uint64)
    start = time.perf_counter()
    pairs = near.pairs_within(hashes, near.THRESHOLD)
    return {
        "set": "random hashes",
        "what": "time",
        "pairs": len(pairs[0]),
        "seconds": round(time.perf_counter() - start, 1),
    }


def main() -> None:
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rows = [row for name, folder in SETS.items() for row in rows_of(name, folder, copies)]
    rows.append(timing())
    columns = list(dict.fromkeys(column for row in rows for column in row))
    write_csv("near_duplicates", [{**{c: row.get(c, "") for c in columns}, **machine()} for row in rows])


if __name__ == "__main__":
    main()
