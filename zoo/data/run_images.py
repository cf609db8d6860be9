"""The images of a finished run, found again in its dataset."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.config.resolve import resolve_images
from zoo.core.errors import DataError
from zoo.core.records import Records
from zoo.core.registry import Registry
from zoo.data.pipeline import read_records
from zoo.data.store import Store, prepare
from zoo.runs.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRecords:
    """Images of a run in its dataset: `rows[i]` of `records` is line i of `listed`, which are lines of the run's images.csv."""

    records: Records
    rows: np.ndarray
    listed: pd.DataFrame


@dataclass(frozen=True)
class RunImages(RunRecords):
    """Images of a run with their pixels: `rows[i]` is also the row in the store's `images` `(M, S, S)`."""

    images: np.ndarray


def run_records(run: Run, splits: Sequence[str], registry: Registry) -> RunRecords:
    """The images of some splits of a run that its dataset still has.

    Raises:
        ZooError: the dataset cannot be read, or its plugin is missing.
    """
    records = read_records(resolve_images(run.config(), registry), registry)
    listed = run.images()
    listed = listed[listed["split"].isin(splits)]
    rows = pd.Series(np.arange(len(records)), index=records.table["image"]).reindex(listed["image"])
    there = rows.notna().to_numpy()
    return RunRecords(records, rows[there].to_numpy().astype(int), listed[there])


def run_images(run: Run, split: str, registry: Registry) -> RunImages:
    """The images of one split of a run, from its prepared store, which is made again where it is gone.

    Raises:
        ZooError: the dataset is not where it was, or has none of these images any more.
    """
    found = run_records(run, (split,), registry)
    for note in found.records.notes:
        logger.info(note)
    name = run.config()["data"]["name"]
    store = prepare(found.records, int(run.info()["image_size"]), name=name)
    _compare(run, store, name)
    usable = (store.table["reason"] == "").to_numpy()[found.rows]
    listed = int((run.images()["split"] == split).sum())
    if not usable.any():
        raise DataError(f"none of the {listed:,} {split} images of {run.name} is in the dataset {name} any more.")
    if usable.sum() < listed:
        logger.warning(
            f"{listed - usable.sum():,} of the {listed:,} {split} images are not in the dataset any more: left out."
        )
    return RunImages(found.records, found.rows[usable], found.listed[usable], store.images)


def _compare(run: Run, store: Store, name: str) -> None:
    data = run.data()
    if data["fingerprint"] != store.fingerprint:
        logger.warning(f"the images of {name}, or their preparation, are not those that the run was trained on.")
