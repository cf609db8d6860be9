"""Unpack archives without trusting them: nothing outside their folder, no links, no bombs, nothing half-written."""

from __future__ import annotations

import contextlib
import csv
import errno
import gzip
import hashlib
import io
import logging
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from zoo.core.cells import rows_text
from zoo.core.errors import DataError, ZooError
from zoo.core.files import open_inside, replacing, sha256
from zoo.core.locks import LOCK, locked
from zoo.core.progress import Progress
from zoo.core.text import is_unicode

logger = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
WORK = ".unpacking"
_COLUMNS = ("path", "bytes", "sha256", "source")
ARCHIVES = "archives.csv"  # the archives whose files are all in place
ENDINGS = (".tar.gz", ".tgz", ".zip")
_BLOCK = 1 << 20
_OURS = (MANIFEST, ARCHIVES, WORK, LOCK)  # names that no member may take
_LARGEST_READ = 16 << 20

# the place of a member in the published layout, relative to its root; None for what is not part of it
Locate = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Limits:
    """What no honest archive exceeds: members, bytes of one and of all, and how far they may expand."""

    members: int = 500_000
    member_bytes: int = 4 << 30
    total_bytes: int = 400 << 30
    expansion: float = 100.0  # unpacked bytes by packed ones, once they are more than `expansion_from`
    expansion_from: int = 64 << 20


@dataclass(frozen=True)
class Entry:
    """A file of the layout: its path below the root, its size and checksum, and the archive it came from."""

    path: str
    bytes: int
    sha256: str
    source: str


@dataclass
class Unpacked:
    """Files that one archive added, those that were there already, and those that are no part of the layout."""

    added: int = 0
    known: int = 0
    left_out: int = 0
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[Any]]
    file: Path | None = None  # on the disk already, to be moved


def read_manifest(root: Path, name: str = MANIFEST) -> dict[str, Entry]:
    """The files recorded under `root` by path; none if there is no manifest."""
    try:
        text = (root / name).read_bytes().decode()  # as written: `read_text` would alter line breaks in names
    except FileNotFoundError:
        return {}
    rows = [
        row for row in csv.reader(io.StringIO(text, newline="")) if len(row) == len(_COLUMNS) and row[1].isdecimal()
    ]
    return {row[0]: Entry(row[0], int(row[1]), row[2], row[3]) for row in rows}


def write_manifest(root: Path, entries: dict[str, Entry], name: str = MANIFEST) -> None:
    """Record files, atomically."""
    text = rows_text((vars(entry) for _, entry in sorted(entries.items())), _COLUMNS)
    with replacing(root / name) as partial:
        partial.write_bytes(text.encode())


def damaged(root: Path, entries: dict[str, Entry]) -> list[str]:
    """The recorded files that are gone or of another size."""
    return [path for path, entry in entries.items() if _size(root / path) != entry.bytes]


def unpack(archive: Path, root: Path, locate: Locate, limits: Limits, source: str = "") -> Unpacked:
    """Unpack an archive into its places under `root`, and record the files in the manifest.

    The files appear in their places when the whole archive was read and found good. Until then they lie in a folder of
    their own, from which an interrupted unpacking is resumed.

    Args:
        archive: a .tar.gz or .zip; any other file is copied, and the files of a folder are moved.
        root: of the dataset.
        locate: gives the place of a member in the layout, or None.
        limits: what is refused.
        source: where the files come from, as the manifest names it; the archive's name if empty.

    Raises:
        DataError: the archive is damaged, or not to be trusted; names the member. Nothing of it is left.
        ZooError: the disk is full, or cannot be written.
    """
    need_room(root, archive.stat().st_size, archive.name)
    made = not root.exists()
    work = root / WORK
    with locked(work / LOCK, waiting=lambda: logger.info(f"Another process unpacks into {root}; waiting for it")):
        stage = work / archive.name
        try:
            found, moves = _stage(archive, stage, root, locate, limits, source or archive.name)
            if found.entries:
                _publish(moves, root, found.entries)
            shutil.rmtree(stage, ignore_errors=True)
        except DataError:
            shutil.rmtree(stage, ignore_errors=True)
            clear(root, made)
            raise
        except OSError as error:
            why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise ZooError(
                f"cannot unpack {archive} into {root}: {why}. What was unpacked is kept in {stage}; the same command goes on."
            ) from error
        clear(root, made and not found.entries)
    there = f", {found.known:,} were there" if found.known else ""
    logger.info(f"{source or archive.name}: {found.added:,} files unpacked{there}")
    return found


def clear(root: Path, made: bool) -> None:
    """Remove the folder of unfinished work if nothing unfinished is in it, and a root that was made in vain."""
    work = root / WORK
    if work.is_dir() and {each.name for each in work.iterdir()} <= {LOCK}:
        shutil.rmtree(work, ignore_errors=True)
        if made:
            with contextlib.suppress(OSError):  # something is in it
                root.rmdir()


def need_room(folder: Path, size: int, what: str) -> None:
    """Refuse to begin what does not fit on the disk; `size` in bytes."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ZooError(
            f"{what} takes at least {size / 1e9:,.1f} GB, but {folder} has only {free / 1e9:,.1f} GB free. Free some space, or "
            "name a folder on another disk with --out."
        )


def safe_name(name: str, archive: str) -> str:
    """A member's name, if it stays below the folder it is unpacked into.

    Raises:
        DataError: it is absolute, climbs out by .., or cannot be a file's name.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    drive = len(name) > 1 and name[1] == ":"
    if path.is_absolute() or ".." in path.parts or drive or "\0" in name or not path.parts:
        raise DataError(f"{archive}: the member {name!r} leads out of its folder; the archive is not to be trusted")
    return path.as_posix()


def _stage(
    archive: Path, stage: Path, root: Path, locate: Locate, limits: Limits, source: str
) -> tuple[Unpacked, dict[str, Path]]:
    """Read the whole archive and write the files that are new into `stage`; returns where each lies, too."""
    stage.mkdir(exist_ok=True)
    manifest, found, moves = read_manifest(root), Unpacked(), dict[str, Path]()
    with Progress(archive.name, None, unit="files") as progress, _refusing_damage(archive):
        for member in _within(limits, archive):
            progress.advance(1)
            target = locate(safe_name(member.name, source))
            target = None if target is None else safe_name(target, source)
            if target is None or target.partition("/")[0] in _OURS:
                found.left_out += 1
                continue
            if not is_unicode(target):
                raise DataError(f"{source}: the name of the member {member.name!r} is not Unicode (UTF-8)")
            known = found.entries.get(target) or _known(root, target, manifest)
            entry = Entry(target, *_take(member, None if known else stage / target), source)
            if known is None:
                moves[target] = member.file or stage / target
            elif (known.bytes, known.sha256) != (entry.bytes, entry.sha256):
                where = f"the one of {known.source}" if known.source else f"{root / target}, which was there before"
                raise DataError(f"{source}: {member.name} has other content than {where}. Nothing of it was kept.")
            found.known += known is not None
            found.entries.setdefault(target, entry)
    found.added = len(moves)
    return found, moves


def _known(root: Path, target: str, manifest: dict[str, Entry]) -> Entry | None:
    """The file of that place if it is there and whole, recorded or not."""
    size, recorded = _size(root / target), manifest.get(target)
    if size < 0:
        return None
    if recorded is not None:
        return recorded if recorded.bytes == size else None
    return Entry(target, size, sha256(root / target), "")


def _take(member: _Member, file: Path | None) -> tuple[int, str]:
    """Read a member, into a file if one is given and does not hold it already; returns size and checksum."""
    if member.file is not None:
        return member.size, sha256(member.file)
    staged = file is not None and _size(file) == member.size
    with member.open() as stream:
        size, checksum = _copy(stream, member, None if staged else file)
    if staged and file is not None and sha256(file) != checksum:  # it was not on disk yet when the power failed
        with member.open() as stream:
            _copy(stream, member, file)
    return size, checksum


def _within(limits: Limits, archive: Path) -> Iterator[_Member]:
    """The members of an archive, as long as they keep the limits."""
    total = 0
    packed = archive.stat().st_size
    most = min(limits.total_bytes, max(limits.expansion_from, limits.expansion * packed))
    if archive.is_dir():
        most = limits.total_bytes
    for count, member in enumerate(_members(archive), 1):
        total += member.size
        if count > limits.members:
            raise DataError(f"{archive.name} has more than {limits.members:,} members; it is not to be trusted")
        if member.size > limits.member_bytes or total > most:
            raise DataError(
                f"{archive.name} expands to {total / 1e9:,.1f} GB or more from {packed / 1e6:,.1f} MB, at {member.name!r}: a "
                "decompression bomb; it is not to be trusted"
            )
        yield member


@contextlib.contextmanager
def _refusing_damage(archive: Path) -> Iterator[None]:
    """Turn what the readers raise for a damaged archive into one error."""
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise DataError(
            f"{archive} is damaged or incomplete ({error}): fetch it again. Nothing of it was kept."
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise DataError(f"{archive} is damaged ({error}): fetch it again. Nothing of it was kept.") from None


def _members(archive: Path) -> Iterator[_Member]:
    """The regular files of an archive, or the file itself if it is none; folders are skipped, anything else is refused."""
    if archive.is_dir():
        for file in sorted(each for each in archive.rglob("*") if each.is_file() and not each.is_symlink()):
            name = file.relative_to(archive).as_posix()
            yield _Member(name, file.stat().st_size, partial(open_inside, archive, name), file)
    elif not archive.name.lower().endswith(ENDINGS):
        yield _Member(archive.name, archive.stat().st_size, partial(archive.open, "rb"))
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as pack:
            for info in pack.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                if _is_file(info.filename, info.is_dir(), kind in (0, stat.S_IFREG), archive):
                    yield _Member(info.filename, info.file_size, partial(pack.open, info))
    else:
        with gzip.open(archive) as packed, tarfile.open(fileobj=_metered(packed, archive.name), mode="r:") as tape:
            for each in tape:
                if _is_file(each.name, each.isdir(), each.isreg(), archive):
                    yield _Member(each.name, each.size, partial(_extracted, tape, each))
            while packed.read(_BLOCK):  # to the end, where its checksum stands
                pass


def _is_file(name: str, folder: bool, regular: bool, archive: Path) -> bool:
    """Whether a member is a file, not a folder. Stricter than tarfile's data filter, which allows links inside the folder."""
    safe_name(name, archive.name)
    if not (folder or regular):
        raise DataError(f"{archive.name}: the member {name!r} is a link or device, not a file")
    return not folder


def _metered(stream: Any, name: str) -> Any:  # tarfile's stubs ask for more than it uses
    return _Metered(stream, name)


class _Metered(io.BufferedIOBase):
    """A stream of which no single read may be large: a header of gigabytes would be held in memory."""

    def __init__(self, stream: IO[Any], name: str) -> None:
        self._stream, self._name = stream, name

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_READ:
            raise DataError(f"{self._name} has a header of {size:,} bytes; it is not to be trusted")
        return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def _extracted(tape: tarfile.TarFile, member: tarfile.TarInfo) -> IO[Any]:
    stream = tape.extractfile(member)
    if stream is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    return stream


def _copy(stream: IO[Any], member: _Member, file: Path | None) -> tuple[int, str]:
    """Read a member, into a file where one is given; returns its size and checksum."""
    digest, count = hashlib.sha256(), 0
    with contextlib.ExitStack() as opened:
        target = None
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            target = opened.enter_context(open(file, "wb"))
        while block := stream.read(_BLOCK):
            count += len(block)
            if count > member.size:
                raise DataError(
                    f"the member {member.name!r} is longer than it claims; the archive is not to be trusted"
                )
            digest.update(block)
            if target is not None:
                target.write(block)
    if count < member.size:
        raise EOFError(f"{member.name} is cut off")
    return count, digest.hexdigest()


def _publish(moves: dict[str, Path], root: Path, entries: dict[str, Entry]) -> None:
    """Record files, and move those that are new to their places."""
    if hasattr(os, "sync"):
        os.sync()
    write_manifest(root, read_manifest(root) | entries)
    for target, file in moves.items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, root / target)


def _size(file: Path) -> int:
    """Bytes of a regular file, -1 where there is none."""
    try:
        found = file.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1
