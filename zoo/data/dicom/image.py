"""From an open DICOM file to an image: header, checks, pixel data, gray levels."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from zoo.core.records import BadImage
from zoo.data.dicom.checks import check
from zoo.data.dicom.display import display
from zoo.data.dicom.header import Header, read_header
from zoo.data.dicom.pixels import JPEG, Layout
from zoo.data.dicom.pixels import read as read_pixels
from zoo.data.formats import check_size

GRAYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
OTHERS = ("PALETTE COLOR", "XYB", "HSV", "ARGB", "CMYK", "YBR_PARTIAL_422")
_MEMORY = 13  # bytes for a pixel of 32 bits
_TINT = 8  # gray levels between the channels of a gray image after lossy compression


def read(stream: BinaryIO, size: int, views: frozenset[str] | None, force: bool) -> tuple[np.ndarray, str]:
    """Read the image of an open file of `size` bytes, as `decode_dicom`; raises whatever its readers raise."""
    header = read_header(stream)
    notes = check(header, views, force)
    if header.pixels is None:
        raise BadImage("truncated" if stream.tell() > size else "has no pixel data (7FE0,0010)")
    layout = _layout(header)
    codes = read_pixels(header, header.pixels, layout)
    if layout.samples == 1:
        pixels, more = display(codes, layout, header)
    else:
        pixels, more = _gray(codes, layout, header.syntax, force)
    return pixels, ", ".join([*more, *notes])


def _layout(header: Header) -> Layout:
    """How the pixel data lie, all limits checked.

    Raises:
        BadImage: an attribute is missing, contradicts another, or asks for more than an image may have.
    """
    frames_count = header.integer("NumberOfFrames")
    if frames_count is not None and frames_count > 1:
        many = frames_count if frames_count < 10_000 else "very many"
        raise BadImage(f"has {many} frames: a single image is needed (0028,0008)")
    rows, columns = header.integer("Rows"), header.integer("Columns")
    if not rows or not columns:
        raise BadImage("has no rows or no columns (0028,0010), (0028,0011)")
    allocated = header.integer("BitsAllocated") or 0
    check_size(columns, rows, _MEMORY if allocated == 32 else 1)
    photometric = header.text("PhotometricInterpretation")
    samples = header.integer("SamplesPerPixel") or (3 if photometric in COLOURS else 1)
    if photometric not in (*GRAYS, *COLOURS) or samples != (1 if photometric in GRAYS else 3):
        named = photometric if photometric in (*GRAYS, *COLOURS, *OTHERS) else "none that is known"
        raise BadImage(f"(0028,0004) PhotometricInterpretation is {named}, with {samples} value(s) per pixel: no image")
    stored = header.integer("BitsStored") or allocated
    high = header.integer("HighBit")
    high = stored - 1 if high is None else high
    if allocated not in (8, 16, 32) or not 1 < stored <= min(16, allocated) or not stored - 1 <= high < allocated:
        raise BadImage(f"stores {stored} of {allocated} bits, the highest {high} (0028,0100): 2 to 16 bits can be read")
    if samples == 3 and (allocated, stored) != (8, 8):
        raise BadImage(f"stores {stored} bits of each colour (0028,0101): 8 can be read")
    signed, planar = header.integer("PixelRepresentation") == 1, header.integer("PlanarConfiguration") == 1
    return Layout(rows, columns, samples, allocated, stored, high, signed, planar, photometric)


def _gray(colours: np.ndarray, layout: Layout, syntax: str, force: bool) -> tuple[np.ndarray, list[str]]:
    """An image stored in colour as gray; real colour means another kind of picture, such as a screenshot."""
    if layout.photometric.startswith("YBR_FULL") and syntax not in JPEG:  # luma and chroma: JPEG comes out as RGB
        gray, tint = colours[..., 0], np.abs(colours[..., 1:].astype(np.int16) - 128).max()
    else:
        gray = np.rint(colours @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # ITU-R 601, as everywhere here
        tint = (colours.max(axis=2) - colours.min(axis=2)).max()
    if tint > _TINT and not force:
        raise BadImage(
            f"a picture in colour, not an image: (0028,0004) PhotometricInterpretation is {layout.photometric}"
        )
    return np.ascontiguousarray(gray), [f"{layout.photometric}, converted to gray"]
