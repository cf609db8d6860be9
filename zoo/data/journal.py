"""The journal of a store: which images are finished, with the checksum of their pixels, so that no work is lost or trusted
unseen.

A store's folder holds `images.npy` `(N, S, S)` and `chunks.jsonl`: a line for each run of finished images with its first row,
the CRC-32 of its pixels and what is known of each image. A line is written after the pixels are on disk and bears a checksum of its
own, so a line cut by a kill counts for nothing.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from isal.isal_zlib import crc32

IMAGES, JOURNAL = "images.npy", "chunks.jsonl"


class PreparedImage(NamedTuple):
    """What is known of one prepared image: digest of its source pixels, note, reason ("" if it can be used), key of its file."""

    digest: str
    note: str
    reason: str
    key: str


@dataclass(frozen=True)
class Finished:
    """A run of finished images from row `start` on; `crc` is the CRC-32 of their pixels in the store."""

    start: int
    crc: int
    images: tuple[PreparedImage, ...]

    def line(self) -> str:
        text = json.dumps([self.start, self.crc, self.images], ensure_ascii=True, separators=(",", ":"))
        return f"{crc32(text.encode()):08x} {text}\n"


def read(folder: Path) -> Iterator[Finished]:
    """The whole lines of a folder's journal; damaged ones are passed over, a missing journal has none."""
    try:
        with (folder / JOURNAL).open(encoding="ascii", errors="replace") as file:
            for line in file:
                found = _parse(line)
                if found is not None:
                    yield found
    except FileNotFoundError:
        return


def _parse(line: str) -> Finished | None:
    check, _, text = line.rstrip("\n").partition(" ")
    try:
        if int(check, 16) != crc32(text.encode()):
            return None
        start, crc, images = json.loads(text)
        return Finished(int(start), int(crc), tuple(PreparedImage(*image) for image in images))
    except (ValueError, TypeError):
        return None


class Pixels:
    """The pixel file of a store, read and written by rows."""

    def __init__(self, file: Path, offset: int, size: int, count: int) -> None:
        self.file, self.offset, self.size, self.count = file, offset, size, count

    @property
    def row(self) -> int:
        """Bytes of an image."""
        return self.size * self.size

    @classmethod
    def create(cls, file: Path, count: int, size: int) -> Pixels:
        """Make the file of `count` black images, its whole place taken on the disk: a full disk is an error now, not later."""
        with file.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
            np.lib.format.write_array_header_1_0(stream, header)
            offset = stream.tell()
            total = offset + count * size * size
            _reserve(stream, total)
        return cls(file, offset, size, count)

    @classmethod
    def open(cls, file: Path) -> Pixels:
        """Look at an existing file.

        Raises:
            ValueError: it is no such file, or shorter or longer than its header says.
        """
        with file.open("rb") as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"{file.name} is of another version")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            offset = stream.tell()
        if len(shape) != 3 or shape[1] != shape[2] or fortran or dtype != np.uint8:
            raise ValueError(f"{file.name} holds an array {shape} of {dtype}")
        held = file.stat().st_size
        if held != offset + int(np.prod(shape)):
            raise ValueError(f"{file.name} has {held:,} bytes, not {offset + int(np.prod(shape)):,}")
        return cls(file, offset, shape[1], shape[0])

    def read(self, start: int, count: int) -> bytes:
        with self.file.open("rb") as stream:
            stream.seek(self.offset + start * self.row)
            return stream.read(count * self.row)

    def write(self, start: int, images: np.ndarray) -> int:
        """Write images `(n, S, S)`; returns their CRC-32. They are safe after `sync` only."""
        content = np.ascontiguousarray(images).data.cast("B")
        with self.file.open("rb+") as stream:
            stream.seek(self.offset + start * self.row)
            stream.write(content)
        return crc32(content)

    def sync(self) -> None:
        """Wait until the disk has what was written so far, by whatever process."""
        with self.file.open("rb+") as stream:
            os.fsync(stream.fileno())

    def holds(self, finished: Finished) -> bool:
        """Whether the pixels of these images are in the file as the journal says."""
        count = len(finished.images)
        inside = finished.start >= 0 and finished.start + count <= self.count
        return inside and crc32(self.read(finished.start, count)) == finished.crc


def _reserve(stream: IO[bytes], total: int) -> None:
    stream.truncate(total)
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(stream.fileno(), 0, total)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):  # the file system cannot do it
                raise


@dataclass(frozen=True)
class Copy:
    """An image's row in another store, to be taken over."""

    pixels: Pixels
    row: int
    image: PreparedImage


def copies(folders: Iterable[Path], size: int, keys: Sequence[str]) -> dict[str, Copy]:
    """Where images with these keys lie finished in other stores; only rows whose checksum was verified just now.

    Images that were set aside are not taken over: whatever was wrong may have been put right.
    """
    wanted, found = {key for key in keys if key}, dict[str, Copy]()
    for folder in folders:
        try:
            pixels = Pixels.open(folder / IMAGES)
        except (OSError, ValueError):
            continue
        if pixels.size != size:
            continue
        for finished in read(folder):
            good = (image.key for image in finished.images if not image.reason)
            new = {key for key in good if key in wanted and key not in found}
            if new and pixels.holds(finished):
                for row, image in enumerate(finished.images, finished.start):
                    if image.key in new and not image.reason:
                        found[image.key] = Copy(pixels, row, image)
    return found
