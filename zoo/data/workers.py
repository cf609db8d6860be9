"""Preparing chunks of images in parallel: an image that crashes its decoder is set aside, the rest goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from isal.isal_zlib import crc32

from zoo.core.calls import ADVICE, PluginError, culprit, describe
from zoo.core.errors import ZooError
from zoo.core.pools import process_map
from zoo.core.records import BadImage, ImageSource
from zoo.core.registry import registry
from zoo.data.formats import reason_of
from zoo.data.journal import Copy, Finished, Pixels, PreparedImage
from zoo.data.resize import square

CRASHED = "the decoder crashed on it"
_ADVICE = "The images finished so far are kept; the same command goes on from there."
_BAND = 64  # rows of an image under one checksum of its digest


@dataclass(frozen=True)
class Chunk:
    """Images to prepare into the rows from `start` on: path, key of the file, and where the image lies prepared already."""

    start: int
    images: tuple[tuple[str, str, Copy | None], ...]

    def split(self) -> list[Chunk]:
        """The same images, each as a chunk of its own; nothing for a single image."""
        return [Chunk(row, (image,)) for row, image in enumerate(self.images, self.start)] if self.images[1:] else []


def digest(pixels: np.ndarray) -> str:
    """A name for the pixels of an image: equal for equal pixels, different for others.

    The CRC-32 of every 64 rows, hashed together. Copies of an image have to be found, not forgeries, and this takes a
    fortieth of the time that a cryptographic hash of the pixels does.
    """
    rows = np.ascontiguousarray(pixels)
    marks = hashlib.blake2b(np.array(pixels.shape, dtype=np.int64).tobytes(), digest_size=16)
    for top in range(0, len(rows), _BAND):
        marks.update(crc32(rows[top : top + _BAND].data.cast("B")).to_bytes(4, "little"))
    return marks.hexdigest()


def prepare_chunk(source: ImageSource, pixels: Pixels, chunk: Chunk) -> Finished:
    """Read, resize and write the images of one chunk."""
    images = np.zeros((len(chunk.images), pixels.size, pixels.size), np.uint8)
    found = []
    for image, (path, key, copy) in zip(images, chunk.images, strict=True):
        if copy is not None and _take_over(copy, image):
            found.append(copy.image)
            continue
        try:
            original, note = source.read(path)
            image[:] = square(original, pixels.size)
        except BadImage as error:
            found.append(PreparedImage("", "", str(error), key))
            continue
        except MemoryError as error:
            image[:] = 0
            found.append(PreparedImage("", "", reason_of(error), key))
            continue
        except (ZooError, OSError):
            raise
        except Exception as error:
            where = culprit(error, registry().origins)  # of a plugin's own source; the rest are errors of zoo
            if not where:
                raise
            raise PluginError(f"{where} at the image '{path}': {describe(error)}. {ADVICE}") from error
        found.append(PreparedImage(digest(original), note, "", key))
    return Finished(chunk.start, pixels.write(chunk.start, images), tuple(found))


def _take_over(copy: Copy, image: np.ndarray) -> bool:
    """Fill `image` with its pixels from another store; False if that is gone since it was looked at."""
    try:
        image[:] = np.frombuffer(copy.pixels.read(copy.row, 1), np.uint8).reshape(image.shape)
    except (OSError, ValueError):
        return False
    return True


def run(source: ImageSource, pixels: Pixels, chunks: Iterable[Chunk], processes: int) -> Iterator[Finished]:
    """Prepare the chunks, in order, in this many processes; with 0 in this one.

    An image that kills its process is set aside.

    Raises:
        ZooError: processes died on too many images.
        OSError: the store cannot be written.
    """
    work = partial(prepare_chunk, source, pixels)
    if processes == 0:
        return map(work, chunks)

    def crashed(chunk: Chunk) -> Finished:
        crc = pixels.write(chunk.start, np.zeros((1, pixels.size, pixels.size), np.uint8))
        return Finished(chunk.start, crc, (PreparedImage("", "", CRASHED, chunk.images[0][1]),))

    return process_map(work, chunks, processes, ahead=2 * processes, crashed=crashed, split=Chunk.split, advice=_ADVICE)
