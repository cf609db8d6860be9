"""Tables and lists that other programs wrote: byte order marks, encodings, delimiters, compressed files."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from zoo.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PACKED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ": lzma.decompress}
_ROWS = 50  # of a table, that its delimiter is told from
_BROKEN = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, csv.Error)


def column_key(name: str) -> str:
    """A column's name as it is compared: without case, spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", "", str(name)).lower()


def read_table(file: Path, what: str = "a table") -> tuple[pd.DataFrame, str]:
    """Read a table with every cell as stripped text; an empty cell is "".

    Cells are separated by commas, semicolons or tabs, told from the first rows. The text is UTF-8, with or without a byte
    order mark, UTF-16 with one, or else Windows-1252. The file may be compressed (gzip, bzip2, xz, or a zip of one file).

    Returns:
        The cells, and what is not comma and UTF-8 about the file, for a note; "" for the usual.

    Raises:
        DataError: the file is missing, empty, not text or not a table.
    """
    import pandas as pd

    try:
        text, encoding = decode(_unpacked(file))
        delimiter = _delimiter(text)
        frame = pd.read_csv(io.StringIO(text), sep=delimiter, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"there is no file {file} with {what}") from None
    except _BROKEN as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{file} cannot be read as a CSV table: {error}") from None
    if not isinstance(frame.index, pd.RangeIndex):  # rows longer than the header: pandas takes the first for an index
        cells, header = frame.reset_index(), list(frame.columns)
        if (cells.iloc[:, len(header) :].fillna("") != "").any(axis=None):
            raise DataError(f"{file}: the rows have more cells than the header; quote cells that contain a comma")
        frame = cells.iloc[:, : len(header)].set_axis(header, axis=1)
    frame.columns = frame.columns.str.strip()
    if frame.empty:
        raise DataError(f"{file} has no rows")
    unusual = [f"its cells are separated by {DELIMITERS[delimiter]}"] if delimiter != "," else []
    unusual += [f"its text is taken as {encoding}"] if encoding else []
    return frame.apply(lambda cells: cells.fillna("").str.strip()), " and ".join(unusual)


def read_list(file: Path) -> list[str]:
    """The lines of a text file without the empty ones, stripped; encodings as for `read_table`.

    Raises:
        DataError: the file is not text.
    """
    try:
        text, _ = decode(file.read_bytes())
    except ValueError as error:
        raise DataError(f"{file} cannot be read as a list: {error}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]


def stream_names(stream: IO[bytes]) -> Iterator[str]:
    """File names, one per line of a stream, as they come; with a byte order mark of UTF-8 or UTF-16 or without."""
    for number, line in enumerate(stream):
        if number == 0 and line.startswith(
            _UTF16
        ):  # what PowerShell writes: its lines cannot be told apart before it ends
            yield from (name for name in decode(line + stream.read())[0].splitlines() if name)
            return
        name = os.fsdecode(line.removeprefix(codecs.BOM_UTF8 if number == 0 else b"").rstrip(b"\r\n"))
        if name:
            yield name


def with_slashes(path: str, root: str = "") -> str:
    """A path from Windows with slashes for its backslashes, where there is no file of the name as it is."""
    return path.replace("\\", "/") if "\\" in path and not os.path.lexists(os.path.join(root, path)) else path


def decode(data: bytes) -> tuple[str, str]:
    """Text without its byte order mark, and the name of its encoding, "" for UTF-8.

    Raises:
        ValueError: it is not text.
    """
    if data.startswith(_UTF16):
        text = data.decode("utf-16")
        if "\0" in text:
            raise ValueError("it is not text")
        return text, "UTF-16"
    if b"\0" in data:
        raise ValueError("it is not text")
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), "Windows-1252, for it is not UTF-8"


def _unpacked(file: Path) -> bytes:
    data = file.read_bytes()
    for magic, unpack in _PACKED.items():
        if data.startswith(magic):
            return unpack(data)
    if not data.startswith(b"PK\x03\x04"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if "xl/workbook.xml" in names:
            raise ValueError("it is an Excel workbook; save its sheet as CSV")
        if len(names) != 1:
            raise ValueError(f"a zip file must hold one table, this one holds {len(names):,} files; unpack it")
        return archive.read(names[0])


def _delimiter(text: str) -> str:
    """The delimiter that splits the header, and the first rows into as many cells; of several the one with most cells."""
    found: dict[str, tuple[bool, int]] = {}
    for delimiter in DELIMITERS:
        try:
            rows = [len(row) for row in islice(csv.reader(io.StringIO(text), delimiter=delimiter), _ROWS) if row]
        except csv.Error:  # a quoted carriage return stands outside of quotes where cells are split by another
            continue
        if rows and rows[0] > 1:
            found[delimiter] = (set(rows) == {rows[0]}, rows[0])
    return max(found, key=lambda delimiter: found[delimiter], default=",")
