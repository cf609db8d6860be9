"""The store: every film decoded and resized once into one memory-mapped array, found again by fingerprint."""

from __future__ import annotations

import glob
import hashlib
import json
import multiprocessing
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.data.records import BadImage, ImageSource, Records
from zoo.errors import ZooError
from zoo.progress import Progress

FORMAT = 1  # part of the fingerprint: a change of the preparation makes new stores
CHUNK = 64
PARALLEL_FROM = 512  # films; below, starting processes costs more than it saves


@dataclass(frozen=True)
class Store:
    """Prepared films. Row i of `images` `(N, S, S)` uint8 is row i of the records it was made from.

    `films` has a row per film: `image`, `digest` (of the source pixels), `note` (how it was normalised) and `reason`
    (why it was set aside, "" if it was not).
    """

    images: np.ndarray
    films: pd.DataFrame
    fingerprint: str
    path: Path

    @property
    def size(self) -> int:
        return int(self.images.shape[1])


def default_cache() -> Path:
    """Where stores lie: $ZOO_CACHE, else zoo/ in the user's cache folder."""
    given = os.environ.get("ZOO_CACHE")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"


def fingerprint(records: Records, size: int) -> str:
    """Identify a store by the films, their sources and the preparation; labels and splits do not count."""
    paths = records.table["path"].tolist()
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([FORMAT, size, records.source.fingerprint(paths)]).encode())
    digest.update("\n".join(records.table["image"]).encode(errors="surrogateescape"))
    return digest.hexdigest()


def prepare(
    records: Records,
    size: int,
    cache: Path | None = None,
    *,
    name: str = "films",
    say: Callable[[str], None] = lambda line: None,
    workers: int | None = None,
) -> Store:
    """Open the store of these records, making it first where it does not exist yet.

    A store appears under its final name only when it is complete. A film that cannot be read is set aside with its reason
    and the work goes on.

    Args:
        records: the films.
        size: height and width in pixels; films are padded to a square with black and resampled.
        cache: folder of stores, `default_cache()` if None.
        name: a readable part of the folder's name.
        say: receives one line before anything is written.
        workers: processes; the number of usable cores if None.

    Raises:
        ZooError: the store cannot be written, or not one film can be read.
    """
    cache = cache or default_cache()
    key = fingerprint(records, size)
    path = cache / f"{name}-{size}px-{key}"
    try:
        if not (path / "store.json").exists():
            megabytes = len(records) * size * size / 1e6
            say(f"Preparing {len(records):,} films at {size}×{size} once ({megabytes:,.0f} MB in {path})")
            _make(records, size, path, workers)
        store = _open(path, key)
    except OSError as error:
        raise ZooError(
            f"cannot write or read the store {path}: {error.strerror or error}. Choose another cache folder with the "
            "environment variable ZOO_CACHE."
        ) from error
    if (store.films["reason"] != "").all():
        reason = store.films["reason"].iloc[0]
        raise ZooError(
            f"not one of the {len(records):,} films can be read; the first, {store.films['image'].iloc[0]}: {reason}"
        )
    return store


def _open(path: Path, key: str) -> Store:
    films = pd.read_csv(path / "films.csv", dtype=str, keep_default_na=False)
    return Store(np.load(path / "images.npy", mmap_mode="r"), films, key, path)


def _make(records: Records, size: int, path: Path, workers: int | None) -> None:
    _clear_killed(path)
    partial = path.with_name(f"{path.name}.partial-{platform.node()}-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        array = partial / "images.npy"
        np.lib.format.open_memmap(array, mode="w+", dtype=np.uint8, shape=(len(records), size, size)).flush()
        _reserve(array)
        paths = records.table["path"].tolist()
        chunks = [(start, paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
        rows: dict[int, list[tuple[str, str, str]]] = {}
        with Progress("Preparing", len(paths)) as progress:
            for start, results in _run(records.source, size, array, chunks, workers):
                rows[start] = results
                progress.advance(len(results))
        flat = [row for start in sorted(rows) for row in rows[start]]
        films = pd.DataFrame(flat, columns=["digest", "note", "reason"])
        films.insert(0, "image", records.table["image"].to_numpy())
        films.to_csv(partial / "films.csv", index=False)
        (partial / "store.json").write_text(json.dumps({"format": FORMAT, "size": size, "films": len(films)}) + "\n")
        _publish(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _reserve(file: Path) -> None:
    """Take the file's place on the disk now: a full disk is an error here, and a crash while writing to a mapped file."""
    if hasattr(os, "posix_fallocate"):
        with file.open("rb+") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)


def _clear_killed(path: Path) -> None:
    """Remove what preparations of this store left behind whose process, on this machine, is gone."""
    if os.name != "posix":
        return  # elsewhere signal 0 is not a question but a kill
    start = f"{path.name}.partial-{platform.node()}-"
    for left in path.parent.glob(f"{glob.escape(start)}*"):
        try:
            os.kill(int(left.name.removeprefix(start)), 0)
        except ProcessLookupError:
            shutil.rmtree(left, ignore_errors=True)
        except (PermissionError, ValueError):
            continue  # alive, another user's; or not ours


def _publish(partial: Path, path: Path) -> None:
    try:
        partial.rename(path)
    except OSError:
        if not (path / "store.json").exists():  # else another process finished the same store first
            raise


def _run(
    source: ImageSource, size: int, array: Path, chunks: list[tuple[int, list[str]]], workers: int | None
) -> Iterable[tuple[int, list[tuple[str, str, str]]]]:
    count = workers or usable_cores()
    if count == 1 or len(chunks) * CHUNK <= PARALLEL_FROM:
        yield from (_prepare_chunk(source, size, array, start, paths) for start, paths in chunks)
        return
    # spawn: a fork would copy the threads and locks of libraries the caller has loaded
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from _collect(pool, source, size, array, chunks)


def usable_cores() -> int:
    """Cores this process may use, which containers and schedulers make fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collect(
    pool: ProcessPoolExecutor, source: ImageSource, size: int, array: Path, chunks: list[tuple[int, list[str]]]
) -> Iterator[tuple[int, list[tuple[str, str, str]]]]:
    jobs = [pool.submit(_prepare_chunk, source, size, array, start, paths) for start, paths in chunks]
    try:
        for job in as_completed(jobs):
            yield job.result()
    except BrokenProcessPool as error:
        raise ZooError("a preparation process died, most likely for lack of memory; nothing was kept.") from error
    finally:
        for job in jobs:
            job.cancel()


def _prepare_chunk(
    source: ImageSource, size: int, array: Path, start: int, paths: list[str]
) -> tuple[int, list[tuple[str, str, str]]]:
    """Read, resize and write one run of films; returns (digest, note, reason) of each."""
    images = np.load(array, mmap_mode="r+")
    rows: list[tuple[str, str, str]] = []
    for index, path in enumerate(paths, start):
        try:
            pixels, note = source.read(path)
        except BadImage as error:
            rows.append(("", "", str(error)))
            continue
        images[index] = square(pixels, size)
        shape = np.array(pixels.shape, dtype=np.int64).tobytes()
        digest = hashlib.blake2b(shape + np.ascontiguousarray(pixels).tobytes(), digest_size=16).hexdigest()
        rows.append((digest, note, ""))
    images.flush()
    return start, rows


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """Pad uint8 `(H, W)` with black to a square, so that hearts keep their proportions, and resample to `(size, size)`."""
    from PIL import Image

    height, width = pixels.shape
    side = max(height, width)
    if height != width:
        top, left = (side - height) // 2, (side - width) // 2
        padded = np.zeros((side, side), np.uint8)
        padded[top : top + height, left : left + width] = pixels
        pixels = padded
    if side == size:
        return pixels
    resample = Image.Resampling.BILINEAR if side > size else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((size, size), resample, reducing_gap=3.0))
