"""The store: every image decoded and resized once, in one memory-mapped array that is found again by its fingerprint."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from zoo.core.cells import csv_text
from zoo.core.errors import ZooError
from zoo.core.files import replacing, write_text
from zoo.core.locks import LOCK, locked
from zoo.core.pools import usable_cores
from zoo.core.processes import refuse_import
from zoo.core.progress import Progress
from zoo.core.records import Records
from zoo.data.checked import SEAL, Blocks, is_sealed, seal_text, with_checks
from zoo.data.journal import IMAGES, JOURNAL, Finished, Pixels, PreparedImage, copies, read
from zoo.data.png import fast_png
from zoo.data.workers import Chunk, run

logger = logging.getLogger(__name__)

FORMAT = 3  # part of the fingerprint: a change in the preparation makes new stores
CHUNK = 64
PARALLEL_FROM = 512  # images; below, starting processes costs more than it saves
_DONORS = 8  # older stores to look for images in
_TABLE = "images.csv"
HOW = "preparation.json"
_PARTIAL = ".partial"
_SUPERSEDED = 0.95  # share of an interrupted preparation's images that a finished store must hold to replace it


@dataclass(frozen=True)
class Store:
    """Prepared images. Row i of `images` `(N, S, S)` uint8 is row i of the records it was made from.

    `images` has a row per image: `image`, `digest` (of the source pixels), `note` (how it was normalised) and `reason`
    (why it was set aside, "" if it was not). Images are compared with their checksums when they are first used.
    """

    images: np.ndarray
    table: pd.DataFrame
    fingerprint: str
    path: Path

    @property
    def size(self) -> int:
        return int(self.images.shape[1])


@runtime_checkable
class Keyed(Protocol):
    """A source with one key per image, from which follows whether it was prepared before."""

    def image_keys(self, paths: Sequence[str]) -> list[str]: ...


def default_cache() -> Path:
    """The folder of stores: $ZOO_CACHE, else zoo/ in the user's cache folder.

    A user without a home folder, as in a container, has one in the system's temporary folder.

    Raises:
        ZooError: the latter cannot be made, or is another user's.
    """
    given = os.environ.get("ZOO_CACHE")
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"
    except RuntimeError:  # neither HOME nor an entry in the system's list of users
        return _temporary_cache()


def _temporary_cache() -> Path:
    """A folder that no other user can write, as it holds what is loaded again."""
    user = os.getuid()
    folder = Path(tempfile.gettempdir(), f"zoo-{user}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        own = folder.lstat().st_uid == user and not folder.is_symlink()
    except OSError:
        own = False
    if not own:
        raise ZooError(
            f"there is no home folder for prepared images, and {folder} cannot be used instead. Choose a folder with the "
            "environment variable ZOO_CACHE."
        )
    return folder


def preparation() -> list[str | int]:
    """What prepared pixels depend on beside the images: the format's number and the decoder.

    Pillow alone works too, but reads some damaged files differently.
    """
    return [FORMAT, "kornia_rs" if fast_png() else "pillow"]


def fingerprint(records: Records, size: int) -> str:
    """Identify a store by its images, their source and the preparation; labels and splits do not count."""
    paths = records.table["path"].tolist()
    digest = hashlib.blake2b(digest_size=8)
    digest.update(json.dumps([preparation(), size, records.source.fingerprint(paths)]).encode())
    digest.update("\n".join(records.table["image"]).encode(errors="surrogateescape"))
    return digest.hexdigest()


def prepare(
    records: Records,
    size: int,
    cache: Path | None = None,
    *,
    name: str = "images",
    workers: int | None = None,
) -> Store:
    """Open the store of these records, and make it first if it does not exist.

    A store appears under its final name when it is complete. An interrupted preparation is resumed by the next one of the
    same images, and images that an older store of this name and size has are copied from it, both after their checksums
    were verified. Of several processes that prepare the same store one works and the others wait. An image that cannot be
    read, or whose decoder crashes, is set aside with its reason, and the work goes on.

    Args:
        records: the images.
        size: height and width in pixels; images are padded to a square with black and resampled.
        cache: folder of stores, `default_cache()` if None.
        name: the readable part of the folder's name.
        workers: number of worker processes, 0 to work in this one; None: one per usable core, or 0 for few images.

    Raises:
        ZooError: the store cannot be written, or no image can be read.
    """
    refuse_import()
    cache = cache or default_cache()
    key = fingerprint(records, size)
    path = cache / f"{name}-{size}px-{key}"
    try:
        store = _open(path, key, records)
        if store is not None:
            with contextlib.suppress(OSError):  # left by a preparation that was killed once it had published
                (path / LOCK).unlink(missing_ok=True)
            logger.debug(f"Prepared images: {path}")
        else:
            with locked(
                _partial(path) / LOCK, waiting=lambda: logger.info(f"Another process prepares {path}; waiting for it")
            ):
                store = _open(path, key, records) or _Making(records, size, path, key).make(workers)
                if path.exists():
                    shutil.rmtree(_partial(path), ignore_errors=True)
    except OSError as error:
        raise ZooError(
            f"cannot write or read the store {path}: {error.strerror or error}. Choose another cache folder with the "
            "environment variable ZOO_CACHE."
        ) from error
    if (store.table["reason"] != "").all():
        reason = store.table["reason"].iloc[0]
        raise ZooError(
            f"not one of the {len(records):,} images can be read; the first, {store.table['image'].iloc[0]}: {reason}"
        )
    return store


def verify(store: Store) -> list[str]:
    """Compare all pixels of a store with its checksums; returns the names of the images that are damaged.

    If there are any, the store is no longer found: the next preparation keeps what is whole and makes the rest again.
    """
    good = np.zeros(len(store.table), bool)
    try:
        pixels = Pixels.open(store.path / IMAGES)
        for finished in read(store.path):
            if pixels.holds(finished):
                good[finished.start : finished.start + len(finished.images)] = True
    except ValueError:
        good[:] = False
    if not good.all():
        with contextlib.suppress(PermissionError):  # another user's store can be read, but not given up
            (store.path / SEAL).unlink(missing_ok=True)
    return store.table["image"].to_numpy()[~good].tolist()


def _partial(path: Path) -> Path:
    return path.with_name(path.name + _PARTIAL)


def _open(path: Path, key: str, records: Records) -> Store | None:
    """The complete store at `path`; None if there is none, or one that is not what it should be.

    The table is made from the journal, whose lines have checksums, and the names in the records, which the fingerprint covers:
    images.csv beside it is for people.
    """
    try:
        sealed = is_sealed(path, len(records), (path / _TABLE).read_bytes())
        if not sealed or Pixels.open(path / IMAGES).count != len(records):
            return None
        journal = sorted(read(path), key=lambda finished: finished.start)
        blocks = Blocks(journal, len(records), path, _command(records, path, key))
        images = np.load(path / IMAGES, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return Store(
        with_checks(images, blocks), _table(records, [i for finished in journal for i in finished.images]), key, path
    )


def _table(records: Records, images: Sequence[PreparedImage]) -> pd.DataFrame:
    table = pd.DataFrame([image[:3] for image in images], columns=["digest", "note", "reason"], dtype=object)
    table.insert(0, "image", records.table["image"].to_numpy())
    return table


def _command(records: Records, path: Path, key: str) -> str:
    """The command that prepares a store again."""
    name, _, size = path.name.removesuffix(f"px-{key}").rpartition("-")
    root = getattr(records.source, "root", None)
    return f"zoo data prepare --data {name}{f' --root {root}' if root else ''} --image-size {size}"


class _Making:
    """The preparation of one store, by the process that holds the lock of its partial folder."""

    def __init__(self, records: Records, size: int, path: Path, key: str) -> None:
        self.records, self.size, self.path, self.key = records, size, path, key
        self.partial = _partial(path)
        self.paths: list[str] = records.table["path"].tolist()
        self.images: list[PreparedImage | None] = [None] * len(self.paths)

    def make(self, workers: int | None) -> Store:
        taken_up = (self.partial / IMAGES).exists()
        for left in self.partial.glob(".partial-*"):  # of a process that was killed: this one holds the lock
            left.unlink()
        self._take_back()
        self._log_size()
        pixels, kept = self._open_pixels()
        for finished in kept:
            self._note(finished)
        before = self._finished()
        chunks = self._chunks()
        if before:
            logger.info(f"{before:,} of them were finished before and are kept")
        source = self.records.source
        count = usable_cores() if workers is None else workers
        # an image may have crashed the last process: what is left is prepared in processes of its own
        if workers is None and not taken_up and (count == 1 or len(self.paths) <= PARALLEL_FROM):
            count = 0
        try:
            with (
                (self.partial / JOURNAL).open("a", encoding="ascii") as journal,
                Progress("Preparing", len(self.paths) - before) as progress,
            ):
                for finished in run(source, pixels, chunks, count):
                    pixels.sync()  # here, so that the workers need not wait for the disk
                    journal.write(finished.line())
                    journal.flush()
                    self._note(finished)
                    progress.advance(len(finished.images))
                os.fsync(journal.fileno())
        except KeyboardInterrupt:
            logger.warning(
                f"interrupted: {self._finished():,} of {len(self.paths):,} images are prepared and kept for next time"
            )
            raise
        return self._publish()

    def _take_back(self) -> None:
        """Turn a damaged store, or one that `verify` gave up, into a partial one."""
        if not self.path.exists():
            return
        logger.warning(f"the store {self.path} is damaged; what is whole is kept, the rest is prepared again")
        (self.path / SEAL).unlink(missing_ok=True)
        for name in (IMAGES, JOURNAL):
            if (self.path / name).exists() and not (self.partial / name).exists():
                (self.path / name).replace(self.partial / name)
        shutil.rmtree(self.path)

    def _log_size(self) -> None:
        """Log what will be written, and refuse if it does not fit on the disk."""
        images = f"{len(self.paths):,} images at {self.size}×{self.size}"
        needed = len(self.paths) * (self.size * self.size + 200)  # and the tables
        logger.info(f"Preparing {images} once ({needed / 1e6:,.0f} MB in {self.path})")
        array = self.partial / IMAGES
        held = array.stat().st_blocks * 512 if array.exists() and hasattr(os.stat_result, "st_blocks") else 0
        free = shutil.disk_usage(self.partial).free
        if needed - held > free:
            raise ZooError(
                f"{images} take {needed / 1e6:,.0f} MB, but {self.path.parent} has only {free / 1e6:,.0f} MB free. "
                "Free some space, choose another folder with the environment variable ZOO_CACHE, or a smaller --image-size."
            )

    def _open_pixels(self) -> tuple[Pixels, list[Finished]]:
        """The pixel file, and its finished images: those with the right checksum."""
        array = self.partial / IMAGES
        write_text(self.partial / HOW, json.dumps(preparation()))  # each time: a kill may have come before it was there
        try:
            pixels = Pixels.open(array)
            if (pixels.count, pixels.size) != (len(self.paths), self.size):
                raise ValueError("of another shape")
            kept = [finished for finished in read(self.partial) if pixels.holds(finished)]
        except (FileNotFoundError, ValueError):
            kept = []
            try:
                pixels = Pixels.create(array, len(self.paths), self.size)
            except OSError:
                array.unlink(missing_ok=True)  # else a full disk stays full
                raise
        with replacing(self.partial / JOURNAL) as new:
            new.write_text("".join(finished.line() for finished in kept), encoding="ascii")
        return pixels, kept

    def _note(self, finished: Finished) -> None:
        self.images[finished.start : finished.start + len(finished.images)] = finished.images

    def _finished(self) -> int:
        return sum(image is not None for image in self.images)

    def _chunks(self) -> list[Chunk]:
        """The rows that are left, in chunks of at most `CHUNK`, with the copies that older stores have of them."""
        todo = [row for row, image in enumerate(self.images) if image is None]
        keys = [""] * len(self.paths)
        if isinstance(self.records.source, Keyed):
            for row, key in zip(todo, self.records.source.image_keys([self.paths[row] for row in todo]), strict=True):
                keys[row] = key
        found = copies(self._donors() if any(keys) else (), self.size, [keys[row] for row in todo])
        if found:
            logger.info(f"{len(found):,} of them are taken over from an earlier store")
        chunks: list[list[int]] = []
        for row in todo:
            if not chunks or row != chunks[-1][-1] + 1 or len(chunks[-1]) == CHUNK:
                chunks.append([])
            chunks[-1].append(row)
        return [Chunk(rows[0], tuple((self.paths[r], keys[r], found.get(keys[r])) for r in rows)) for rows in chunks]

    def _donors(self) -> Iterator[Path]:
        """Older stores of this name, size and preparation, finished or not, newest first."""
        start = self.path.name.removesuffix(self.key)
        folders = [f for f in self.path.parent.glob(f"{glob.escape(start)}*") if f not in (self.path, self.partial)]
        for folder in sorted(folders, key=_modified, reverse=True)[:_DONORS]:
            with contextlib.suppress(OSError, ValueError):
                if json.loads((folder / HOW).read_text()) == preparation():
                    yield folder

    def _publish(self) -> Store:
        if fingerprint(self.records, self.size) != self.key:
            raise ZooError(
                "images were changed while they were prepared: wait until they are all in place, then run the same command again. "
                "Images that did not change are kept."
            )
        table = csv_text(_table(self.records, [image for image in self.images if image])).encode(
            "utf-8", "backslashreplace"
        )
        with replacing(self.partial / _TABLE) as new:
            new.write_bytes(table)
        with replacing(self.partial / SEAL) as new:
            new.write_text(seal_text(self.size, len(self.images), table))
        self.partial.rename(self.path)
        (self.path / LOCK).unlink(missing_ok=True)
        self._clear_superseded()
        store = _open(self.path, self.key, self.records)
        if store is None:
            raise ZooError(f"the store {self.path} was damaged while it was written; run the same command again.")
        return store

    def _clear_superseded(self) -> None:
        """Remove interrupted preparations whose images this store has, such as those of the dataset before it grew."""
        own = {image.key for image in self.images if image}
        for folder in self._donors():
            if not folder.name.endswith(_PARTIAL):
                continue
            with contextlib.suppress(ZooError), locked(folder / LOCK, busy="the preparation is under way"):
                keys = [image.key for finished in read(folder) for image in finished.images]
                if sum(key in own for key in keys) >= _SUPERSEDED * len(keys):
                    shutil.rmtree(folder, ignore_errors=True)


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
