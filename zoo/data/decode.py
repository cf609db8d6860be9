"""Decode one image file to grayscale uint8."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from zoo.core.errors import ZooError
from zoo.core.records import BadImage
from zoo.data import deep, dicom, png
from zoo.data.formats import AVIF, HEAD, MAX_PIXELS, PNG_SIGNATURE, check_file, check_size, is_dicom, reason_of
from zoo.data.orientation import TAG, UPRIGHT, orientation, upright
from zoo.data.silence import without_warnings

# Only raster formats that Pillow decodes itself: its EPS reader, for one, would start Ghostscript on the file.
_AVIF = ("AVIF",) if AVIF else ()
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000", *_AVIF)
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}  # how a file begins, and its byte order
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_LARGEST_TIFF = 5 * MAX_PIXELS  # bytes of one that is read into memory: 32 bits of each pixel, and some

_NOTES = {
    "1": "1-bit, converted to gray",
    "P": "palette, converted to gray",
    "LA": "gray with alpha, alpha dropped",
}


def decode(file: Path, *, views: frozenset[str] | None = None, force: bool = False) -> tuple[np.ndarray, str]:
    """Decode one image file.

    The format is recognised by the content. DICOM is read by `zoo.data.dicom.decode_dicom`, 8-bit PNG by a fast decoder,
    everything else by Pillow.

    Pixels are those that a viewer shows: turned as EXIF says, white-is-zero TIFF inverted as MONOCHROME1 is. Colour becomes
    gray by the ITU-R 601 luma weights (.299, .587, .114), alpha is dropped, 1 bit becomes 0 and 255. Images of more than 8
    bits, in gray or in colour, are shown from their 0.5th to their 99.5th percentile (`zoo.data.deep.scaled`). Of several
    frames the first is taken. A PNG whose pixel data do not match their CRC is refused, although some readers would show it.

    Args:
        file: the image.
        views: for DICOM, the views to accept ("PA", "AP", "LATERAL"); None accepts any.
        force: accept DICOM images that are not chest X-rays, or of another view, according to their header.

    Returns:
        uint8 pixels `(H, W)`, and a note that says what had to be converted, "" if nothing.

    Raises:
        BadImage: the file is missing, empty, not a regular file, not an image, truncated, damaged or over `MAX_PIXELS`.
        ZooError: it is DICOM, and a library that reads it is not installed.
    """
    with _bad_images():
        size = check_file(file)
        with open(file, "rb") as stream:
            if is_dicom(stream.read(HEAD)):
                return dicom.decode_dicom(file, views=views, force=force)
            stream.seek(0)
            return _decode(stream, size)


def decode_bytes(data: bytes) -> tuple[np.ndarray, str]:
    """Decode one image held in memory, as `decode` does; DICOM excepted."""
    with _bad_images():
        if not data:
            raise BadImage("zero bytes")
        return _decode(io.BytesIO(data), len(data))


def claimed_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Width and height by the header of an open image file, no pixel decoded; None if the header cannot be read."""
    try:
        head = stream.read(HEAD)
        stream.seek(0)
        if is_dicom(head):
            return dicom.claimed_size(stream)
        with without_warnings(), Image.open(stream, formats=FORMATS) as image:
            return image.width, image.height
    except Exception:  # decoding it gives the reason
        return None


def displayed_size(stream: BinaryIO) -> tuple[int, int] | None:
    """As `claimed_size`, of the image as it is shown; None where the header alone does not say, as for one to be turned."""
    size = claimed_size(stream)
    stream.seek(0)
    try:
        head = stream.read(HEAD)
        if size is None or is_dicom(head):
            return size
        if head.startswith(PNG_SIGNATURE):
            return size if png.is_plain(head + stream.read()) else None
        stream.seek(0)
        with without_warnings(), Image.open(stream, formats=FORMATS) as image:
            return size if orientation(image) == UPRIGHT else None
    except Exception:  # decoding it gives the reason
        return None


@contextlib.contextmanager
def _bad_images() -> Iterator[None]:
    """Turn whatever a decoder raises into a BadImage with the reason."""
    try:
        yield
    except (BadImage, ZooError):
        raise
    except UnidentifiedImageError:
        raise BadImage("not an image") from None
    except Image.DecompressionBombError:
        raise BadImage(f"decompression bomb: over {MAX_PIXELS // 10**6} megapixels") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise BadImage(reason_of(error)) from None


def _decode(stream: BinaryIO, size: int) -> tuple[np.ndarray, str]:
    head = stream.read(HEAD)
    if head.startswith(PNG_SIGNATURE):
        found = png.decode_fast(head, stream, size)
        if found is not None:
            return found
        png.check_png(stream)
    stream.seek(0)
    with without_warnings():
        try:
            opened, inverted = Image.open(stream, formats=FORMATS), False
        except UnidentifiedImageError:
            again = _black_is_zero(head, stream) if size <= _LARGEST_TIFF else None
            if again is None:
                raise
            stream = again
            opened, inverted = Image.open(stream, formats=("TIFF",)), True
        with opened as image:
            return _pixels(image, stream, inverted)


def _black_is_zero(head: bytes, stream: BinaryIO) -> BinaryIO | None:
    """A copy of a white-is-zero TIFF that says the opposite, as Pillow reads not all of them; None of any other file.

    Raises:
        BadImage: it is another TIFF that Pillow does not read.
    """
    order = _TIFF.get(head[:4])
    if order is None:
        return None
    stream.seek(0)
    data = bytearray(stream.read())
    start = struct.unpack_from(f"{order}I", data, 4)[0]
    (count,) = struct.unpack_from(f"{order}H", data, start) if start + 2 <= len(data) else (0,)
    for at in range(start + 2, min(start + 2 + 12 * count, len(data) - 11), 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", data, at)
        if tag == _PHOTOMETRIC and value == _WHITE_IS_ZERO:
            struct.pack_into(f"{order}H", data, at + 8, 1)
            return io.BytesIO(data)
    raise BadImage("a TIFF that is damaged or of a layout that is not read")


def _pixels(image: ImageFile, stream: BinaryIO, inverted: bool) -> tuple[np.ndarray, str]:
    check_size(*image.size)
    mode, tags = image.mode, getattr(image, "tag_v2", {})  # the latter of a TIFF, which Pillow turns itself
    frames, turned = int(getattr(image, "n_frames", 1)), tags.get(TAG, UPRIGHT)
    notes = [f"first of {frames} frames"] if frames > 1 else []
    if mode == "L":
        pixels = np.array(image, dtype=np.uint8)
    elif mode.startswith(("I", "F")):
        pixels, note = deep.scaled(np.asarray(image))
        notes.insert(0, note)
        inverted = inverted or tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    elif (values := deep.colour(image, stream)) is not None:
        pixels, note = deep.scaled(values)
        notes.insert(0, f"{mode}, converted to gray, {note}")
    else:
        # CMYK, YCbCr and the like reach gray only through RGB
        rgb = image if mode in ("1", "LA", "P", "RGB", "RGBA") else image.convert("RGB")
        pixels = np.array(rgb.convert("L"), dtype=np.uint8)
        notes.insert(0, _NOTES.get(mode, f"{mode}, converted to gray"))
    if pixels.ndim != 2 or not pixels.size:
        raise BadImage("has no pixels")
    if inverted:
        pixels = 255 - pixels
        notes.append("white is zero, inverted")
    if not tags and (turned := orientation(image)) != UPRIGHT:
        pixels = upright(pixels, turned)
    if turned in range(UPRIGHT + 1, 9):
        notes.append("turned as its EXIF orientation says")
    return pixels, ", ".join(notes)
