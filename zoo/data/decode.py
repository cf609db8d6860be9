"""Decode one image file to grayscale uint8."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from zoo.core.errors import ZooError
from zoo.core.records import BadImage
from zoo.data import dicom, png
from zoo.data.formats import HEAD, MAX_PIXELS, PNG_SIGNATURE, check_file, check_size, is_dicom, reason_of
from zoo.data.silence import without_warnings

# Only raster formats that Pillow decodes itself: its EPS reader, for one, would start Ghostscript on the file.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")

_NOTES = {
    "1": "1-bit, converted to gray",
    "P": "palette, converted to gray",
    "LA": "gray with alpha, alpha dropped",
}


def decode(file: Path, *, views: frozenset[str] | None = None, force: bool = False) -> tuple[np.ndarray, str]:
    """Decode one image file.

    The format is recognised by the content. DICOM is read by `zoo.data.dicom.decode_dicom`, 8-bit PNG by a fast decoder,
    everything else by Pillow.

    Colour becomes gray by the ITU-R 601 luma weights (.299, .587, .114), alpha is dropped, 1 bit becomes 0 and 255.
    Images of more than 8 bits are scaled linearly so that their maximum becomes 255 (zero stays zero): files do not say how
    many of their bits they use. Of several frames the first is taken. A PNG whose pixel data do not match their CRC is
    refused, although some readers would show it.

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
    with without_warnings(), Image.open(stream, formats=FORMATS) as image:
        return _pixels(image)


def _pixels(image: Image.Image) -> tuple[np.ndarray, str]:
    width, height = image.size
    check_size(width, height)
    mode = image.mode
    frames = int(getattr(image, "n_frames", 1))
    notes = [f"first of {frames} frames"] if frames > 1 else []
    if mode == "L":
        pixels = np.array(image, dtype=np.uint8)
    elif mode.startswith(("I", "F")):
        pixels, note = scaled(np.asarray(image))
        notes.insert(0, note)
    else:
        # CMYK, YCbCr and the like reach gray only through RGB
        rgb = image if mode in ("1", "LA", "P", "RGB", "RGBA") else image.convert("RGB")
        pixels = np.array(rgb.convert("L"), dtype=np.uint8)
        notes.insert(0, _NOTES.get(mode, f"{mode}, converted to gray"))
    if pixels.ndim != 2 or not pixels.size:
        raise BadImage("has no pixels")
    return pixels, ", ".join(notes)


def scaled(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Scale gray values of more than 8 bits so that their maximum becomes 255; negative values become 0.

    Returns:
        uint8 of the same shape, and a note.

    Raises:
        BadImage: there are no pixels, or some are not finite.
    """
    if not values.size:
        raise BadImage("has no pixels")
    if not np.isfinite(values).all():
        raise BadImage("has pixels that are not finite")
    top = float(values.max())
    depth = "floating-point" if values.dtype.kind == "f" else "16-bit" if top < 2**16 else "32-bit"
    if top <= 0:
        return np.zeros(values.shape, np.uint8), f"{depth}, no pixel above zero"
    gray = np.clip(np.rint(values.astype(np.float64) * (255.0 / top)), 0, 255).astype(np.uint8)
    return gray, f"{depth}, scaled by its maximum"
