"""Prepared images that are compared with their checksums before they are first used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from isal.isal_zlib import crc32

from zoo.core.errors import DataError
from zoo.data.journal import Finished

SEAL = "store.json"


class CheckedImages(np.ndarray):
    """Images `(N, S, S)` uint8 of a store, mapped into memory; indexing gives plain arrays of those asked for.

    A block is a line of the store's journal, up to 64 images. Its CRC-32 is computed when one of its images is first asked for, in
    each process; then it costs nothing more. `fault` is the error that the first damaged block raised.
    """

    fault: DataError | None = None
    _blocks: Blocks | None = None  # not of arrays made from this one

    def __getitem__(self, key: Any) -> Any:
        if self._blocks is not None:
            try:
                self._blocks.check(self, key[0] if isinstance(key, tuple) and key else key)
            except DataError as error:
                self.fault = self.fault or error
                raise
        found = super().__getitem__(key)
        return found.view(np.ndarray) if isinstance(found, np.ndarray) else found

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [each[...] if isinstance(each, CheckedImages) else each for each in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))


class Blocks:
    """The checksums of a store's images, and which were compared.

    Args:
        journal: lines that name each of the images once.
        store: the folder, which is given up where a block is damaged: the next preparation keeps what is whole.
        command: prepares the damaged images again.

    Raises:
        ValueError: an image is in no line, or in several.
    """

    def __init__(self, journal: Sequence[Finished], count: int, store: Path, command: str) -> None:
        self.journal, self.store, self.command = journal, store, command
        self._of = np.full(count, -1)
        for number, block in enumerate(journal):
            rows = slice(block.start, block.start + len(block.images))
            if block.start < 0 or rows.stop > count or (self._of[rows] >= 0).any():
                raise ValueError("the journal names an image twice, or one that is not there")
            self._of[rows] = number
        if (self._of < 0).any():
            raise ValueError("the journal does not name every image")
        self._good = np.zeros(len(journal), bool)
        self._left = len(journal)

    def check(self, images: CheckedImages, rows: Any) -> None:
        """Compare the blocks of some rows, given as NumPy takes them, as far as they were not compared before.

        Raises:
            DataError: one is damaged.
        """
        if not self._left:
            return
        try:
            blocks = np.atleast_1d(self._of[rows])
        except IndexError:  # not of rows alone, or wrong, as the array will say
            blocks = self._of
        for number in np.unique(blocks[~self._good[blocks]]):
            block = self.journal[number]
            stop = block.start + len(block.images)
            if crc32(images.view(np.ndarray)[block.start : stop].data.cast("B")) != block.crc:
                raise self._damaged(block.start, stop)
            self._good[number] = True
        self._left = int((~self._good).sum())

    def _damaged(self, start: int, stop: int) -> DataError:
        with suppress(OSError):  # another user's store can be read, but not given up
            (self.store / SEAL).unlink(missing_ok=True)
        return DataError(
            f"the prepared images {start + 1:,} to {stop:,} of the store {self.store} no longer have the checksum with which they "
            f"were written: the disk, or another program, changed them. Prepare them again (what is whole is kept): {self.command}"
        )


def with_checks(images: np.ndarray, blocks: Blocks) -> CheckedImages:
    """An array `(N, S, S)` uint8 that is checked against these blocks."""
    checked = images.view(CheckedImages)
    checked._blocks = blocks
    return checked


@contextmanager
def naming_damage(images: np.ndarray) -> Iterator[None]:
    """Raise the error of damaged images where TensorFlow, which reads them in threads of its own, wrapped it in one of its own."""
    try:
        yield
    except Exception:
        fault = getattr(images, "fault", None)
        if fault is not None:
            raise fault from None
        raise


def seal_text(size: int, count: int, table: bytes) -> str:
    """What store.json holds: the size and number of the images, and the CRC-32 of their table."""
    return json.dumps({"size": size, "images": count, "table": crc32(table)}) + "\n"


def is_sealed(folder: Path, count: int, table: bytes) -> bool:
    """Whether store.json names so many images and this table; stores of before name no table.

    Raises:
        OSError: it is missing.
        ValueError: it is no JSON.
    """
    seal = json.loads((folder / SEAL).read_text())
    return isinstance(seal, dict) and seal.get("images") == count and seal.get("table") in (None, crc32(table))
