"""What kind of file an image is, and the limits and checks that every decoder shares."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path

from zoo.core.records import BadImage

# A digitised chest X-ray has at most some 20 megapixels; beyond this a small file is a decompression bomb.
MAX_PIXELS = 100_000_000
AVIF = importlib.util.find_spec("PIL._avif") is not None  # whether this Pillow reads AVIF
HEAD = 132  # bytes that tell the kind of a file
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_DICOM_PREFIX = slice(128, 132)
# the attributes that a DICOM file without a preamble may begin with, and how their VR can be written
_DICOM_FIRST = (b"\x08\x00\x00\x00", b"\x08\x00\x01\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")
_DICOM_META = b"\x02\x00\x00\x00UL\x04\x00"
_DICOM_VRS = (b"UL", b"CS", b"UI")


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes is DICOM; `HEAD` bytes are enough.

    Files of old systems, which lack the preamble, are recognised by their first attribute. A PNG is never DICOM.
    """
    if head.startswith(PNG_SIGNATURE):
        return False
    if head[_DICOM_PREFIX] == b"DICM" or head.startswith(_DICOM_META):
        return True
    if len(head) < HEAD or not head.startswith(_DICOM_FIRST):
        return False
    return head[4:6] in _DICOM_VRS or (head[5:8] == b"\0\0\0" and 0 < head[4] <= 64)


def read_head(file: str | Path) -> bytes:
    """The first `HEAD` bytes of a regular file; none of anything else (opening a FIFO would wait for ever)."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return b""
        with open(file, "rb") as stream:
            return stream.read(HEAD)
    except (OSError, ValueError):
        return b""


def check_file(file: Path) -> int:
    """The size of a file in bytes, if it can be opened and is not empty.

    Raises:
        BadImage: it is missing, empty, or not a regular file.
    """
    try:
        status = os.stat(file)
    except (FileNotFoundError, NotADirectoryError):
        raise BadImage("missing file") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("a directory, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")
    if status.st_size == 0:
        raise BadImage("zero bytes")
    return status.st_size


def check_size(width: int, height: int) -> None:
    """Refuse an image of more than `MAX_PIXELS` pixels.

    Raises:
        BadImage: it is larger.
    """
    if width * height > MAX_PIXELS:
        raise BadImage(f"decompression bomb: {width}×{height} pixels, over {MAX_PIXELS // 10**6} megapixels")


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, from the exception that its decoder raised."""
    text = str(error)
    if "truncated" in text.lower():
        return "truncated"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be decoded ({type(error).__name__}: {text[:80]})" if text else "cannot be decoded"
