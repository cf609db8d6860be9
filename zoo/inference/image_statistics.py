"""What pixels alone say of an image: how light and dark lie over it, its contrast, sharpness and grain."""

from __future__ import annotations

import numpy as np

BLOCKS = 8  # rows and columns of the layout
OCTAVES = 5
LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
BLACK, WHITE = 3, 252  # grey levels that count as black and as white
NOISE = 4.0  # grey levels added to the layout's deviation: what varies less is no layout


def image_statistics(images: np.ndarray) -> np.ndarray:
    """A row of numbers per image, each of the order of 1, that no network is needed for.

    64 are the layout: the means of 8×8 blocks, less their mean and over their deviation, so that exposure does not count;
    the negative of an image has them with the other sign. The others are the logarithms of deviation, gradients, Laplacian
    and the deviations in up to five octaves; seven quantiles of grey; shares of black and of white (their roots).

    Args:
        images: `(N, S, S)` uint8, S at least 8.

    Returns:
        `(N, 64 + M)` float64; M depends on S alone.
    """
    if not len(images):
        return np.zeros((0, 0))
    return np.concatenate([_statistics(image[None]) for image in images])


def _statistics(image: np.ndarray) -> np.ndarray:
    """Of one image `(1, S, S)`: alone it stays in the processor's cache, which halves the time."""
    pixels = image.astype(np.float32)
    return np.hstack([_layout(pixels), _sharpness(image, pixels), _greys(image)]).astype(np.float64)


def contrast(images: np.ndarray) -> np.ndarray:
    """The difference between the lightest and the darkest percent of each image, in grey levels, `(N,)`."""
    low, high = np.percentile(images.reshape(len(images), -1), (1, 99), axis=1)
    return np.asarray(high - low)


def _layout(pixels: np.ndarray) -> np.ndarray:
    edges = np.arange(BLOCKS + 1) * pixels.shape[1] // BLOCKS
    sums = np.add.reduceat(np.add.reduceat(pixels, edges[:-1], axis=1), edges[:-1], axis=2)
    blocks = (sums / np.outer(np.diff(edges), np.diff(edges))).reshape(len(pixels), -1)
    blocks -= blocks.mean(axis=1, keepdims=True)
    return np.asarray(blocks / (blocks.std(axis=1, keepdims=True) + NOISE))


def _sharpness(image: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Of one image `(1, S, S)`, uint8 and float32; whole numbers are added up as such, which is faster."""
    grey = image[0].astype(np.int16)
    across, down = np.diff(grey, axis=1), np.diff(grey, axis=0)
    laplacian = np.diff(across, axis=1)[1:-1] + np.diff(down, axis=0)[:, 1:-1]
    measures = [pixels.std(), *(np.abs(each).sum(dtype=np.int64) / each.size for each in (down, across, laplacian))]
    for _ in range(OCTAVES):
        half = pixels.shape[1] // 2
        if half < 1:
            break
        pixels = pixels[:, : 2 * half, : 2 * half]
        corners = [pixels[0, y::2, x::2] for y in (0, 1) for x in (0, 1)]
        mean = sum(corners[1:], start=corners[0]) / 4
        squares = [np.vdot(each, each) for each in (corner - mean for corner in corners)]
        measures.append(np.sqrt(sum(squares) / pixels.size))
        pixels = mean[None]
    return np.log1p(np.array([measures]))


def _greys(images: np.ndarray) -> np.ndarray:
    """Quantiles over 255, and the roots of the shares of black and white pixels, all from a histogram."""
    rows = images.reshape(len(images), -1)
    share = np.stack([np.bincount(row, minlength=256) for row in rows]).cumsum(axis=1) / rows.shape[1]
    quantiles = np.stack([(share < level).sum(axis=1) for level in LEVELS], axis=1) / 255
    extremes = np.stack([share[:, BLACK], 1 - share[:, WHITE - 1]], axis=1).clip(0)
    return np.hstack([quantiles, np.sqrt(extremes)])
