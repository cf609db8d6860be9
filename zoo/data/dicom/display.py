"""From stored values to the gray levels that a viewer shows (PS3.3 C.11).

pydicom applies LUTs, rescaling and windows, to a table of all 2^bits stored values; the pixels are then looked up in it.
"""

from __future__ import annotations

import numpy as np

from zoo.data.deep import SHARE, between, counts, percentiles
from zoo.data.dicom.header import Header
from zoo.data.dicom.pixels import Layout


def display(codes: np.ndarray, layout: Layout, header: Header) -> tuple[np.ndarray, list[str]]:
    """Show stored values `(H, W)` as gray levels, uint8, the bones white.

    Modality LUT or rescale; then the first VOI LUT, the first window, or the default; then inversion of MONOCHROME1. Pixels of
    the padding value become black and do not count for the default.
    """
    occurring = counts(codes, layout.stored)
    stored = np.arange(1 << layout.stored)
    if layout.signed:
        stored -= (stored >> (layout.stored - 1)) << layout.stored
    padding = _padding(header, layout, stored)
    present = (occurring > 0) & ~padding
    values, bounds, notes = _modality(stored, header, layout)
    shown, more = _shown(values, bounds, np.where(present, occurring, 0), header, layout)
    table = np.clip(np.rint(shown), 0, 255).astype(np.uint8)
    notes += more
    inverted = layout.photometric == "MONOCHROME1"
    if inverted:
        table = 255 - table
        notes.append("MONOCHROME1, inverted")
    shape = header.text("PresentationLUTShape")
    if shape in ("IDENTITY", "INVERSE") and (shape == "INVERSE") != inverted:
        notes.append(f"(2050,0020) PresentationLUTShape is {shape}, not followed")
    if (occurring[padding] > 0).any():
        table[padding] = 0
        notes.append("padding black")
    return table[codes], notes


def _modality(stored: np.ndarray, header: Header, layout: Layout) -> tuple[np.ndarray, tuple[float, float], list[str]]:
    """Values after the Modality LUT or rescale, the lowest and highest that it can give, and notes."""
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_modality_lut

    found = _lut(stored, "ModalityLUTSequence", header, layout.signed)
    if found is not None:
        return found[0], (0.0, found[1]), ["Modality LUT"]
    notes, rescale = [], Dataset()
    slope, intercept = (
        next(iter(header.numbers("RescaleSlope")), 1.0),
        next(iter(header.numbers("RescaleIntercept")), 0.0),
    )
    if not 1e-12 < abs(slope) < 1e12 or abs(intercept) > 1e12:
        slope, intercept = 1.0, 0.0
        notes.append("RescaleSlope or RescaleIntercept not valid, left out")
    rescale.RescaleSlope, rescale.RescaleIntercept = slope, intercept
    values = apply_modality_lut(stored, rescale)
    return values, (float(values.min()), float(values.max())), notes


def _shown(
    values: np.ndarray, bounds: tuple[float, float], occurring: np.ndarray, header: Header, layout: Layout
) -> tuple[np.ndarray, list[str]]:
    """Gray levels in [0, 255] of all values, by the file's VOI LUT or window or, where these show nothing, by default."""
    depth = [f"{layout.stored}-bit"] if layout.stored != 8 else []
    lut, window = _lut(values, "VOILUTSequence", header, bool(values.min() < 0)), _window(values, header)
    given = {"VOI LUT": None if lut is None else lut[0] * (255 / lut[1]), "window": window}
    present = occurring > 0
    constant = len(np.unique(values[present])) < 2
    wrong = []
    for name, shown in given.items():
        if shown is not None:
            if constant or np.ptp(shown[present]) >= 1:
                return shown, [*depth, f"its {name}"]
            wrong.append(f"its {name} shows nothing")
    if window is None and header.values("WindowCenter"):
        wrong.append("its window is not valid")
    if layout.stored <= 8:
        return between(values, *bounds), [*depth, *wrong]
    low, high = percentiles(values, occurring) if present.any() else bounds
    return between(values, low, high), [*depth, *wrong, SHARE if wrong else f"no window: {SHARE}"]


def _padding(header: Header, layout: Layout, stored: np.ndarray) -> np.ndarray:
    """Which stored values are padding: Pixel Padding Value, to Pixel Padding Range Limit if there is one."""
    value, limit = header.integer("PixelPaddingValue"), header.integer("PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, bool)
    low, high = sorted(_word(each, layout.signed) for each in (value, value if limit is None else limit))
    found: np.ndarray = (stored >= low) & (stored <= high)
    return found


def _word(value: int, signed: bool) -> int:
    """A 16-bit number taken as signed or unsigned, whatever its VR says."""
    value %= 1 << 16
    return value - (1 << 16) if signed and value >> 15 else value


def _lut(values: np.ndarray, keyword: str, header: Header, signed: bool) -> tuple[np.ndarray, float] | None:
    """What the first LUT of a sequence makes of values, and the top of its range; None if there is none that is valid.

    The first value that it maps is `signed` if the values can be negative (PS3.3 C.11.1.1). Its data are brought to 16 bits
    and the values into its range, as pydicom reads no packed bytes, and wraps what does not fit the width of the data.
    """
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_modality_lut, apply_voi

    item = next(header.items(keyword), None)
    descriptor = [] if item is None else item.numbers("LUTDescriptor")
    raw = None if item is None else item.dataset.get_item("LUTData")
    if raw is None or not isinstance(raw.value, bytes) or len(descriptor) != 3:
        return None
    count, first, bits = (
        int(descriptor[0]) % (1 << 16) or 1 << 16,
        _word(int(descriptor[1]), signed),
        int(descriptor[2]),
    )
    if not 8 <= bits <= 16 or len(raw.value) < count:
        return None
    word = "<u2" if raw.is_little_endian else ">u2"
    data = np.frombuffer(raw.value, "u1" if len(raw.value) < 2 * count else word, count)
    lut, holder = Dataset(), Dataset()
    lut.add_new("LUTDescriptor", "SL", [count, first, 16])
    lut.add_new("LUTData", "OW", data.astype("<u2").tobytes())
    holder.add_new(keyword, "SQ", [lut])
    holder.set_original_encoding(False, True)
    mapped = np.clip(np.rint(values), first, first + count - 1).astype(np.int64)
    apply = apply_modality_lut if keyword == "ModalityLUTSequence" else apply_voi
    return apply(mapped, holder).astype(float), float(max((1 << bits) - 1, data.max()))


def _window(values: np.ndarray, header: Header) -> np.ndarray | None:
    """What the first window makes of values, in [0, 255]; None if there is none, or its width is not valid."""
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    centres, widths = header.numbers("WindowCenter"), header.numbers("WindowWidth")
    if not centres or not widths:
        return None
    window, function = Dataset(), header.text("VOILUTFunction")
    window.VOILUTFunction = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    window.WindowCenter, window.WindowWidth = centres[0], widths[0]
    # the range of what is shown
    window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
    try:
        return apply_windowing(values, window)
    except ValueError:
        return None
