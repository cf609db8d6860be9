"""Images or patients that a network was tested on after it had been trained or chosen on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from zoo.evaluation.predictions import read_table


@dataclass(frozen=True)
class Leak:
    """`images` of the `of` images of `split` share their patient, their pixels or their name with images that the network was
    trained or chosen on, `example` among them."""

    shared: Literal["patient", "pixels", "name", "near"]
    split: str
    images: int
    of: int
    example: str


_COLUMNS: dict[str, Literal["patient", "pixels", "name"]] = {"patient": "patient", "digest": "pixels", "image": "name"}


def find_leaks(images: pd.DataFrame, split: str) -> tuple[Leak, ...]:
    """What the images of `split` share with earlier ones.

    Training refuses such a split; a run made elsewhere, or with a table edited since, is checked again here.

    Args:
        images: a run's table of images with image, patient, split and, where known, digest of the pixels.
        split: "test" (compared with training and validation images) or "val" (with training images).
    """
    here = images[images["split"] == split]
    earlier = images[images["split"].isin(("train", "val") if split == "test" else ("train",))]
    found = []
    for column in [name for name in _COLUMNS if name in images]:
        shared = here[column].notna() & here[column].isin(set(earlier[column].dropna()))
        if shared.any():
            example = str(here.loc[shared, "image"].iloc[0])
            found.append(Leak(_COLUMNS[column], split, int(shared.sum()), len(here), example))
    return tuple(found)


class LeakFinder:
    """`find_leaks` of tables on disk, which looks once at equal tables: runs of one dataset have the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str], tuple[Leak, ...]] = {}

    def find(self, table: Path, split: str) -> tuple[Leak, ...]:
        """What the images of a split in an images.csv share with earlier ones.

        Raises:
            DataError: the table is not there or damaged.
        """
        try:
            key = (hashlib.blake2b(table.read_bytes()).digest(), split)
        except FileNotFoundError:
            key = (b"", split)  # which reading reports
        if key not in self._known:
            needed = ["image", "patient", "split"]
            self._known[key] = find_leaks(read_table(table, needed, (*needed, "digest")), split)
        return self._known[key]
