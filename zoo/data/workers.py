"""Preparing chunks of images in processes that may die: an image that kills its decoder is set aside, the rest goes on."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np
from isal.isal_zlib import crc32

from zoo.core.errors import ZooError
from zoo.core.records import BadImage, ImageSource
from zoo.data.journal import Copy, Finished, Pixels, PreparedImage
from zoo.data.resize import square

CRASHED = "the decoder crashed on it"
MAX_CRASHES = 50
_BAND = 64  # rows of an image under one checksum of its digest


@dataclass(frozen=True)
class Chunk:
    """Images to prepare into the rows from `start` on: path, key of the file, and where the image lies prepared already."""

    start: int
    images: tuple[tuple[str, str, Copy | None], ...]

    def single(self) -> Iterator[Chunk]:
        """The same images, each as a chunk of its own."""
        return (Chunk(row, (image,)) for row, image in enumerate(self.images, self.start))


def usable_cores() -> int:
    """Cores this process may use, which containers and schedulers make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
    """Prepare the chunks, in any order, in this many processes; with 0 in this one.

    When a process dies, the chunks under way are done again in processes of their own, image by image where that one dies too.

    Raises:
        ZooError: processes died on more than `MAX_CRASHES` images.
        OSError: the store cannot be written.
    """
    if processes == 0:
        yield from (prepare_chunk(source, pixels, chunk) for chunk in chunks)
        return
    left = iter(chunks)
    crashes, works = 0, False
    while True:
        under_way: dict[Future[Finished], Chunk] = {}
        try:
            for finished in _parallel(source, pixels, left, processes, under_way):
                works = True
                yield finished
            return
        except BrokenProcessPool:
            suspects = sorted(under_way.values(), key=lambda chunk: chunk.start)
        if not (works or can_start()):  # as in a script without a main guard: nothing an image could be blamed for
            yield from (prepare_chunk(source, pixels, chunk) for chunk in [*suspects, *left])
            return
        for finished in _apart(source, pixels, suspects):
            crashes += sum(image.reason == CRASHED for image in finished.images)
            yield finished
            if crashes > MAX_CRASHES:
                raise ZooError(
                    f"preparation processes died on {crashes} images, most likely for lack of memory or by a broken "
                    "kornia_rs. The images finished so far are kept; the same command goes on from there."
                )


def _parallel(
    source: ImageSource,
    pixels: Pixels,
    chunks: Iterator[Chunk],
    processes: int,
    under_way: dict[Future[Finished], Chunk],
) -> Iterator[Finished]:
    """Keep every process busy with one chunk waiting, however many there are in all."""
    with worker_pool(processes) as pool:
        try:
            while True:
                while len(under_way) < 2 * processes and (chunk := next(chunks, None)) is not None:
                    under_way[_submit(pool, source, pixels, chunk)] = chunk
                if not under_way:
                    return
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for job in done:
                    finished = job.result()
                    del under_way[job]
                    yield finished
        finally:
            pool.shutdown(cancel_futures=True)  # and wait for the chunks under way: they write


def _submit(pool: ProcessPoolExecutor, source: ImageSource, pixels: Pixels, chunk: Chunk) -> Future[Finished]:
    try:
        return pool.submit(prepare_chunk, source, pixels, chunk)
    except BrokenProcessPool as error:  # the chunk must not be lost with it
        broken: Future[Finished] = Future()
        broken.set_exception(error)
        return broken


def _apart(source: ImageSource, pixels: Pixels, chunks: Iterable[Chunk]) -> Iterator[Finished]:
    """Prepare each chunk by a process that nothing else depends on."""
    todo = list(chunks)
    while todo:
        chunk = todo.pop(0)
        try:
            with worker_pool(1) as pool:
                yield _submit(pool, source, pixels, chunk).result()
                while todo:  # while it lives it serves for the next ones, too
                    chunk = todo[0]
                    finished = _submit(pool, source, pixels, chunk).result()
                    todo.pop(0)
                    yield finished
        except BrokenProcessPool:
            if todo and todo[0] is chunk:
                todo.pop(0)
            if len(chunk.images) > 1:
                todo[:0] = chunk.single()
            else:
                black = np.zeros((1, pixels.size, pixels.size), np.uint8)
                crc = pixels.write(chunk.start, black)
                yield Finished(chunk.start, crc, (PreparedImage("", "", CRASHED, chunk.images[0][1]),))


def refuse_import() -> None:
    """End a worker that a script without a main guard makes prepare on being imported: it would wait for its parent for ever.

    Raises:
        RuntimeError: this process is being started as a worker.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RuntimeError('a script that prepares images needs the guard: if __name__ == "__main__":')


def can_start() -> bool:
    """Whether processes can be started here at all; not from a script without a main guard."""
    try:
        with worker_pool(1) as pool:
            pool.submit(os.getpid).result()
    except BrokenProcessPool:
        return False
    return True


def worker_pool(processes: int) -> ProcessPoolExecutor:
    """Processes that leave Ctrl-C to their parent and do not outlive it."""
    # spawn: a fork would copy the threads and locks of libraries the caller has loaded
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, mp_context=context, initializer=_begin)


def _begin() -> None:
    """Set up a worker: Ctrl-C is the parent's to handle, and the parent's death is its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
