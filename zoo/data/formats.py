"""What kind of file an image is, and the limits and checks that every decoder shares."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from zoo.core import limits
from zoo.core.errors import DataError
from zoo.core.files import open_regular
from zoo.core.records import BadImage

AVIF = importlib.util.find_spec("PIL._avif") is not None  # whether this Pillow reads AVIF
HEAD = 132  # bytes that tell the kind of a file


class Kind(StrEnum):
    """A kind of image file. All but DICOM have Pillow's name of the format."""

    PNG = "PNG"
    JPEG = "JPEG"
    BMP = "BMP"
    TIFF = "TIFF"
    WEBP = "WEBP"
    GIF = "GIF"
    PNM = "PPM"
    JPEG_2000 = "JPEG2000"
    AVIF = "AVIF"
    DICOM = "DICOM"


PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
J2K_START = b"\xff\x4f\xff\x51"  # of a JPEG 2000 codestream
# Only raster formats that Pillow decodes itself: its EPS reader, for one, would start Ghostscript on the file.
_STARTS = {
    Kind.PNG: (PNG_SIGNATURE,),
    Kind.JPEG: (b"\xff\xd8\xff",),
    Kind.BMP: (b"BM",),
    Kind.TIFF: (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+"),
    Kind.GIF: (b"GIF87a", b"GIF89a"),
    Kind.PNM: tuple(b"P%c" % digit for digit in b"123456f"),
    Kind.JPEG_2000: (J2K_START, b"\0\0\0\x0cjP  \r\n\x87\n"),
}
_VP8 = (b"VP8 ", b"VP8X", b"VP8L")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")

_PREAMBLE, _PREFIX = 128, b"DICM"
# the attributes that a DICOM file without a preamble may begin with, and how their VR can be written
_DICOM_FIRST = (b"\x08\x00\x00\x00", b"\x08\x00\x01\x00", b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x16\x00")
_DICOM_META = b"\x02\x00\x00\x00UL\x04\x00"
_DICOM_VRS = (b"UL", b"CS", b"UI")


class TooManyPixels(BadImage):
    """An image that claims more pixels than the limit: the message, then its width and height."""

    def __str__(self) -> str:
        return str(self.args[0])


def kind_of(head: bytes) -> Kind | None:
    """What kind of image a file is that begins with these bytes, of which `HEAD` are enough; None: no image.

    The one answer for every reader: the content decides, the name never does. DICOM goes before all but PNG, as its preamble
    may hold the beginning of a TIFF; files of old systems, which lack the preamble, are known by their first attribute.
    """
    if head.startswith(PNG_SIGNATURE):
        return Kind.PNG
    if dicom_start(head) is not None:
        return Kind.DICOM
    for kind, starts in _STARTS.items():
        if head.startswith(starts):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP" and head[12:16] in _VP8:
        return Kind.WEBP
    return Kind.AVIF if AVIF and head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS else None


def dicom_start(head: bytes) -> int | None:
    """Where the attributes of a DICOM file begin, behind the preamble if it has one; None of any other file."""
    if head.startswith(_PREFIX, _PREAMBLE):
        return _PREAMBLE + len(_PREFIX)
    without = head.startswith(_DICOM_META) or (
        len(head) >= HEAD
        and head.startswith(_DICOM_FIRST)
        and (head[4:6] in _DICOM_VRS or (head[5:8] == b"\0\0\0" and 0 < head[4] <= 64))
    )
    return 0 if without else None


def read_head(file: str | Path) -> bytes:
    """The first `HEAD` bytes of a regular file; none of anything else."""
    try:
        _check_regular(os.stat(file))
        with open_regular(file) as stream:
            return stream.read(HEAD)
    except (OSError, ValueError, DataError, BadImage):
        return b""


@contextlib.contextmanager
def open_image(file: Path) -> Iterator[tuple[BinaryIO, int]]:
    """An image file, open, and its size in bytes.

    Raises:
        BadImage: it is missing, empty, not a regular file, or over the limit `image_bytes`.
    """
    try:
        _check_regular(os.stat(file))  # before it is opened, which a device may take for an order
        opened = open_regular(file)
    except (FileNotFoundError, NotADirectoryError):
        raise BadImage("missing file") from None
    except DataError:
        raise BadImage("not a regular file") from None  # by now
    with opened as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            raise BadImage("zero bytes")
        check("image_bytes", size, "the file")
        yield stream, size


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("a directory, not a file" if stat.S_ISDIR(status.st_mode) else "not a regular file")


def check(limit: str, found: int, what: str) -> None:
    """Refuse what goes beyond one of the limits of `zoo.core.limits`.

    Raises:
        BadImage: `found` is over it; names the limit, and the setting that raises it.
    """
    if found > limits.value(limit):
        each = limits.TABLE[limit]
        most = limits.quantity(limits.value(limit), each.unit)
        raise BadImage(f"{what}: over the limit of {most}, which {each.variable} raises")


class Parts:
    """Counts the parts of an image file, and refuses more than the limit `image_parts`."""

    def __init__(self, what: str) -> None:
        self._what, self._found, self._most = what, 0, limits.value("image_parts")

    def add(self, count: int = 1) -> None:
        """Count some more; raises BadImage beyond the limit."""
        self._found += count
        if self._found > self._most:
            check("image_parts", self._found, f"{self._found:,} {self._what}")


def check_size(width: int, height: int, each: int = 1) -> None:
    """Refuse an image over the limits `pixels`, `image_side` or `image_memory`.

    Args:
        width: in pixels.
        height: in pixels.
        each: bytes of memory that decoding takes for a pixel, as measured, where it is more than `pixels` allow for.

    Raises:
        TooManyPixels: it has more pixels.
        BadImage: a side is longer, or it takes more memory.
    """
    most = limits.value("pixels")
    if width * height > most:
        over = f"over {most / 1e6:g} megapixels, which {limits.TABLE['pixels'].variable} raises"
        raise TooManyPixels(f"decompression bomb: {width}×{height} pixels, {over}", width, height)
    check_sides(width, height)
    memory = width * height * each
    check("image_memory", memory, f"{width}×{height} pixels take {limits.quantity(memory, 'bytes')} to decode")


def check_sides(width: int, height: int) -> None:
    """Refuse an image with a side over the limit `image_side`; raises BadImage."""
    longest = limits.value("image_side")
    if max(width, height) > longest:
        raise BadImage(f"{width}×{height} pixels: a side is longer than {longest:,}")


def reason_of(error: Exception) -> str:
    """Why an image cannot be read, from the exception that its decoder raised."""
    text = str(error)
    if isinstance(error, MemoryError):
        return "not enough memory to read it"
    if "truncated" in text.lower():
        return "truncated"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be decoded ({type(error).__name__}: {text[:80]})" if text else "cannot be decoded"
