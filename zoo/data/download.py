"""Download a published dataset by kagglehub, or unpack archives fetched by hand, into the layout that its reader expects."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.core.contracts import Dataset, Download
from zoo.core.errors import DataError, UsageError, ZooError, unknown
from zoo.core.files import sha256
from zoo.core.locks import LOCK, locked
from zoo.core.registry import Registry
from zoo.data.archives import (
    ARCHIVES,
    MANIFEST,
    Entry,
    Unpacked,
    damaged,
    need_room,
    read_manifest,
    unpack,
    write_manifest,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Downloaded:
    """What the folder holds now: files and bytes in the manifest; how many were added just now, and how many left out."""

    folder: Path
    files: int
    bytes: int
    added: int
    left_out: int


def find_download(name: str, registry: Registry) -> tuple[Dataset, Download]:
    """The dataset that can be downloaded under this name.

    Raises:
        UsageError: there is none; lists the valid names.
    """
    found = {d.name: (e.strategy, d) for e in registry.entries("dataset") for d in e.strategy.info.downloads}
    if name not in found:
        raise unknown("download", name, found, "See 'zoo data download --help'.")
    dataset, wanted = found[name]
    return dataset, wanted


def unpack_archives(dataset: Dataset, wanted: Download, archives: Sequence[Path], root: Path) -> Downloaded:
    """Unpack archives, and copy single files, that were fetched by hand. What was unpacked before is skipped.

    Raises:
        UsageError: one of the archives is not there.
        DataError: an archive is damaged or not to be trusted, or the dataset has no use for it.
    """
    for archive in archives:
        if not archive.is_file():
            raise UsageError(f"--archive {archive} does not exist. {by_hand(wanted, root)}", dataset.info.layout)
    total = Unpacked()
    for archive in archives:
        done = read_manifest(root, ARCHIVES).get(archive.name)
        mark = Entry(archive.name, archive.stat().st_size, sha256(archive), "")
        if done == mark and not damaged(root, _of(root, archive.name)):
            logger.info(f"{archive.name}: unpacked before, every file is in place")
            continue
        found = unpack(archive, root, dataset.destination)
        if not found.entries:
            raise DataError(
                f"{archive} holds nothing that the dataset '{dataset.info.name}' reads. It expects:",
                dataset.info.layout,
            )
        write_manifest(root, {**read_manifest(root, ARCHIVES), archive.name: mark}, ARCHIVES)
        total.added += found.added
        total.left_out += found.left_out
    return _result(root, total)


def fetch(dataset: Dataset, wanted: Download, root: Path) -> Downloaded:
    """Download by kagglehub and move the files into their places; an interrupted download is resumed.

    Raises:
        ZooError: it cannot be downloaded; says why, and how to place the files by hand.
    """
    source = f"kaggle:{wanted.kaggle}"
    if source in read_manifest(root, ARCHIVES) and not damaged(root, _of(root, source)):
        logger.info(f"{wanted.name} was downloaded before, every file is in place")
        return _result(root, Unpacked())
    need_room(root, 2 * wanted.bytes, f"{wanted.name} (the archive and its files)")
    whole = Path(os.path.abspath(root))
    partial = whole.with_name(f".download-{whole.name}")
    with locked(partial / LOCK, waiting=lambda: logger.info(f"Another process downloads to {root}; waiting for it")):
        try:
            logger.info(f"Downloading {wanted.kaggle} from Kaggle, about {wanted.bytes / 1e9:,.1f} GB, to {root}")
            folder = _by_kagglehub(wanted, partial)
        except ZooError as error:
            kept = _bytes(partial)
            if not kept:
                shutil.rmtree(partial, ignore_errors=True)
            so_far = (
                f"The {kept / 1e6:,.1f} MB fetched so far are kept, the same command goes on from there. "
                if kept
                else ""
            )
            raise ZooError(
                f"{wanted.name} cannot be downloaded: {error}. {so_far}{by_hand(wanted, root)}",
                dataset.info.layout,
            ) from error
        found = unpack(folder, root, dataset.destination, source)
        entries = _of(root, source)  # with those that an interrupted run moved
        if not entries:
            raise DataError(
                f"what Kaggle has as {wanted.kaggle} holds nothing that the dataset '{dataset.info.name}' reads."
            )
        size = sum(entry.bytes for entry in entries.values())
        write_manifest(root, {**read_manifest(root, ARCHIVES), source: Entry(source, size, "", "")}, ARCHIVES)
        shutil.rmtree(partial, ignore_errors=True)
    return _result(root, found)


def by_hand(wanted: Download, root: Path) -> str:
    """Instructions to fetch a dataset by hand; its layout belongs below them."""
    kaggle = f"https://www.kaggle.com/datasets/{wanted.kaggle}"
    other = "" if wanted.page == kaggle else f", or the archive of {kaggle}"
    return (
        f"By hand: fetch {wanted.files} from {wanted.page}{other}. Then: zoo data download {wanted.name} --out {root} "
        f"--archive FILE --archive FILE … Or place the files so:"
    )


def _by_kagglehub(wanted: Download, cache: Path) -> Path:
    """The folder with the unpacked files; a download that broke off is kept in the cache and resumed."""
    try:
        import kagglehub
    except ImportError:
        raise ZooError("kagglehub is not installed (pip install 'cxr-zoo[download]')") from None
    with _cache_and_output(cache):
        try:
            return Path(kagglehub.dataset_download(wanted.kaggle))
        except Exception as error:  # of requests, of kagglehub, of the archive: what it raises is not documented
            raise ZooError(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Why kagglehub failed, in a few words."""
    kinds = {each.__name__ for each in type(error).__mro__}  # of requests, which only kagglehub imports
    if kinds & {"ConnectionError", "Timeout"}:
        return f"Kaggle cannot be reached ({type(error).__name__})"
    if "ChunkedEncodingError" in kinds:
        return "the connection broke off"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}".rstrip(" .:")


@contextlib.contextmanager
def _cache_and_output(cache: Path) -> Iterator[None]:
    """Give kagglehub its cache folder, and keep what it logs and prints out of standard output, which a machine may read."""
    handlers = [each for each in logging.getLogger("kagglehub").handlers if isinstance(each, logging.StreamHandler)]
    streams = [handler.setStream(sys.stderr) for handler in handlers]
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.environ.pop("KAGGLEHUB_CACHE")
        os.environ.update({} if before is None else {"KAGGLEHUB_CACHE": before})
        for handler, stream in zip(handlers, streams, strict=True):
            if stream is not None:
                handler.setStream(stream)


def _of(root: Path, source: str) -> dict[str, Entry]:
    """The recorded files of one source."""
    return {path: entry for path, entry in read_manifest(root, MANIFEST).items() if entry.source == source}


def _result(root: Path, found: Unpacked) -> Downloaded:
    entries = read_manifest(root)
    return Downloaded(root, len(entries), sum(e.bytes for e in entries.values()), found.added, found.left_out)


def _bytes(folder: Path) -> int:
    """Bytes of what was fetched so far."""
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file() and each.name != LOCK)
