"""Reading many images ahead of the network, in order and in bounded memory, by threads or by processes that may crash."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from zoo.core.errors import UsageError, ZooError
from zoo.core.pools import process_map, thread_map
from zoo.core.records import BadImage
from zoo.data.resize import square
from zoo.data.workers import CRASHED
from zoo.inference import intake

ImageFile = str | Path | np.ndarray
_Item = tuple[ImageFile, int]
_ADVICE = "Use fewer processes: --workers 1."


@dataclass(frozen=True, eq=False)
class Read:
    """One image read: its pixels as the network takes them, uint8 `(S, S)`, or the reason why there are none."""

    file: str
    image: np.ndarray | None = None
    note: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ImageReader:
    """Reads and resizes images, in any thread or process; `size` in pixels, `views` and `force` as in `intake.read_image`."""

    size: int
    views: frozenset[str] | None = None
    force: bool = False

    def __call__(self, image: ImageFile, number: int = 0) -> Read:
        """Read one image, the `number`-th where it is an array; raises UsageError for an array that is no image."""
        if isinstance(image, np.ndarray):
            name = f"array {number}"
            pixels, note = gray(image), ""
        else:
            name = str(image)
        try:
            if not isinstance(image, np.ndarray):
                pixels, note = intake.read_image(image, views=self.views, force=self.force)
            return Read(name, square(pixels, self.size), note)
        except (BadImage, ZooError) as error:
            return Read(name, reason=str(error))
        except MemoryError:
            return Read(name, reason="not enough memory to read it")


def gray(array: np.ndarray) -> np.ndarray:
    """An image's pixels `(H, W)`; raises UsageError for what is none."""
    pixels = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise UsageError(
            f"an image is a gray uint8 array (height, width), not {array.dtype} of the shape {array.shape}. Colour: take one "
            "channel or the luma; more bits: scale to 0 to 255."
        )
    return pixels


def by_threads(read: ImageReader, images: Iterable[ImageFile], threads: int, ahead: int) -> Generator[Read, None, None]:
    """Every image read, in their order; with 0 threads when it is asked for.

    No more than `ahead` images are taken from `images` before the first of them is given.
    """
    if threads == 0:
        yield from map(read, images, count())
        return
    yield from thread_map(partial(_read, read), zip(images, count(), strict=False), threads, ahead)


def by_processes(
    read: ImageReader, images: Iterable[ImageFile], processes: int, ahead: int
) -> Generator[Read, None, None]:
    """As `by_threads`, but an image that crashes its decoder becomes one with a reason, and decoding uses several cores.

    Raises:
        ZooError: processes died on too many images.
    """
    items = zip(images, count(), strict=False)
    return process_map(partial(_read, read), items, processes, ahead=ahead, crashed=_crashed, advice=_ADVICE)


def _read(read: ImageReader, item: _Item) -> Read:
    return read(*item)


def _crashed(item: _Item) -> Read:
    return Read(str(item[0]), reason=CRASHED)
