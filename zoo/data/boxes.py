"""Boxes of findings, from fractions of an image to fractions of the padded square that preparation makes of it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from zoo.core.records import ImageSource, Records
from zoo.data.decode import displayed_size
from zoo.data.images import FileSource

CORNERS = ["x", "y", "width", "height"]


def square_boxes(records: Records, rows: np.ndarray) -> pd.DataFrame:
    """The boxes of some images.

    Args:
        records: the images and their boxes.
        rows: of `records.table`.

    Returns:
        One line per box, in the order of `records.boxes`: row, image, label, and x, y, width, height in fractions of the
        padded square.
    """
    row_of = dict(zip(records.table["image"].iloc[rows], rows.tolist(), strict=True))
    boxes = records.boxes[records.boxes["image"].isin(list(row_of))].reset_index(drop=True)
    boxes.insert(0, "row", boxes["image"].map(row_of).astype(int))
    paths = records.table["path"]
    shapes = {row: image_shape(records.source, paths.iloc[row]) for row in boxes["row"].unique()}
    corners = zip(boxes["row"], boxes[CORNERS].to_numpy(dtype=float), strict=True)
    moved = [in_square(corner, *shapes[row]) for row, corner in corners]
    boxes[CORNERS] = np.reshape(moved, (len(boxes), 4))
    return boxes


def image_shape(source: ImageSource, path: str) -> tuple[int, int]:
    """Height and width of an image; of an image file by its header alone.

    Raises:
        BadImage: it cannot be read.
    """
    if isinstance(source, FileSource):
        try:
            with open(source.file(path), "rb") as stream:
                size = displayed_size(stream)
        except OSError:
            size = None
        if size is not None:
            return size[1], size[0]
    height, width = source.read(path)[0].shape
    return height, width


def in_square(corner: np.ndarray, height: int, width: int) -> np.ndarray:
    """Move one box (x, y, width, height) from fractions of an image to fractions of its padded square."""
    side = max(height, width)
    x, y, w, h = corner
    return np.array(
        [
            (x * width + (side - width) // 2) / side,
            (y * height + (side - height) // 2) / side,
            w * width / side,
            h * height / side,
        ]
    )
