"""The orientation that a file says an image has to be shown in (EXIF tag 0112, which TIFF has as its own tag 274)."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from zoo.data.tiff import check_directories

TAG = 0x0112
UNKNOWN, UPRIGHT = 0, 1
_EXIF = b"Exif\0\0"
# by the tag's value: whether rows become columns, then whether rows and columns are counted from the other end
_TURNS = {2: (0, 0, 1), 3: (0, 1, 1), 4: (0, 1, 0), 5: (1, 0, 0), 6: (1, 0, 1), 7: (1, 1, 1), 8: (1, 1, 0)}


def orientation(image: Image.Image) -> int:
    """The tag's value, 2 to 8, `UPRIGHT` where there is none, `UNKNOWN` where it cannot be read. A PNG is loaded for it."""
    try:
        if image.format == "PNG":
            image.load()
        data = image.info.get("exif", b"")
        while data.startswith(_EXIF):
            data = data[len(_EXIF) :]
        check_directories(io.BytesIO(data), len(data), first_only=True)
        found = image.getexif().get(TAG, UPRIGHT)
    except Exception:  # damaged metadata make Pillow raise anything; the pixels may be whole
        return UNKNOWN
    return found if found in _TURNS else UPRIGHT


def upright(pixels: np.ndarray, value: int) -> np.ndarray:
    """Pixels `(H, W)` turned and mirrored as the tag's value says."""
    if value in (UPRIGHT, UNKNOWN):
        return pixels
    swapped, rows, columns = _TURNS[value]
    turned = pixels.T if swapped else pixels
    return np.ascontiguousarray(turned[:: -1 if rows else 1, :: -1 if columns else 1])
