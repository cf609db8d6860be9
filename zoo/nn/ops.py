"""Numerics that several strategies share, in `keras.ops`, so that they run on every backend and under XLA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def float32(*arrays: Any) -> tuple[Any, ...]:
    """The arrays as float32 tensors: losses of half-precision logits overflow otherwise."""
    from keras import ops

    return tuple(ops.cast(ops.convert_to_tensor(a), "float32") for a in arrays)


def smooth(labels: Any, amount: float, classes: int = 2) -> Any:
    """Label smoothing (Szegedy et al. 2016): `labels * (1 - amount) + amount / classes`."""
    return labels * (1.0 - amount) + amount / classes if amount else labels


def warp(images: Any, coefficients: Sequence[Any]) -> Any:
    """Resample images through affine maps, bilinear, with pixels outside the image taken from its edge.

    Built on flat look-ups: TensorFlow's projective transform, behind `keras.ops.image.affine_transform`, does not
    compile under XLA.

    Args:
        images: `(N, H, W, 1)` float.
        coefficients: six arrays `(N,)`: a, b, c, d, e, f. The pixel at column x, row y of the result is read at column
            `a x + b y + c`, row `d x + e y + f` of the image.

    Returns:
        `(N, H, W, 1)`, same dtype.
    """
    from keras import ops

    height, width = images.shape[1:3]
    x = ops.arange(width, dtype="float32")[None, None, :]
    y = ops.arange(height, dtype="float32")[None, :, None]
    # six arrays, not slices of one (N, 6): TensorFlow 2.21 optimises a slice of a stack into the wrong shape
    a, b, c, d, e, f = (ops.reshape(values, (-1, 1, 1)) for values in coefficients)
    return sample(images, a * x + (b * y + c), d * x + (e * y + f))


def sample(images: Any, column: Any, row: Any) -> Any:
    """Read images at given places, bilinear; a place outside the image is taken from its edge.

    Args:
        images: `(N, H, W, 1)` float, at least 2 pixels either way.
        column: `(N, H, W)` float, for each pixel of the result where along the width it is read, in pixels.
        row: the same along the height.

    Returns:
        `(N, H, W, 1)`, same dtype as the images.
    """
    from keras import ops

    height, width = images.shape[1:3]
    count = ops.shape(images)[0]
    column, row = ops.clip(column, 0.0, width - 1.0), ops.clip(row, 0.0, height - 1.0)
    left = ops.minimum(ops.floor(column), width - 2.0)
    top = ops.minimum(ops.floor(row), height - 2.0)
    right_share, lower_share = column - left, row - top
    start = ops.arange(count, dtype="int32")[:, None, None] * (height * width)
    index = ops.cast(top * width + left, "int32") + start
    flat = ops.reshape(images, (-1,))
    upper = _between(ops.take(flat, index), ops.take(flat, index + 1), right_share)
    lower = _between(ops.take(flat, index + width), ops.take(flat, index + width + 1), right_share)
    return _between(upper, lower, lower_share)[..., None]


def _between(first: Any, second: Any, share: Any) -> Any:
    return first + (second - first) * share


def beta(count: Any, alpha: float, seed: Any) -> Any:
    """Draw `(count,)` numbers from Beta(alpha, alpha), 0 < alpha ≤ 1, by Jöhnk's method (1964).

    Of 40 tries per number the first accepted one counts; each is accepted with a chance of at least 1/2 (at alpha = 1).
    `keras.random.beta` does not compile under XLA on TensorFlow, and gives 0/0 for small alpha.
    """
    import keras
    from keras import ops

    uniform = keras.random.uniform((2, 40, count), seed=seed)
    logs = ops.log(ops.maximum(uniform, 1e-30)) / alpha  # log of u^(1/alpha): the power itself underflows
    accepted = ops.exp(logs[0]) + ops.exp(logs[1]) <= 1.0
    first = ops.argmax(ops.cast(accepted, "int32"), axis=0)[None]
    ratio = ops.take_along_axis(logs[0] - logs[1], first, axis=0)[0]
    return ops.sigmoid(ratio)


def rectangles(size: int, row: Any, column: Any, height: Any, width: Any) -> Any:
    """Which pixels of square images lie in a rectangle: those whose centre does. What lies beyond the image is cut off.

    Args:
        size: side of the images in pixels.
        row: `(N,)` centre of each rectangle, as a fraction of the side; `column` likewise.
        height: `(N,)` its sides, as fractions of the side; `width` likewise. With a side of 0 it holds no pixel.

    Returns:
        `(N, size, size)` bool.
    """
    from keras import ops

    centres = (ops.arange(size, dtype="float32")[None, :] + 0.5) / size
    # strictly less: a rectangle of no height must not catch the centre it falls on
    rows, columns = (
        ops.abs(centres - place[:, None]) < 0.5 * side[:, None] for place, side in ((row, height), (column, width))
    )
    return ops.logical_and(rows[:, :, None], columns[:, None, :])
