"""Reading many images ahead of the network: in their order, in bounded memory, by threads or by processes that may die."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from zoo.core.errors import UsageError, ZooError
from zoo.core.records import BadImage
from zoo.data.resize import square
from zoo.data.workers import CRASHED, MAX_CRASHES, can_start, worker_pool
from zoo.inference import intake

ImageFile = str | Path | np.ndarray
_Item = tuple[ImageFile, int]


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
    with ThreadPoolExecutor(threads, thread_name_prefix="zoo-read") as pool:
        waiting: deque[Future[Read]] = deque()
        source = zip(images, count(), strict=False)
        try:
            while True:
                waiting.extend(pool.submit(read, *item) for item in islice(source, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def by_processes(
    read: ImageReader, images: Iterable[ImageFile], processes: int, ahead: int
) -> Generator[Read, None, None]:
    """As `by_threads`, but an image that kills its decoder is an image with a reason, and decoders do not share one core.

    When a process dies, the images under way are read again in a process of their own, one after the other.

    Raises:
        ZooError: processes died on more than `MAX_CRASHES` images.
    """
    source = zip(images, count(), strict=False)
    waiting: deque[tuple[_Item, Future[Read]]] = deque()
    crashes, works = 0, False
    pool = worker_pool(processes)
    try:
        while True:
            for item in islice(source, ahead - len(waiting)):
                waiting.append((item, _submit(pool, read, item)))
            if not waiting:
                return
            try:
                result = waiting[0][1].result()
            except BrokenProcessPool:
                pool.shutdown()
                for result in _one_by_one(read, [item for item, _ in waiting], works):
                    crashes += result.reason == CRASHED
                    yield result
                if crashes > MAX_CRASHES:
                    raise ZooError(
                        f"reading processes died on {crashes} images, most likely for lack of memory. Fewer of them: --workers 1."
                    ) from None
                waiting.clear()
                pool = worker_pool(processes)
                continue
            waiting.popleft()
            works = True
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, read: ImageReader, item: _Item) -> Future[Read]:
    try:
        return pool.submit(read, *item)
    except BrokenProcessPool as error:  # the image must not be lost with it
        broken: Future[Read] = Future()
        broken.set_exception(error)
        return broken


def _one_by_one(read: ImageReader, items: list[_Item], works: bool) -> Iterator[Read]:
    """Read each image by a process that reads nothing else at the time; one that kills it says so."""
    pool: ProcessPoolExecutor | None = None
    for number, item in enumerate(items):
        try:
            pool = pool or worker_pool(1)
            yield pool.submit(read, *item).result()
            works = True
        except BrokenProcessPool:
            pool = None
            if not (works or can_start()):  # as in a script without a main guard: nothing an image could be blamed for
                yield from (read(*each) for each in items[number:])
                return
            yield Read(str(item[0]), reason=CRASHED)
    if pool is not None:
        pool.shutdown()
