"""Histogram equalisation in `keras.ops`, for whole batches at once: of the image, or of its tiles with limited contrast."""

from __future__ import annotations

from typing import Any

LEVELS = 256


def equalise(images: Any, tiles: int = 1, limit: float | None = None) -> Any:
    """Spread the grey levels of images evenly over [0, 255] (Pizer et al. 1987; limited contrast: Zuiderveld 1994).

    The image is cut into `tiles` × `tiles` equal tiles, mirrored at its lower and right edge where the side is no multiple. Each
    tile has a tone curve, its cumulative histogram of 256 rounded grey levels times 255; a pixel takes its value from the
    curves of the four nearest tile centres, bilinear, beyond the outer centres from the nearest. With a `limit` a curve
    rises at most so many times as steeply as the identity: what a level has in excess of `limit` times the mean count
    is spread over all 256 levels, once, as real numbers.

    Args:
        images: `(N, H, W, 1)` float32 in [0, 255].
        tiles: per side.
        limit: at least 1; None for none.

    Returns:
        `(N, H, W, 1)` float32 in [0, 255], not rounded.

    Raises:
        ValueError: the images are smaller than two pixels per tile.
    """
    from keras import ops

    height, width = images.shape[1:3]
    if min(height, width) < 2 * tiles:
        raise ValueError(f"{tiles} × {tiles} tiles need images of at least {2 * tiles} pixels, not {height} × {width}")
    levels = ops.cast(ops.clip(ops.round(images[..., 0]), 0.0, LEVELS - 1.0), "int32")
    curves = ops.reshape(_curves(levels, tiles, limit), (-1,))
    above, below, down = _nearest(height, tiles)
    left, right, across = _nearest(width, tiles)
    image = ops.arange(ops.shape(levels)[0], dtype="int32")[:, None, None] * (tiles * tiles * LEVELS)
    value = 0.0
    for row, row_share in ((above, 1.0 - down), (below, down)):
        for column, column_share in ((left, 1.0 - across), (right, across)):
            tile = row[:, None] * tiles + column[None, :]
            share = row_share[:, None] * column_share[None, :]
            if share.any():  # a single tile has one curve, not four
                value = value + share * ops.take(curves, levels + image + tile * LEVELS)
    return ops.clip(value, 0.0, 255.0)[..., None]


def _curves(levels: Any, tiles: int, limit: float | None) -> Any:
    """Tone curves `(N · tiles², 256)` in [0, 255] of levels `(N, H, W)`."""
    import numpy as np
    from keras import ops

    height, width = levels.shape[1:3]
    sides = [-(-side // tiles) for side in (height, width)]
    missing = [tiles * part - side for part, side in zip(sides, (height, width), strict=True)]
    if any(missing):
        levels = ops.pad(levels, ((0, 0), (0, missing[0]), (0, missing[1])), mode="reflect")
    rows, columns = (np.arange(tiles * part, dtype="int32") // part for part in sides)
    tile = rows[:, None] * tiles + columns[None, :]
    images = ops.shape(levels)[0]
    start = ops.arange(images, dtype="int32")[:, None, None] * (tiles * tiles * LEVELS)
    index = ops.reshape(levels + start + tile * LEVELS, (-1,))
    counts = ops.segment_sum(ops.ones_like(index, dtype="float32"), index, num_segments=images * tiles * tiles * LEVELS)
    counts = ops.reshape(counts, (-1, LEVELS))
    pixels = sides[0] * sides[1]
    if limit is not None:
        kept = ops.minimum(counts, limit * pixels / LEVELS)
        counts = kept + (pixels - ops.sum(kept, axis=-1, keepdims=True)) / LEVELS
    return ops.cumsum(counts, axis=-1) * (255.0 / pixels)


def _nearest(side: int, tiles: int) -> tuple[Any, Any, Any]:
    """For each pixel the tiles whose centres lie before and after it, int32 each, and the share of the second."""
    import numpy as np

    place = (np.arange(side) + 0.5) / -(-side // tiles) - 0.5
    before = np.clip(np.floor(place), 0, tiles - 1)
    share = np.clip(place - before, 0.0, 1.0) * (before < tiles - 1)
    return before.astype("int32"), np.minimum(before + 1, tiles - 1).astype("int32"), share.astype("float32")
