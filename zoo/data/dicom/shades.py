"""From stored values to the gray levels a viewer shows (PS3.3 C.11): one table for all 2^bits values, then one look-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zoo.data.dicom.frames import Layout
from zoo.data.dicom.header import (
    CENTRE,
    DESCRIPTOR,
    FUNCTION,
    INTERCEPT,
    LUT_DATA,
    MODALITY_LUT,
    PADDING,
    PADDING_LIMIT,
    SHAPE,
    SLOPE,
    VOI_LUT,
    WIDTH,
    Attributes,
)

PERCENTILES = (0.5, 99.5)  # shown in full where a deep image says nothing: see `decode_dicom`
_BAND = 1 << 22  # pixels counted at a time, as counting takes 8 bytes for each


@dataclass(frozen=True)
class Lut:
    """A look-up table: `data[0]` stands for the value `first` and all below, the last for all above; `top` is its range."""

    first: int
    data: np.ndarray
    top: int

    def __call__(self, values: np.ndarray) -> np.ndarray:
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.data) - 1)
        return self.data[index].astype(np.float64)


def shades(codes: np.ndarray, layout: Layout, header: Attributes) -> tuple[np.ndarray, list[str]]:
    """Show stored values `(H, W)` in gray levels, uint8, the bones white.

    Modality LUT or rescale; then the first VOI LUT, the first window, or the default; then inversion of MONOCHROME1. Pixels of the
    padding value become black and do not count for the default.
    """
    counts = _counts(codes, layout.stored)
    stored = _stored_values(layout)
    padding = _padding(header, layout, stored)
    present = (counts > 0) & ~padding
    values, bounds, notes = _modality(stored, header, layout)
    shown, more = _shown(values, bounds, counts, present, header, layout)
    table = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    notes += more
    inverted = layout.photometric == "MONOCHROME1"
    if inverted:
        table = 255 - table
        notes.append("MONOCHROME1, inverted")
    shape = header.text(SHAPE).upper()
    if shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != inverted:
        notes.append(f"(2050,0020) PresentationLUTShape is {shape}, not followed")
    if (counts[padding] > 0).any():
        table[padding] = 0
        notes.append("padding black")
    return table[codes], notes


def _counts(codes: np.ndarray, bits: int) -> np.ndarray:
    """How often each stored value occurs."""
    flat, counts = codes.reshape(-1), np.zeros(1 << bits, np.int64)
    for start in range(0, flat.size, _BAND):
        counts += np.bincount(flat[start : start + _BAND], minlength=1 << bits)
    return counts


def _stored_values(layout: Layout) -> np.ndarray:
    """What each code stands for: itself, or a number in two's complement."""
    values = np.arange(1 << layout.stored)
    return np.where(values >> (layout.stored - 1), values - (1 << layout.stored), values) if layout.signed else values


def _padding(header: Attributes, layout: Layout, stored: np.ndarray) -> np.ndarray:
    """Which stored values are no part of the image: Pixel Padding Value, to Pixel Padding Range Limit where there is one."""
    value = header.integer(PADDING, layout.signed)
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = header.integer(PADDING_LIMIT, layout.signed)
    low, high = sorted((value, value if limit is None else limit))
    found: np.ndarray = (stored >= low) & (stored <= high)
    return found


def _modality(
    stored: np.ndarray, header: Attributes, layout: Layout
) -> tuple[np.ndarray, tuple[float, float], list[str]]:
    """Values after the Modality LUT or rescale, and the lowest and highest that it can give."""
    lut = _lut(header.items(MODALITY_LUT), negative=layout.signed)
    if lut is not None:
        return lut(stored), (0.0, float(lut.top)), ["Modality LUT"]
    slope = next(iter(header.numbers(SLOPE)), 1.0)
    intercept = next(iter(header.numbers(INTERCEPT)), 0.0)
    notes = []
    if not 1e-12 < abs(slope) < 1e12 or abs(intercept) > 1e12:
        slope, intercept = 1.0, 0.0
        notes.append("RescaleSlope or RescaleIntercept not valid, left out")
    values = stored * slope + intercept
    return values, (float(values.min()), float(values.max())), notes


def _shown(
    values: np.ndarray,
    bounds: tuple[float, float],
    counts: np.ndarray,
    present: np.ndarray,
    header: Attributes,
    layout: Layout,
) -> tuple[np.ndarray, list[str]]:
    """Gray levels in [0, 255] of all values, by what the file says or, where that would show nothing, by default."""
    distinct = len(np.unique(values[present])) > 1
    wrong = []
    for name, show in (("VOI LUT", _voi_lut(header, bool(values.min() < 0))), ("window", _window(header))):
        if show is None:
            continue
        shown = show(values)
        if not distinct or np.ptp(shown[present]) >= 1:
            return shown, [*_depth(layout), f"its {name}"]
        wrong.append(f"its {name} shows nothing")
    if header.texts(CENTRE) and _window(header) is None:
        wrong.append("its window is not valid")
    if layout.stored <= 8:
        return _between(values, *bounds), [*_depth(layout), *wrong]
    low, high = _percentiles(values[present], counts[present]) if present.any() else bounds
    share = "{:g}th to {:g}th percentile".format(*PERCENTILES)
    return _between(values, low, high), [*_depth(layout), *wrong, f"no window: {share}" if not wrong else share]


def _depth(layout: Layout) -> list[str]:
    return [f"{layout.stored}-bit"] if layout.stored != 8 else []


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled: np.ndarray = (values - low) * (255 / (high - low)) if high > low else np.zeros(values.shape)
    return np.clip(scaled, 0, 255)


def _percentiles(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """The values below which the two shares of the pixels lie; the whole range where they coincide."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(counts[order]) * (100 / counts.sum())
    low, high = (float(values[order[min(int(np.searchsorted(shares, p)), len(order) - 1)]]) for p in PERCENTILES)
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def _voi_lut(header: Attributes, negative: bool) -> Callable[[np.ndarray], np.ndarray] | None:
    lut = _lut(header.items(VOI_LUT), negative)
    return None if lut is None else lambda values: lut(np.rint(values)) * (255 / lut.top)


def _lut(items: list[Attributes], negative: bool) -> Lut | None:
    """The first table of a sequence; None where there is none, or it does not fit its descriptor (PS3.3 C.11.1.1).

    Its first value is a signed number where what it is looked up by can be `negative`.
    """
    if not items or len(descriptor := items[0].integers(DESCRIPTOR)) != 3:
        return None
    count, bits = descriptor[0] or 1 << 16, descriptor[2]
    first = items[0].integers(DESCRIPTOR, signed=negative)[1]
    content = items[0].content(LUT_DATA)
    order = "<" if items[0].is_little_endian(LUT_DATA) else ">"
    wide = len(content) >= 2 * count
    if not 8 <= bits <= 16 or len(content) < count:
        return None
    data = np.frombuffer(content, f"{order}u2" if wide else "u1", count)
    top = (1 << bits) - 1
    return Lut(first, data, max(top, int(data.max())))


def _window(header: Attributes) -> Callable[[np.ndarray], np.ndarray] | None:
    """The first window as a function (PS3.3 C.11.2.1.2 and C.11.2.1.3); None where there is none, or its width is not valid."""
    centres, widths = header.numbers(CENTRE), header.numbers(WIDTH)
    if not centres or not widths:
        return None
    centre, width = centres[0], widths[0]
    function = header.text(FUNCTION).upper()
    if function in ("LINEAR_EXACT", "SIGMOID"):
        if width <= 0:
            return None
        if function == "SIGMOID":
            return lambda values: 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
        return lambda values: _between(values, centre - width / 2, centre + width / 2)
    if width < 1:
        return None
    if width == 1:
        return lambda values: np.where(values > centre - 0.5, 255.0, 0.0)
    return lambda values: _between(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)
