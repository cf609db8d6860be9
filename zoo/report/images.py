"""Thumbnails of images as data URIs: from the run's prepared store, or from the published files where that is gone."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.errors import DataError
from zoo.core.files import open_inside
from zoo.runs.run import Run

if TYPE_CHECKING:
    import numpy as np

SIZE = 224  # pixels of the longer side
QUALITY = 80  # of the JPEG


def thumbnails(run: Run, images: Iterable[str], size: int = SIZE) -> dict[str, str]:
    """Data URIs of those images whose pixels are still there.

    Args:
        run: whose data.json names the store and the dataset's root.
        images: names of images, as in the predictions table.
        size: pixels of the longer side, at most.
    """
    wanted = list(dict.fromkeys(images))
    data = _data(run)
    found = _from_store(data.get("store"), wanted, size)
    root = data.get("root")
    for image in wanted:
        if image not in found and root and (uri := _from_file(Path(root), image, size)):
            found[image] = uri
    return found


def file_uri(folder: Path, name: str, size: int) -> str | None:
    """An image file below a folder as a small data URI, colours kept; None where it is not there or is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with open_inside(folder, name) as file, Image.open(file) as opened:
            return _uri(opened.convert("RGB" if opened.mode not in ("L", "1", "I;16") else "L"), size)
    except (OSError, DataError, UnidentifiedImageError, ValueError, Image.DecompressionBombError):
        return None


def pixels_uri(pixels: np.ndarray, size: int = SIZE) -> str:
    """An image uint8 `(H, W)` as a small data URI."""
    from PIL import Image

    return _uri(Image.fromarray(pixels), size)


def _data(run: Run) -> dict[str, Any]:
    return run.known_data()


def _from_store(folder: str | None, images: list[str], size: int) -> dict[str, str]:
    import numpy as np
    import pandas as pd
    from PIL import Image

    if not folder:
        return {}
    try:
        table = pd.read_csv(Path(folder) / "images.csv", dtype=str, keep_default_na=False)
        pixels = np.load(Path(folder) / "images.npy", mmap_mode="r")
        there = table[table["reason"] == ""]
        rows = dict(zip(there["image"], there.index, strict=True))
    except (OSError, ValueError, KeyError):
        return {}
    return {i: _uri(Image.fromarray(np.asarray(pixels[rows[i]])), size) for i in images if i in rows}


def _from_file(root: Path, image: str, size: int) -> str | None:
    """An image by its name below the root, where published layouts put it, as the network would see it."""
    from zoo.core.errors import ZooError
    from zoo.core.records import BadImage
    from zoo.data.images import FileSource

    for name in (image, f"images/{image}"):
        with suppress(BadImage, ZooError):
            return pixels_uri(FileSource(str(root), force=True).read(name)[0], size)
    return None


def _uri(image: Any, size: int) -> str:
    """A Pillow image as a JPEG data URI without metadata."""
    image.thumbnail((size, size))
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
