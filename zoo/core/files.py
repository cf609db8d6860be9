"""Writing files so that a reader sees the old content or the new, never half of it; reading regular files; checksums."""

from __future__ import annotations

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
    handle = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
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


def read_bytes(file: str | Path, limit: str) -> bytes:
    """The content of a regular file of no more bytes than the limit of that name (`zoo.core.limits`).

    Raises:
        DataError: it is no regular file, or larger.
        OSError: it is missing or cannot be read.
    """
    with open_regular(file) as stream, limits.memory_of(file):
        limits.check(limit, os.fstat(stream.fileno()).st_size, file)
        return stream.read()
