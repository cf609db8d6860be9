"""The stores of a cache, and whether their pixels are undamaged."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.core.records import Records
from zoo.data.journal import IMAGES, read
from zoo.data.store import HOW, Store, fingerprint, preparation
from zoo.data.store import verify as verify_store

_FOLDER = re.compile(r"(?P<name>.+)-(?P<size>\d+)px-(?P<key>[0-9a-f]{16})(?P<partial>\.partial)?")
_NAMED = 3  # damaged images that a line names


@dataclass(frozen=True)
class Checked:
    """The result for one store: dataset, images, and what is damaged ("" if nothing).

    `outdated` marks a store prepared by another version of zoo or another decoder: it is no longer used.
    """

    path: Path
    name: str
    size: int
    images: int
    finished: bool
    damage: str
    outdated: bool = False

    def describe(self) -> str:
        """The result in one line."""
        images = f"{self.images:,} images at {self.size}×{self.size}"
        if self.outdated:
            return f"{images}, not used any more: prepared by another version of zoo or another decoder; may be removed"
        if self.damage:
            return f"DAMAGED, {self.damage}"
        return f"{images}, whole" if self.finished else f"{images} finished, interrupted; the same preparation goes on"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


def find(cache: Path, name: str | None = None, records: Records | None = None) -> list[Path]:
    """The folders of stores in a cache, by name: of one dataset, or only those of exactly these images, at any size."""
    folders = []
    for folder in sorted(cache.iterdir()) if cache.is_dir() else ():
        match = _FOLDER.fullmatch(folder.name)
        if match is None or not folder.is_dir() or name not in (None, match["name"]):
            continue
        if records is None or fingerprint(records, int(match["size"])) == match["key"]:
            folders.append(folder)
    return folders


def check(folder: Path) -> Checked:
    """Compare the pixels of a store with their checksums. A damaged store is given up: it is not used until it is repaired.

    An interrupted preparation cannot be damaged: what is unfinished or has a wrong checksum is prepared again anyway.
    """
    match = _FOLDER.fullmatch(folder.name)
    if match is None:
        raise ValueError(f"{folder.name} is no name of a store")
    name, size = match["name"], int(match["size"])
    if match["partial"]:
        return Checked(folder, name, size, _count(folder), False, "")
    if _outdated(folder):
        return Checked(folder, name, size, _count(folder), True, "", outdated=True)
    fault = ""
    try:
        images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False)[["image"]]
    except (FileNotFoundError, ValueError, KeyError, pd.errors.ParserError):
        images, fault = pd.DataFrame({"image": []}, dtype=str), "its table images.csv is missing or damaged"
    if not fault and not (folder / IMAGES).is_file():
        fault = f"its pixels, {IMAGES}, are missing"
    if not fault:
        fault = _seal(folder, len(images))
    if fault:
        with contextlib.suppress(OSError):  # of another user, or gone
            (folder / "store.json").unlink()
        return Checked(folder, name, size, len(images), True, fault)
    wrong = verify_store(Store(np.empty((0, size, size), np.uint8), images, match["key"], folder))
    more = ", …" if len(wrong) > _NAMED else ""
    named = f"{len(wrong):,} of {len(images):,} images: {', '.join(wrong[:_NAMED])}{more}"
    return Checked(folder, name, size, len(images), True, named if wrong else "")


def _count(folder: Path) -> int:
    """The number of images in a store's journal."""
    return sum(len(finished.images) for finished in read(folder))


def _outdated(folder: Path) -> bool:
    """Whether a store was prepared in another way than images are now, so that no fingerprint leads to it."""
    try:
        return bool(json.loads((folder / HOW).read_text()) != preparation())
    except (OSError, ValueError):
        return False


def _seal(folder: Path, images: int) -> str:
    """What is wrong with the seal of a finished store."""
    try:
        seal = json.loads((folder / "store.json").read_text())
        count = seal["images"]
    except FileNotFoundError:
        return "given up before as damaged, and not repaired yet"
    except (ValueError, TypeError, KeyError):
        return "its seal store.json is damaged"
    return "" if count == images else f"its table names {images:,} images, its seal {count}"
