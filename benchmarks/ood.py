"""What the OOD detector of finished runs flags: their own test images, which it should not, and other images, which it should.

    python benchmarks/ood.py RUN [RUN …] [--images FOLDER]

A run without an OOD detector gets one, from the validation images of its dataset. The kinds made here are changed test images,
two photographs that come with scikit-learn, text, noise and drawn hands; FOLDER adds a kind per sub-folder of images. The
interval of the test images' rate is a bootstrap over patients, that of other kinds Wilson's over images. `cpu_ms` is
the processor time of `OODDetector.score` per image in batches of 32 (a flagged image costs more: its reason is looked for),
`cpu_ms_network` that of the network. Results: benchmarks/results/ood.csv.
"""

from __future__ import annotations

import argparse
import csv
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.data.resize import square

TARGET = Path(__file__).parent / "results" / "ood.csv"
CHANGED = 100  # test images that are changed


def hand(seed: int, size: int = 512) -> np.ndarray:
    """A drawn radiograph of a hand: bones as bright capsules in soft tissue, on black."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size

    def capsule(start: Any, end: Any, width: float, soft: float) -> np.ndarray:
        (x0, y0), (dx, dy) = start, np.subtract(end, start)
        along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-9), 0, 1)
        return 1 / (1 + np.exp((np.hypot(x - x0 - along * dx, y - y0 - along * dy) - width) / soft))

    centre, wrist = 0.5 + generator.normal(0, 0.03), 0.75
    tissue = [capsule((centre, wrist), (centre, 0.55), 0.16, 0.01), capsule((centre, wrist), (centre, 1.1), 0.12, 0.01)]
    bones = [capsule((centre + s, 0.86), (centre + 1.3 * s, 1.1), 0.033, 0.005) for s in (-0.05, 0.05)]
    angles = np.array([-0.75, -0.28, -0.05, 0.17, 0.4]) + generator.normal(0, 0.03, 5)
    lengths = np.array([0.36, 0.55, 0.6, 0.56, 0.45]) * generator.uniform(0.85, 1.05)
    for angle, length in zip(angles, lengths, strict=True):
        way = np.array([np.sin(angle), -np.cos(angle)]) * length
        joints = np.array([centre + 0.14 * np.sin(angle), wrist]) + np.outer((0, 0.42, 0.7, 0.87, 1), way)
        tissue.append(capsule(joints[0], joints[-1], 0.045, 0.006))
        for start, end in pairwise(joints):
            gap = (end - start) * 0.06
            bones.append(capsule(start + gap, end - gap, 0.017, 0.004))
    image = 90 * np.max(tissue, axis=0) + 130 * np.max(bones, axis=0) + generator.normal(0, 4, (size, size)) + 8
    return image.clip(0, 255).astype(np.uint8)


def page(seed: int, size: int = 512) -> np.ndarray:
    """A screenshot of text, dark on light or light on dark."""
    generator = np.random.default_rng(seed)
    paper, ink = ((255, 0), (30, 230))[seed % 2]
    image, font = Image.new("L", (size, size), paper), ImageFont.load_default(int(generator.integers(12, 26)))
    letters = list("abcdefghij klmno pqrst uvwxyz")
    for y in range(10, size, 24):
        ImageDraw.Draw(image).text((10, y), "".join(generator.choice(letters, 60)), fill=ink, font=font)
    return np.asarray(image)


def changed(images: np.ndarray) -> dict[str, np.ndarray]:
    """Test images `(N, S, S)` made into what a chest X-ray should not be."""
    from scipy.ndimage import gaussian_filter, rotate

    size, generator = images.shape[1], np.random.default_rng(1)
    half, middle = size // 2, slice(int(0.3 * size), int(0.7 * size))
    left, low = images.copy(), images.copy()
    left[:, :, :half], low[:, half:] = 0, 0
    small = np.stack([square(image, half) for image in images])
    shrunk = np.zeros_like(images)
    shrunk[:, half // 2 : half // 2 + half, half // 2 : half // 2 + half] = small
    quarters = [np.roll(small, k, axis=0) for k in range(4)]
    collage = np.zeros_like(images)
    top, bottom = (np.concatenate(quarters[k : k + 2], axis=2) for k in (0, 2))
    collage[:, : 2 * half, : 2 * half] = np.concatenate([top, bottom], axis=1)
    unit = images / 255.0
    return {
        "inverted": 255 - images,
        "turned 90°": np.rot90(images, 1, (1, 2)),
        "turned 180°": np.rot90(images, 2, (1, 2)),
        "turned 15°": np.stack([rotate(image, 15, reshape=False, order=1) for image in images]),
        "upside down (mirrored)": images[:, ::-1],
        "mirrored left-right": images[:, :, ::-1],
        "middle 40% only": np.stack([square(image[middle, middle], size) for image in images]),
        "corner 50% only": np.stack([square(image[:half, :half], size) for image in images]),
        "left half black": left,
        "lower half black": low,
        "half the size, on black": shrunk,
        "four images in one": collage,
        "gamma 0.3": (255 * unit**0.3).round().astype(np.uint8),
        "gamma 3": (255 * unit**3).round().astype(np.uint8),
        "contrast 5%": (128 + (images - 128.0) * 0.05).round().astype(np.uint8),
        "blurred, 8 of 224 px": np.stack([gaussian_filter(image, 8 * size / 224) for image in images]),
        "noise, deviation 40": (images + generator.normal(0, 40, images.shape)).clip(0, 255).astype(np.uint8),
    }


def others(size: int, folder: Path | None) -> dict[str, np.ndarray]:
    """Images that were never chest X-rays, and those of the folder."""
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(2)
    grey = [np.asarray(Image.fromarray(image).convert("L")) for image in load_sample_images().images]
    crops = []
    for photo in grey * 10:
        side = int(min(photo.shape) * generator.uniform(0.5, 1))
        y, x = (generator.integers(0, length - side + 1) for length in photo.shape)
        crops.append(photo[y : y + side, x : x + side])
    shades = [np.full((size, size), value, np.uint8) for value in (0, 1, 30, 64, 100, 128, 160, 200, 255)]
    noisy = [value + generator.normal(0, s, (size, size)) for value in (0, 60, 128, 200) for s in (2, 10, 30)]
    kinds: dict[str, list[np.ndarray]] = {
        "photograph (scikit-learn's two)": grey,
        "photograph, crops of the two": crops,
        "hand (drawn)": [hand(seed) for seed in range(20)],
        "hand (drawn), inverted": [255 - hand(seed) for seed in range(20)],
        "text": [page(seed) for seed in range(20)],
        "blank": shades,
        "blank with noise": [each.clip(0, 255).astype(np.uint8) for each in noisy],
    }
    for kind in sorted(folder.iterdir()) if folder else ():
        kinds[kind.name] = [np.asarray(Image.open(file).convert("L")) for file in sorted(kind.iterdir())]
    return {name: np.stack([square(image, size) for image in images]) for name, images in kinds.items()}


def wilson(count: int, total: int) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(count, total).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def by_patient(flagged: np.ndarray, patients: np.ndarray) -> tuple[float, float]:
    """95% bootstrap interval of a share over patients; Wilson's where nothing was flagged."""
    if not flagged.any():
        return wilson(0, len(flagged))
    _, index = np.unique(patients, return_inverse=True)
    total, hits = np.bincount(index), np.bincount(index, weights=flagged)
    draws = np.random.default_rng(0).integers(0, len(total), (2000, len(total)))
    low, high = np.percentile(hits[draws].sum(axis=1) / total[draws].sum(axis=1), (2.5, 97.5))
    return float(low), float(high)


def flagged(detector: Any, features: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, float]:
    """Which are flagged, and the milliseconds of processor time each took."""
    begun = time.thread_time()
    starts = range(0, len(images), 32)
    scores = [each for at in starts for each in detector.score(features[at : at + 32], images[at : at + 32])]
    spent = 1000 * (time.thread_time() - begun) / len(images)
    return np.array([score.flagged for score in scores]), spent


def measure(reference: str, folder: Path | None) -> list[dict[str, Any]]:
    """Rows of one run."""
    from zoo.core.registry import registry
    from zoo.data.run_images import run_images
    from zoo.engine.load import load_network
    from zoo.inference.ood import load_detector
    from zoo.inference.ood_training import features_of, fit_for_run
    from zoo.runs.run import Run

    run = Run.find(reference)
    detector = load_detector(run) or fit_for_run(run, registry())
    found = run_images(run, "test", registry())
    own = found.images[found.rows]
    chosen = own[np.random.default_rng(0).choice(len(own), CHANGED, replace=False)]
    kinds = {"test images": own, **changed(chosen), **others(own.shape[1], folder)}
    images = np.concatenate(list(kinds.values()))
    kind_of = np.repeat(list(kinds), [len(each) for each in kinds.values()])
    begun = time.process_time()
    features = features_of(load_network(run), images, np.arange(len(images)), 32)
    network_time = 1000 * (time.process_time() - begun) / len(images)
    rows = []
    for kind in kinds:
        flags, spent = flagged(detector, features[kind_of == kind], images[kind_of == kind])
        own = kind == "test images"
        patients = found.listed["patient"].to_numpy()
        low, high = by_patient(flags, patients) if own else wilson(int(flags.sum()), len(flags))
        rows.append(
            {
                "run": run.name,
                "model": run.info()["model"],
                "kind": kind,
                "images": len(flags),
                "flagged": int(flags.sum()),
                "share": f"{flags.mean():.4f}",
                "low": f"{low:.4f}",
                "high": f"{high:.4f}",
                "expected_at_most": f"{detector.rate:.4f}" if own else "",
                "cpu_ms": f"{spent:.2f}",
                "cpu_ms_network": f"{network_time:.1f}" if own else "",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--images", type=Path)
    given = parser.parse_args()
    rows = [row for run in given.runs for row in measure(run, given.images)]
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(TARGET.read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main()
