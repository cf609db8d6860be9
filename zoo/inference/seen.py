"""Images of another dataset that a run was trained or chosen on: the same pixels, or near-duplicates of them."""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import pandas as pd

from zoo.core.errors import ZooError
from zoo.core.progress import Progress
from zoo.core.registry import Registry
from zoo.data.audit.near import CORRELATION, SIZE, THRESHOLD, correlations, pairs_between, perceptual_hash
from zoo.data.pipeline import ImageSet
from zoo.data.resize import square
from zoo.data.run_images import run_records
from zoo.data.store import prepare
from zoo.evaluation.notes import Note
from zoo.runs.leaks import Leak
from zoo.runs.run import Run

logger = logging.getLogger(__name__)


def seen_before(run: Run, images: ImageSet, registry: Registry) -> tuple[tuple[Leak, ...], tuple[Note, ...]]:
    """The leaks from a run's training and validation images into `images`, prepared at the run's size.

    Near-duplicates are what `zoo data audit` takes for such: perceptual hashes within `THRESHOLD` bits whose pixels correlate by
    `CORRELATION`. Where the run's own images cannot be read any more, a note "near_duplicates_unchecked" says so.
    """
    own = pd.read_csv(run.path / "images.csv", dtype=str)
    table = images.store.table.iloc[images.rows]
    same = table["digest"].isin(set(own.loc[own["split"] != "test", "digest"].dropna())).to_numpy()
    found: dict[Literal["pixels", "near"], np.ndarray] = {"pixels": same}
    notes: tuple[Note, ...] = ()
    try:
        near = _near(images.store.images, images.rows, *_own_images(run, registry))
        found["near"] = near & ~same
    except ZooError as error:
        logger.warning(f"near-duplicates of the images that the run was trained on were not looked for: {error}")
        notes = (Note("near_duplicates_unchecked"),)
    leaks = [
        Leak(kind, "test", int(seen.sum()), len(table), str(table["image"].to_numpy()[seen][0]))
        for kind, seen in found.items()
        if seen.any()
    ]
    return tuple(leaks), notes


def _own_images(run: Run, registry: Registry) -> tuple[np.ndarray, np.ndarray]:
    """The pixels `(M, S, S)` of a run's dataset, and the rows of its training and validation images."""
    records = run_records(run, ("train", "val"), registry)
    store = prepare(records.records, int(run.info()["image_size"]), name=run.config()["data"]["name"])
    return store.images, records.rows[(store.table["reason"] == "").to_numpy()[records.rows]]


def _near(images: np.ndarray, rows: np.ndarray, own: np.ndarray, own_rows: np.ndarray) -> np.ndarray:
    """Which of the rows of `images` are near-duplicates of one of the rows of `own`."""
    sets = ((images, rows), (own, own_rows))

    def pixels(number: int) -> np.ndarray:
        of, at = (sets[0], number) if number < len(rows) else (sets[1], number - len(rows))
        return square(of[0][of[1][at]], SIZE)

    count = len(rows) + len(own_rows)
    with Progress("Looking for near-duplicates of training images", count) as progress:
        hashes = np.zeros((count, perceptual_hash(pixels(0)).size), np.uint64)
        for number in range(count):
            hashes[number] = perceptual_hash(pixels(number))
            progress.advance(1)
    first, second, _ = pairs_between(hashes[: len(rows)], hashes[len(rows) :], THRESHOLD)
    alike = correlations(pixels, first, second + len(rows)) >= CORRELATION
    return np.isin(np.arange(len(rows)), first[alike])
