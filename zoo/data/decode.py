"""Decode one image file to grayscale uint8."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from zoo.core import limits
from zoo.core.errors import ZooError
from zoo.core.records import BadImage
from zoo.data import deep, dicom, png, tiff
from zoo.data.claims import check_claims
from zoo.data.formats import HEAD, Kind, check_size, kind_of, open_image, reason_of
from zoo.data.orientation import TAG, UNKNOWN, UPRIGHT, orientation, upright
from zoo.data.silence import without_warnings

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_MEMORY = {
    (None, "I"): 38,
    (None, "F"): 38,
    (Kind.PNM.value, "I"): 13,
}  # bytes for a pixel, by Pillow's format and mode
_NOTES = {
    "1": "1-bit, converted to gray",
    "P": "palette, converted to gray",
    "LA": "gray with alpha, alpha dropped",
}


def decode(file: Path, *, views: frozenset[str] | None = None, force: bool = False) -> tuple[np.ndarray, str]:
    """Decode one image file.

    The format is recognised by the content (`zoo.data.formats.kind_of`). DICOM is read by `zoo.data.dicom.decode_dicom`, 8-bit
    PNG by a fast decoder, everything else by Pillow. What the file claims is checked before memory is taken for it.

    Pixels are those that a viewer shows: turned as EXIF says, white-is-zero TIFF inverted as MONOCHROME1 is. Colour becomes
    gray by the ITU-R 601 luma weights (.299, .587, .114), alpha is dropped, 1 bit becomes 0 and 255. Images of more than 8
    bits, in gray or in colour, are shown from their 0.5th to their 99.5th percentile (`zoo.data.deep.scaled`). Of several
    frames the first is taken. A PNG whose pixel data do not match their CRC is refused, although some readers would show it.
    Where an EXIF orientation cannot be read, the image is shown as it is stored, as viewers do, and the note says so.

    Args:
        file: the image.
        views: for DICOM, the views to accept ("PA", "AP", "LATERAL"); None accepts any.
        force: accept DICOM images that are not chest X-rays, or of another view, according to their header.

    Returns:
        uint8 pixels `(H, W)`, and a note that says what had to be converted, "" if nothing.

    Raises:
        BadImage: the file is missing, empty, not a regular file, not an image, truncated, damaged, takes more memory than
            there is, or is over a limit of `zoo.core.limits`; `TooManyPixels` for its pixels.
        ZooError: it is DICOM, and a library that reads it is not installed.
    """
    with _bad_images(), open_image(file) as (stream, size):
        if kind_of(_head(stream)) is Kind.DICOM:
            return dicom.decode_open(stream, size, views, force)
        return _decode(stream, size)


def decode_bytes(data: bytes) -> tuple[np.ndarray, str]:
    """Decode one image held in memory, as `decode` does; DICOM excepted."""
    with _bad_images():
        if not data:
            raise BadImage("zero bytes")
        return _decode(io.BytesIO(data), len(data))


def check_views(file: Path, views: frozenset[str] | None, force: bool = False) -> str:
    """Whether a run that saw these views can take an image, by its header alone; only DICOM says what it shows.

    Returns:
        A note of what the run has not seen, or the header does not say; "" for nothing, and for any other kind of file.

    Raises:
        BadImage: it cannot, or the header cannot be read.
        ZooError: it is DICOM, and pydicom is not installed.
    """
    with _bad_images(), open_image(file) as (stream, size):
        return dicom.check_views(stream, size, views, force) if kind_of(_head(stream)) is Kind.DICOM else ""


def displayed_size(stream: BinaryIO) -> tuple[int, int] | None:
    """Width and height of an open image file as it is shown, no pixel decoded.

    None where the header alone does not say, as for one to be turned, or cannot be read: decoding it gives the reason.
    """
    try:
        head = _head(stream)
        kind = kind_of(head)
        if kind is Kind.DICOM:
            return dicom.claimed_size(stream)
        if kind is Kind.PNG:
            return png.size_of(head) if png.is_plain(stream.read()) else None
        size = stream.seek(0, io.SEEK_END)
        with _opened(kind, stream, size) as image:
            return (image.width, image.height) if orientation(image) == UPRIGHT else None
    except Exception:
        return None


@contextlib.contextmanager
def _bad_images() -> Iterator[None]:
    """Turn whatever a decoder raises into a BadImage with the reason."""
    try:
        yield
    except (BadImage, ZooError):
        raise
    except UnidentifiedImageError:
        raise BadImage("damaged, or of a layout that is not read") from None
    except Image.DecompressionBombError:
        raise BadImage(f"decompression bomb: over {limits.value('pixels') / 1e6:g} megapixels") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise BadImage(reason_of(error)) from None


def _head(stream: BinaryIO) -> bytes:
    """The first bytes of a stream, which is left at its start."""
    head = stream.read(HEAD)
    stream.seek(0)
    return head


def _decode(stream: BinaryIO, size: int) -> tuple[np.ndarray, str]:
    head = _head(stream)
    kind = kind_of(head)
    if kind is Kind.PNG:
        check_size(*png.size_of(head))
        found = png.decode_fast(head, stream, size)
        if found is not None:
            return found
        stream.seek(0)
        png.check_png(stream)
    with without_warnings():
        try:
            with _opened(kind, stream, size) as image:
                return _pixels(image, stream, False)
        except UnidentifiedImageError:
            again = tiff.black_is_zero(stream) if kind is Kind.TIFF else None
            if again is None:
                raise
        with Image.open(again, formats=(Kind.TIFF.value,)) as image:
            return _pixels(image, again, True)


@contextlib.contextmanager
def _opened(kind: Kind | None, stream: BinaryIO, size: int) -> Iterator[ImageFile]:
    """An image as Pillow opens it, its claims checked; raises BadImage."""
    if kind is None or kind is Kind.DICOM:
        raise BadImage("not an image")
    stream.seek(0)
    check_claims(kind, stream, size)
    stream.seek(0)
    with without_warnings(), Image.open(stream, formats=(kind.value,)) as image:
        check_size(*image.size)
        yield image


def _pixels(image: ImageFile, stream: BinaryIO, inverted: bool) -> tuple[np.ndarray, str]:
    mode, tags = image.mode, getattr(image, "tag_v2", {})  # the latter of a TIFF, which Pillow turns itself
    frames, turned = int(getattr(image, "n_frames", 1)), tags.get(TAG) or UPRIGHT
    notes = [f"first of {frames} frames"] if frames > 1 else []
    if mode == "L":
        pixels = np.array(image, dtype=np.uint8)
    elif mode.startswith(("I", "F")):
        check_size(*image.size, _MEMORY.get((image.format, mode), _MEMORY.get((None, mode), 1)))
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
    if turned == UNKNOWN or not isinstance(turned, int):
        notes.append("its EXIF orientation cannot be read, shown as stored")
    elif turned in range(UPRIGHT + 1, 9):
        notes.append("turned as its EXIF orientation says")
    return pixels, ", ".join(notes)
