"""Distributions of gray values in a sample of images, in the original files and as prepared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.core.progress import Progress
from zoo.core.records import BadImage, ImageSource
from zoo.data.listed_images import ListedImages

SAMPLE = 1000
GRAYS = 256


@dataclass(frozen=True)
class Intensities:
    """Shares of the 256 gray values image by image: `raw` and `prepared` `(n, 256)`, each row summing to 1, of the images `rows`.

    Raw are the original files at their own size (other depths than 8 bits scaled to it, colours made gray), prepared the
    square images of the store, with its black margins.
    """

    rows: np.ndarray
    raw: np.ndarray
    prepared: np.ndarray
    seed: int

    def table(self, labels: pd.DataFrame) -> pd.DataFrame:
        """One row per group of images (all, and those with each finding) and kind: n, mean, sd and quartiles of the gray values."""
        found = []
        for name, chosen in self.groups(labels).items():
            for kind in ("raw", "prepared"):
                shares = getattr(self, kind)[chosen].mean(axis=0)
                found.append({"images": name, "kind": kind, "n": int(chosen.sum()), **moments(shares)})
        return pd.DataFrame(found)

    def groups(self, labels: pd.DataFrame) -> dict[str, np.ndarray]:
        """Masks over the sample: all images, and those with each finding that has any in it."""
        held = labels.iloc[self.rows]
        groups = {"all": np.ones(len(self.rows), bool)}
        groups |= {str(name): (held[name] == 1).to_numpy() for name in held}
        return {name: chosen for name, chosen in groups.items() if chosen.any()}


def moments(shares: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and quartiles of a distribution over the gray values 0 to 255."""
    grays = np.arange(GRAYS)
    mean = float((shares * grays).sum())
    quartiles = np.searchsorted(np.cumsum(shares), (0.25 - 1e-9, 0.5 - 1e-9, 0.75 - 1e-9))
    return {
        "mean": mean,
        "sd": float(np.sqrt((shares * (grays - mean) ** 2).sum())),
        **{f"q{name}": float(min(q, GRAYS - 1)) for name, q in zip((25, 50, 75), quartiles, strict=True)},
    }


def measure(
    source: ImageSource, paths: list[str], images: ListedImages, seed: int, sample: int = SAMPLE
) -> Intensities:
    """Histograms of a random sample, so that 100,000 images take no longer than 1,000.

    Args:
        source: reads the original images.
        paths: one per image.
        images: the prepared images.
        seed: of the sample.
        sample: largest number of images.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(images.readable)[:sample])
    rows, raw, prepared = [], [], []
    with Progress("Reading gray values", len(drawn)) as progress:
        for row in drawn:
            try:
                original = source.read(paths[row])[0]
            except BadImage:  # gone since it was prepared
                progress.advance(1)
                continue
            rows.append(row)
            raw.append(_shares(original))
            prepared.append(_shares(np.asarray(images[row])))
            progress.advance(1)
    shape = (len(rows), GRAYS)
    return Intensities(np.array(rows, dtype=int), np.reshape(raw, shape), np.reshape(prepared, shape), seed)


def _shares(image: np.ndarray) -> np.ndarray:
    return np.bincount(image.ravel(), minlength=GRAYS) / image.size
