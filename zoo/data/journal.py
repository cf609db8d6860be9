"""The journal of a store: which images are finished, with the checksums of their pixels.

A store has `images.npy` `(N, S, S)` and `chunks.jsonl`. Each line of the latter describes a run of finished images: its first
row, the CRC-32 of its pixels, and the facts of each image. It is written after the pixels are on the disk and has a checksum of
its own, so that a line cut short by a kill does not count.
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
    """One prepared image: digest of its source pixels, note, reason ("" if it can be used), key of its file."""

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
    """The valid lines of a folder's journal; damaged ones are skipped, a missing journal has none."""
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
        """Create the file with `count` black images and reserve its space: a full disk is an error now, not later."""
        with file.open("wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
            np.lib.format.write_array_header_1_0(stream, header)
            offset = stream.tell()
            total = offset + count * size * size
            _reserve(stream, total)
        return cls(file, offset, size, count)

    @classmethod
    def open(cls, file: Path) -> Pixels:
        """Open an existing file.

        Raises:
            ValueError: it is not a pixel file, or its size does not match its header.
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
        """Write images `(n, S, S)`; returns their CRC-32. They are safe only after `sync`."""
        content = np.ascontiguousarray(images).data.cast("B")
        with self.file.open("rb+") as stream:
            stream.seek(self.offset + start * self.row)
            stream.write(content)
        return crc32(content)

    def sync(self) -> None:
        """Wait until everything written so far, by any process, is on the disk."""
        with self.file.open("rb+") as stream:
            os.fsync(stream.fileno())

    def holds(self, finished: Finished) -> bool:
        """Whether the pixels of these images have the checksum that the journal gives."""
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
    """An image in another store, to be copied."""

    pixels: Pixels
    row: int
    image: PreparedImage


def copies(folders: Iterable[Path], size: int, keys: Sequence[str]) -> dict[str, Copy]:
    """The images with these keys that other stores have, their checksums just verified.

    Images that were set aside are not copied: their files may have been repaired.
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
