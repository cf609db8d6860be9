"""The images of a listing, prepared as far as they are there: what audits and explorations look at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from zoo.core.listing import NO_USE, Faults, Listing
from zoo.core.text import is_unicode, printable
from zoo.data.pipeline import NOT_UNICODE, with_writable_names
from zoo.data.split import limit_images
from zoo.data.store import prepare


@dataclass(frozen=True)
class ListedImages:
    """For each of the N rows of a listing: `digests` ("" without pixels) and `reasons` (why an image cannot be read, or "").

    `found[row]` are the pixels `(S, S)` of a row, uint8. `looked` is False if no images were read.
    """

    digests: np.ndarray
    reasons: np.ndarray
    images: np.ndarray
    positions: np.ndarray  # of each row in `images`, -1 if it is not there

    @property
    def looked(self) -> bool:
        return len(self.images) > 0

    @property
    def readable(self) -> np.ndarray:
        """The rows that have pixels."""
        return np.flatnonzero(self.digests != "")

    def __getitem__(self, row: int) -> np.ndarray:
        position = int(self.positions[row])
        if position < 0:
            raise IndexError(f"image {row} has no pixels")
        pixels: np.ndarray = self.images[position]
        return pixels


def prepare_listed(listing: Listing, size: int, name: str, *, look: bool = True) -> ListedImages:
    """Prepare the images of a listing that are there.

    Args:
        listing: what the tables of a dataset say.
        size: height and width in pixels.
        name: a readable part of the store's folder.
        look: False reads no images.
    """
    records = listing.records
    digests, reasons = np.full((2, len(records)), "", dtype=object)
    positions = np.full(len(records), -1)
    there = np.flatnonzero(listing.present)
    images = np.empty((0, size, size), np.uint8)
    if look and len(there):
        store = prepare(replace(records, table=records.table.iloc[there].reset_index(drop=True)), size, name=name)
        digests[there], reasons[there] = store.table["digest"], store.table["reason"]
        positions[there] = np.arange(len(there))
        images = store.images
    return ListedImages(digests, reasons, images, positions)


def with_writable_listing(listing: Listing) -> Listing:
    """A listing without the images and faults whose file name is not Unicode, and a fault for each of them.

    Raises:
        DataError: the name of a finding is not Unicode.
    """
    records, faults = with_writable_names(listing.records), listing.faults
    aside = records.set_aside["image"].iloc[len(listing.records.set_aside) :]
    good = faults["image"].map(is_unicode).astype(bool)
    if good.all() and not len(aside):
        return listing
    names = dict.fromkeys([*aside, *map(printable, faults["image"][~good])])
    added = Faults()
    added.add(NO_USE, names, NOT_UNICODE)
    return Listing(records, pd.concat([faults[good], added.table()], ignore_index=True))


def limit_listing(listing: Listing, limit: int | None, seed: int) -> Listing:
    """About `limit` images of a listing, whole patients only, and the faults of these."""
    if limit is None or limit >= len(listing.records):
        return listing
    table = listing.records.table
    if "split" in table:
        table = table.assign(split=fill_splits(table))
    kept = listing.records.table.iloc[limit_images(table, limit, seed)].reset_index(drop=True)
    faults = listing.faults[listing.faults["image"].isin(set(kept["image"]))].reset_index(drop=True)
    return Listing(replace(listing.records, table=kept), faults)


def fill_splits(table: pd.DataFrame) -> pd.Series:
    """The published split of each row, "" if it has none."""
    if "split" not in table:
        return pd.Series("", index=table.index, dtype=object)
    return table["split"].astype(object).where(table["split"].notna(), "")
