"""Images of more than 8 bits: shown by percentiles in every format, and 16-bit colour, of which Pillow keeps 8 bits."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from zoo.core.records import BadImage
from zoo.data import jpeg2000
from zoo.data.formats import check_size

PERCENTILES = (0.5, 99.5)  # shown in full where no window is given: see `scaled`
SHARE = "{:g}th to {:g}th percentile".format(*PERCENTILES)
BURNT_IN = 2.0  # percent of the pixels that markers and text may take
_DISTINCT = 16
_BAND = 1 << 22  # pixels counted at a time, as counting takes 8 bytes for each
_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as everywhere here
# how the layouts of 16-bit colour are read a byte at a time: high bytes, then low ones
_BYTES = {
    f"{named};16{order}": (f"{read};16{order}", f"{read};16{'L' if order == 'B' else 'B'}")
    for named, read in (("RGB", "RGB"), ("RGBX", "RGBX"), ("RGBA", "RGBA"), ("RGBa", "RGBA"))
    for order in "LBN"
}
_GRAY_ALPHA = "LA;16B"  # of a PNG
_MEMORY = 18  # bytes for a pixel of 16-bit colour
_BITS, _PLANES = 258, 284  # tags of a TIFF


def counts(codes: np.ndarray, bits: int) -> np.ndarray:
    """How often each value of so many bits occurs."""
    flat, found = codes.reshape(-1), np.zeros(1 << bits, np.int64)
    for start in range(0, flat.size, _BAND):
        found += np.bincount(flat[start : start + _BAND], minlength=1 << bits)
    return found


def percentiles(values: np.ndarray, occurring: np.ndarray) -> tuple[float, float]:
    """The values below which the two shares of the pixels lie; the whole range where they coincide.

    Burnt-in values do not count: those of at most `BURNT_IN` % of the pixels, farther from all others than these span.

    Args:
        values: what each code stands for.
        occurring: how often it occurs, as `counts` gives it.
    """
    values, occurring = values[occurring > 0], occurring[occurring > 0]
    order = np.argsort(values, kind="stable")
    values, occurring = values[order], occurring[order]
    end = _before_gap(values, occurring)
    start = len(values) - _before_gap(-values[::-1], occurring[::-1])
    values, occurring = values[start:end], occurring[start:end]
    shares = np.cumsum(occurring) * (100 / occurring.sum())
    low, high = (float(values[min(int(np.searchsorted(shares, p)), len(values) - 1)]) for p in PERCENTILES)
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def _before_gap(values: np.ndarray, occurring: np.ndarray) -> int:
    """How many of the sorted values come before those burnt in."""
    shares = np.cumsum(occurring) * (100 / occurring.sum())
    gap = (np.diff(values) > values[:-1] - values[0]) & (shares[:-1] >= 100 - BURNT_IN)
    gap[: _DISTINCT - 1] = False  # a drawing of few values has nothing burnt in
    return int(np.argmax(gap)) + 1 if gap.any() else len(values)


def between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values as gray levels in [0, 255], `low` becoming 0 and `high` 255."""
    if high <= low:
        return np.zeros(values.shape)
    levels: np.ndarray = values - low
    levels *= 255 / (high - low)
    return np.clip(levels, 0, 255, out=levels)


def scaled(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Show gray values of more than 8 bits from the 0.5th to the 99.5th percentile, as DICOM without a window is shown.

    Files do not say how many of their bits they use, and a few pixels, such as a marker's, must not set the contrast.

    Returns:
        uint8 of the same shape, and a note.

    Raises:
        BadImage: there are no pixels, or some are not finite.
    """
    if not values.size:
        raise BadImage("has no pixels")
    if not np.isfinite(values).all():
        raise BadImage("has pixels that are not finite")
    bottom, top = float(values.min()), float(values.max())
    floating = values.dtype.kind == "f"
    depth = "floating-point" if floating else "16-bit" if bottom >= -(2**15) and top < 2**16 else "32-bit"
    if bottom == top:
        return np.zeros(values.shape, np.uint8), f"{depth}, all pixels equal: black"
    if not floating and bottom >= 0 and top < 2**16:
        codes, table = values.astype(np.uint16, copy=False), np.arange(1 << 16)
        limits = percentiles(table, counts(codes, 16))
        shown = np.rint(between(table, *limits)).astype(np.uint8)[codes]
    else:
        limits = percentiles(*np.unique(values, return_counts=True))
        shown = np.rint(between(values, *limits)).astype(np.uint8)
    return shown, f"{depth}, scaled from its {SHARE}"


def colour(image: ImageFile, stream: BinaryIO) -> np.ndarray | None:
    """The gray values, uint16, of an image whose colours, or gray with alpha, have 16 bits; None for any other.

    Args:
        image: as opened, not loaded.
        stream: what it was opened from.

    Raises:
        BadImage: they are laid out in a way that is not read.
    """
    if image.format == "JPEG2000":
        _check_jpeg_2000(image, stream)
        return None
    tags = getattr(image, "tag_v2", {})  # of a TIFF
    layouts = {_layout(tile[3]) for tile in image.tile}
    deep = max(tags.get(_BITS, (8,))) > 8 or any(";16" in each for each in layouts)
    if not deep or image.mode.startswith(("I", "F")):
        return None
    check_size(*image.size, _MEMORY)
    layout = layouts.pop() if len(layouts) == 1 else ""
    if layout == _GRAY_ALPHA:
        whole = _load(image, stream, "RGBA")  # the four bytes of a pixel as four channels
        return _joined(whole.getchannel(0), whole.getchannel(1))
    if layout not in _BYTES or tags.get(_PLANES, 1) != 1:
        raise BadImage(f"16-bit {image.mode} in a layout that is not read")
    high, low = (_load(image, stream, each) for each in _BYTES[layout])
    gray = np.zeros((high.height, high.width), np.float32)
    for channel, weight in enumerate(_LUMA):
        gray += np.float32(weight) * _joined(high.getchannel(channel), low.getchannel(channel))
    return np.rint(gray).astype(np.uint16)


def _check_jpeg_2000(image: ImageFile, stream: BinaryIO) -> None:
    """Refuse colours of more than 8 bits, of which Pillow gives the upper 8 alone."""
    stream.seek(0)
    if jpeg2000.read(stream.read()).bits > 8:
        raise BadImage(f"{image.mode} of more than 8 bits in JPEG 2000 is not read")


def _layout(arguments: Any) -> str:
    return str(arguments if isinstance(arguments, str) else arguments[0] if arguments else "")


def _load(image: ImageFile, stream: BinaryIO, layout: str) -> Image.Image:
    """The image, loaded as if its bytes were laid out in another way."""
    stream.seek(0)
    again = Image.open(stream, formats=(str(image.format),))
    again.tile = [_relabelled(tile, layout) for tile in again.tile]
    again.load()
    return again


def _relabelled(tile: Any, layout: str) -> Any:
    arguments = layout if isinstance(tile[3], str) else (layout, *tile[3][1:])
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)  # before Pillow 11


def _joined(high: Image.Image, low: Image.Image) -> np.ndarray:
    values: np.ndarray = np.asarray(high).astype(np.uint16) << 8 | np.asarray(low)
    return values
