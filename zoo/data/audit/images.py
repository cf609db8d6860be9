"""The images of one dataset as an audit sees them: every row of its tables, and the digest of each image that can be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.core.listing import Listing
from zoo.core.progress import Progress
from zoo.core.records import METADATA
from zoo.data.audit.near import HASH_WORDS, SIZE, perceptual_hash
from zoo.data.listed_images import ListedImages, fill_splits, prepare_listed


@dataclass(frozen=True)
class AuditImages:
    """One dataset of an audit.

    `table` has a row per image: dataset, image, path, patient, split ("" for none), digest ("" without pixels), reason (why it
    cannot be read), labels (as one text), and age, sex, view and follow_up if known. `pixels[row]` are those of a row, `hashes`
    `(N, W)` uint64, zeros without pixels.
    """

    name: str
    listing: Listing
    table: pd.DataFrame
    pixels: ListedImages
    hashes: np.ndarray

    @property
    def patients_known(self) -> bool:
        return self.listing.records.patients_known


def read_images(name: str, listing: Listing, store_name: str, *, look: bool = True, near: bool = True) -> AuditImages:
    """Prepare the images of a listing at the size they are compared at, and hash them.

    Args:
        name: of the dataset in the report.
        listing: what its tables say.
        store_name: a readable part of the store's folder.
        look: whether to read the images at all; False audits the tables alone.
        near: whether to compute the hashes that near-duplicates are found by.
    """
    records = listing.records
    pixels = prepare_listed(listing, SIZE, store_name, look=look)
    columns = [c for c in ("image", "path", "patient", *METADATA) if c in records.table]
    table = records.table[columns].reset_index(drop=True)
    table.insert(0, "dataset", name)
    labels = label_texts(records.table[list(records.labels)], records.normal)
    table = table.assign(split=fill_splits(records.table).to_numpy(), labels=labels)
    table = table.assign(digest=pixels.digests, reason=pixels.reasons)
    hashes = np.zeros((len(table), HASH_WORDS), np.uint64)
    if near and pixels.looked:
        with Progress(f"Hashing {name}", len(pixels.readable)) as progress:
            for row in pixels.readable:
                hashes[row] = perceptual_hash(pixels[row])
                progress.advance(1)
    return AuditImages(name, listing, table, pixels, hashes)


def label_texts(labels: pd.DataFrame, normal: str | None) -> np.ndarray:
    """The labels of each image as one text, such as "Edema|Mass" or "No Finding"; unknown ones have a question mark."""
    values = labels.to_numpy(dtype=float)
    names = np.array(labels.columns, dtype=object)
    patterns, which = np.unique(np.nan_to_num(values, nan=-1.0), axis=0, return_inverse=True)
    words = []
    for pattern in patterns:
        unknown = ["?" + str(n) for n in names[pattern == -1]]
        found = [str(n) for n in names[pattern == 1]]
        words.append("|".join([*found, *unknown]) or normal or "none")
    return np.array(words, dtype=object)[which.ravel()]
