"""The images of one dataset as an audit sees them: every row of its tables, and the digest of each image that can be read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from zoo.core.listing import Listing
from zoo.core.progress import Progress
from zoo.data.audit.near import HASH_WORDS, SIZE, perceptual_hash
from zoo.data.split import limit_images
from zoo.data.store import prepare

WITHOUT_LABEL = "unknown"


@dataclass(frozen=True)
class AuditImages:
    """One row of `table` per image: dataset, image, path, patient, split ("" for none), digest ("" where there are no pixels),
    reason (why it cannot be read) and truth (its labels as text), and where known age, sex, view and follow_up.

    `pixels` `(N, S, S)` uint8 are those of the store, None where the images were not looked at; `hashes` `(N, W)` uint64 are
    zeros for images without pixels.
    """

    name: str
    listing: Listing
    table: pd.DataFrame
    pixels: np.ndarray | _Spread | None
    hashes: np.ndarray

    @property
    def patients_known(self) -> bool:
        return self.listing.records.patients_known


def read_images(name: str, listing: Listing, store_name: str, *, look: bool = True, near: bool = True) -> AuditImages:
    """Prepare the images of a listing at the size they are compared at, and hash them.

    Args:
        name: how the report calls the dataset.
        listing: what its tables say.
        store_name: a readable part of the store's folder.
        look: whether to read the images at all; False where only the tables count.
        near: whether to compute the hashes that near-duplicates are found by.
    """
    records = listing.records
    table = pd.DataFrame({"dataset": name, **{c: records.table[c] for c in ("image", "path", "patient")}})
    split = records.table["split"] if "split" in records.table else pd.Series("", index=table.index)
    table["split"] = split.astype(object).where(split.notna(), "")
    for column in ("age", "sex", "view", "follow_up"):
        if column in records.table:
            table[column] = records.table[column]
    table["truth"] = truths(records.table[list(records.labels)], records.normal)
    table["digest"], table["reason"] = "", ""
    pixels: np.ndarray | _Spread | None = None
    hashes = np.zeros((len(table), HASH_WORDS), np.uint64)
    there = np.flatnonzero(listing.present)
    if look and len(there):
        present = replace(records, table=records.table.iloc[there].reset_index(drop=True))
        store = prepare(present, SIZE, name=store_name)
        table.loc[there, "digest"] = store.table["digest"].to_numpy()
        table.loc[there, "reason"] = store.table["reason"].to_numpy()
        pixels = store.images if len(there) == len(table) else _Spread(store.images, there)
        if near:
            good = there[store.table["reason"].to_numpy() == ""]
            with Progress(f"Hashing {name}", len(good)) as progress:
                for row in good:
                    hashes[row] = perceptual_hash(pixels[row])
                    progress.advance(1)
    return AuditImages(name, listing, table, pixels, hashes)


class _Spread:
    """Rows of a store by the rows of the table, where some images of the table are not there."""

    def __init__(self, images: np.ndarray, rows: np.ndarray) -> None:
        self.images = images
        self.place = {int(row): place for place, row in enumerate(rows)}

    def __getitem__(self, row: int) -> np.ndarray:
        image: np.ndarray = self.images[self.place[int(row)]]
        return image


def limited(listing: Listing, limit: int | None, seed: int) -> Listing:
    """About `limit` images of a listing, whole patients, and the faults of these."""
    if limit is None or limit >= len(listing.records):
        return listing
    table = listing.records.table
    if "split" in table:
        table = table.assign(split=table["split"].astype(object).where(table["split"].notna(), ""))
    kept = listing.records.table.iloc[limit_images(table, limit, seed)].reset_index(drop=True)
    faults = listing.faults[listing.faults["image"].isin(set(kept["image"]))].reset_index(drop=True)
    return Listing(replace(listing.records, table=kept), faults)


def truths(labels: pd.DataFrame, normal: str | None) -> np.ndarray:
    """The labels of each image as one text, such as "Edema|Mass" or "No Finding"."""
    values = labels.to_numpy(dtype=float)
    names = np.array(labels.columns, dtype=object)
    patterns, which = np.unique(np.nan_to_num(values, nan=-1.0), axis=0, return_inverse=True)
    words = []
    for pattern in patterns:
        unknown = ["?" + str(n) for n in names[pattern == -1]]
        found = [str(n) for n in names[pattern == 1]]
        words.append("|".join([*found, *unknown]) or normal or "none")
    return np.array(words, dtype=object)[which.ravel()]
