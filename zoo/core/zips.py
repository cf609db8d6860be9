"""Zip files, and what is compressed as a whole, opened within limits: what they claim is checked before it is unpacked."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from zoo.core import limits
from zoo.core.errors import DataError
from zoo.core.files import open_regular

# what a damaged archive makes its readers raise
BROKEN = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)
_XZ_MEMORY = 128 << 20  # bytes; the highest preset of xz takes 65 MB
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


@contextlib.contextmanager
def open_zip(file: Path | BinaryIO, what: object = None) -> Iterator[zipfile.ZipFile]:
    """Open a zip file of which no member is named twice and which does not expand beyond the limits.

    Args:
        file: a path, which must be that of a regular file, or an open file.
        what: names it in messages; the path by default.

    Raises (on entering):
        DataError: it is no regular file, is not to be trusted or beyond a limit.
        OSError, zipfile.BadZipFile: it is missing or no zip file.
    """
    what = what or file
    with contextlib.ExitStack() as opened:
        stream = opened.enter_context(open_regular(file)) if isinstance(file, Path) else file
        size = stream.seek(0, os.SEEK_END)
        end = zipfile._EndRecData(stream)  # type: ignore[attr-defined]  # before the directory is read into memory
        if end is not None:
            limits.check("zip_directory_bytes", end[5], what)
        archive = opened.enter_context(zipfile.ZipFile(stream))
        names = Counter(info.filename for info in archive.infolist())
        limits.check("archive_members", names.total(), what)
        if len(names) < names.total():
            raise DataError(f"{what} holds two members named {names.most_common(1)[0][0]!r}; it is not to be trusted")
        limits.check_expansion(size, sum(info.file_size for info in archive.infolist()), what)
        yield archive


def member(archive: zipfile.ZipFile, name: str, limit: str, what: object) -> bytes:
    """One member of an archive that `open_zip` opened, if its size is within the limit of that name.

    Raises:
        DataError: it is larger.
        KeyError: there is none.
        zipfile.BadZipFile, zlib.error …: it is damaged; see `BROKEN`.
    """
    size = archive.getinfo(name).file_size
    limits.check(limit, size, f"{what}, member {name}")
    with limits.memory_of(what):
        data = archive.read(name)  # which reads no more bytes than it claims
    if len(data) < size:
        raise zipfile.BadZipFile(f"the member {name} is shorter than it claims")
    return data


def unpacked(data: bytes, limit: str, what: object) -> bytes:
    """What gzip, bzip2 or xz packed, or a zip file of one member, by its first bytes; any other data as they are.

    Raises:
        DataError: it unpacks to more than the limit of that name, or further than honest files do.
        ValueError: it is a zip file of several members, or an Excel workbook.
        OSError, EOFError …: it is damaged; see `BROKEN`.
    """
    most = limits.value(limit)
    if data.startswith(b"PK\x03\x04"):
        with open_zip(io.BytesIO(data), what) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
            if "xl/workbook.xml" in names:
                raise ValueError("it is an Excel workbook; save its sheet as CSV")
            if len(names) != 1:
                raise ValueError(f"a zip file must hold one table, this one holds {len(names):,} files; unpack it")
            return member(archive, names[0], limit, what)
    if not data.startswith(_PACKED):
        return data
    with limits.memory_of(what):
        if data.startswith(_PACKED[2]):
            found = _unxz(data, most)
        else:
            opener = gzip.open if data.startswith(_PACKED[0]) else bz2.open
            with opener(io.BytesIO(data)) as stream:
                found = stream.read(most + 1)
    if len(found) > most:
        raise limits.exceeded(limit, what, f"more than {limits.quantity(most, 'bytes')}")
    limits.check_expansion(len(data), len(found), what)
    return found


def _unxz(data: bytes, most: int) -> bytes:
    """The streams of an xz file, up to one byte more than `most`; a file that asks for a large dictionary is refused."""
    found = b""
    while data.strip(b"\0") and len(found) <= most:
        reader = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
        found += reader.decompress(data, most + 1 - len(found))
        if not reader.eof and len(found) <= most:
            raise EOFError("it is cut off")
        data = reader.unused_data
    return found
