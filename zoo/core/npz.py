"""Arrays in .npz files, read member by member: what a header claims is held against the member's size before it is allocated."""

from __future__ import annotations

import contextlib
import math
import tokenize
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

from zoo.core import limits
from zoo.core.errors import DataError
from zoo.core.zips import BROKEN, open_zip

if TYPE_CHECKING:
    import numpy as np


@contextlib.contextmanager
def open_npz(file: Path) -> Iterator[zipfile.ZipFile]:
    """Open an .npz file, a zip file of arrays, within limits, and turn what a damaged one raises into one error.

    Raises:
        DataError: it cannot be read, is no regular file, is not to be trusted, or is beyond a limit.
        FileNotFoundError: it is missing.
    """
    try:
        with limits.memory_of(file), open_zip(file) as archive:
            limits.check("npz_bytes", sum(info.file_size for info in archive.infolist()), file)
            yield archive
    except (FileNotFoundError, PermissionError):
        raise
    except BROKEN as error:
        raise DataError(f"{file} cannot be read as an .npz file: {' '.join(str(error).split())}") from None


def claimed(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array by its header, which agree with the size of its member.

    Raises:
        ValueError: they do not, or it is an array of objects.
    """
    with archive.open(f"{name}.npy") as stream:
        return _header(stream, archive.getinfo(f"{name}.npy").file_size, name)


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array, whose header was checked as by `claimed`."""
    from numpy.lib import format as npy

    claimed(archive, name)
    with archive.open(f"{name}.npy") as stream:
        found: np.ndarray = npy.read_array(stream, allow_pickle=False)
        if stream.read(1):
            raise ValueError(f"'{name}' has bytes behind its values")
    return found


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Every array of an .npz file by its name; errors as for `open_npz`."""
    with open_npz(file) as archive:
        return {name: read_array(archive, name) for name in names(archive)}


def names(archive: zipfile.ZipFile) -> list[str]:
    """The names of the arrays in an archive."""
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _header(stream: IO[bytes], size: int, name: str) -> tuple[tuple[int, ...], np.dtype]:
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    try:
        shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    except (SyntaxError, tokenize.TokenError, TypeError, MemoryError) as error:  # of Python's parser
        raise ValueError(f"the header of '{name}' is not one of NumPy: {error}") from None
    if dtype.hasobject:
        raise ValueError(f"'{name}' holds objects of Python, which are not read")
    expected = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or stream.tell() + expected != size:
        raise ValueError(
            f"'{name}' claims the shape {tuple(shape)} of {dtype}, but has {size - stream.tell():,} bytes of values"
        )
    return tuple(shape), dtype
