"""Writing files so that a reader sees the old content or the new, never half of it; reading regular files; checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zoo.core import limits
from zoo.core.errors import DataError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` with the same suffixes; on success it takes the place of `path`."""
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        yield partial
        with partial.open("rb+") as file:  # on disk before the name changes, or a power cut leaves an empty file
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text atomically, making the folder where it is missing; a file that holds this text already is left alone."""
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content)


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_regular(file: str | Path) -> BinaryIO:
    """Open a regular file to read it; links are followed. What was opened is what is checked: it cannot be swapped between.

    Raises:
        DataError: it is a directory, a FIFO, a device or a socket; opening one of these could wait or read for ever.
        OSError: it is missing or cannot be read.
    """
    return _regular(os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), file)


def _regular(handle: int, file: str | Path) -> BinaryIO:
    """A descriptor as a stream, closed again where it is of no regular file."""
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise DataError(
                f"{file} is {'a directory' if stat.S_ISDIR(mode) else 'no regular file'}, which is not read"
            )
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def open_inside(root: str | Path, path: str | Path) -> BinaryIO:
    """Open a regular file below a folder to read it, wherever links lead; one that leads out of the folder is not opened.

    The real place is found first, and then opened from `root` on step by step without following a link: what is swapped for a
    link meanwhile is refused.

    Raises:
        DataError: it lies outside of the folder, was swapped, or is no regular file.
        OSError: it is missing or cannot be read.
    """
    base, real = os.path.realpath(root), os.path.realpath(os.path.join(root, path))
    parts = os.path.relpath(real, base).split(os.sep)
    if os.path.commonpath([base, real]) != base:
        raise DataError(f"{path} leads out of {root}")
    if os.open not in os.supports_dir_fd or not hasattr(os, "O_NOFOLLOW"):  # Windows, where links need a privilege
        return open_regular(real)
    folder = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        handle = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise DataError(f"{path} became a link while it was opened: it is not read") from None
        raise
    finally:
        os.close(folder)
    return _regular(handle, path)


def read_bytes(file: str | Path, limit: str) -> bytes:
    """The content of a regular file of no more bytes than the limit of that name (`zoo.core.limits`).

    Raises:
        DataError: it is no regular file, or larger.
        OSError: it is missing or cannot be read.
    """
    with open_regular(file) as stream, limits.memory_of(file):
        limits.check(limit, os.fstat(stream.fileno()).st_size, file)
        return stream.read()
