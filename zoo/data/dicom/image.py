"""From an open DICOM file to an image: header, checks, pixel data, and what a viewer shows of them."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from zoo.core.records import BadImage
from zoo.data.dicom import checks, frames, shades
from zoo.data.dicom.frames import Layout
from zoo.data.dicom.header import (
    ALLOCATED,
    COLUMNS,
    FRAMES,
    HIGH_BIT,
    PHOTOMETRIC,
    PLANAR,
    REPRESENTATION,
    ROWS,
    SAMPLES,
    STORED,
    Attributes,
    read_header,
)
from zoo.data.formats import MAX_PIXELS

GRAYS = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")
OTHERS = ("PALETTE COLOR", "XYB", "HSV", "ARGB", "CMYK", "YBR_PARTIAL_422")
_TINT = 8  # gray levels between the channels of a gray image after lossy compression


def read(stream: BinaryIO, size: int, views: frozenset[str] | None, force: bool) -> tuple[np.ndarray, str]:
    """Read the image of an open file of `size` bytes; as `decode_dicom`, but raises whatever its readers raise."""
    header, element = read_header(stream)
    notes = checks.check(header, views, force)
    if element is None:
        raise BadImage("truncated" if stream.tell() > size else "has no pixel data (7FE0,0010)")
    layout = _layout(header)
    codes = frames.read(element, layout)
    if layout.samples == 1:
        pixels, more = shades.shades(codes, layout, header)
    else:
        pixels, more = _gray(codes, layout, frames.is_ybr(element, layout), force)
    return pixels, ", ".join([*more, *notes])


def _layout(header: Attributes) -> Layout:
    """How the pixel data lie, after every limit was checked.

    Raises:
        BadImage: an attribute is missing, does not fit the others, or asks for more than an image may have.
    """
    frames_count = header.count(FRAMES)
    if frames_count is not None and frames_count > 1:
        many = frames_count if frames_count < 10_000 else "very many"
        raise BadImage(f"has {many} frames: a single image is needed (0028,0008)")
    rows, columns = header.integer(ROWS), header.integer(COLUMNS)
    if not rows or not columns:
        raise BadImage("has no rows or no columns (0028,0010), (0028,0011)")
    if rows * columns > MAX_PIXELS:
        raise BadImage(f"decompression bomb: {columns}×{rows} pixels, over {MAX_PIXELS // 10**6} megapixels")
    photometric = header.text(PHOTOMETRIC).upper()
    samples = header.integer(SAMPLES) or (3 if photometric in COLOURS else 1)
    if photometric not in (*GRAYS, *COLOURS) or samples != (1 if photometric in GRAYS else 3):
        named = photometric if photometric in (*GRAYS, *COLOURS, *OTHERS) else "none that is known"
        raise BadImage(f"(0028,0004) PhotometricInterpretation is {named}, with {samples} value(s) per pixel: no image")
    allocated = header.integer(ALLOCATED) or 0
    stored = header.integer(STORED) or allocated
    high = header.integer(HIGH_BIT)
    high = stored - 1 if high is None else high
    if allocated not in (8, 16, 32) or not 1 < stored <= min(16, allocated) or not stored - 1 <= high < allocated:
        raise BadImage(f"stores {stored} of {allocated} bits, the highest {high} (0028,0100): 2 to 16 bits can be read")
    if samples == 3 and (allocated, stored) != (8, 8):
        raise BadImage(f"stores {stored} bits of each colour (0028,0101): 8 can be read")
    signed, planar = header.integer(REPRESENTATION) == 1, header.integer(PLANAR) == 1
    return Layout(rows, columns, samples, allocated, stored, high, signed, planar, photometric)


def _gray(colours: np.ndarray, layout: Layout, ybr: bool, force: bool) -> tuple[np.ndarray, list[str]]:
    """An image that was stored in colour; real colour means a picture of another kind, such as a screenshot."""
    if ybr:
        gray, tint = colours[..., 0], np.abs(colours[..., 1:].astype(np.int16) - 128).max()
    else:
        gray = np.rint(colours @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)  # ITU-R 601, as everywhere here
        tint = (colours.max(axis=2) - colours.min(axis=2)).max()
    if tint > _TINT and not force:
        raise BadImage(
            f"a picture in colour, not an image: (0028,0004) PhotometricInterpretation is {layout.photometric}"
        )
    return np.ascontiguousarray(gray), [f"{layout.photometric}, converted to gray"]
