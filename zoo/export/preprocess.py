"""`zoo.data.resize.square` as operations of the network itself, so that an exported file takes images of any size.

All arithmetic is in 32-bit integers, as Pillow's is for 8-bit images: every runtime computes the same gray levels, and
quantisation leaves the operations alone. Shapes that depend on the image are met by cumulative sums and look-ups into arrays
of fixed size: the areas averaged are fewer than two per output pixel, and four of them meet in it at most.

The gray levels are Pillow's. In two cases less than one pixel of a thousand may be a level off: enlarging to more than 380
pixels, and images with a side of `WITH_ROUNDING` or more (tests/export/test_preprocess.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

BITS = 22  # of Pillow's fixed-point weights for 8-bit images (Resample.c: PRECISION_BITS)
WITH_ROUNDING = 8192  # pixels: beyond, products of the correction would not fit into 32 bits
TAPS = 4  # pixels that meet in an output pixel: the filters reach less than 2 pixels either way


def prepare(pixels: Any, size: int) -> Any:
    """Pad images with black to a square and resample them to `size`, as `zoo.data.resize.square` does.

    Args:
        pixels: Keras tensor `(N, H, W, 1)` in [0, 255]; float values are rounded to gray levels.
        size: height and width of the result in pixels.

    Returns:
        Keras tensor float32 `(N, size, size, 1)`, whole numbers in [0, 255]. Made of Keras' stock operations, so that a model
        holding it loads without zoo.
    """
    from keras import ops

    if pixels.dtype != "uint8":
        pixels = ops.round(ops.clip(ops.cast(pixels, "float32"), 0.0, 255.0))
    images = ops.squeeze(ops.cast(pixels, "int32"), -1)
    height = ops.sum(ops.ones_like(ops.max(images, axis=(0, 2))))
    width = ops.sum(ops.ones_like(ops.max(images, axis=(0, 1))))
    side = ops.maximum(height, width)
    factor = ops.maximum(ops.floor_divide(side, size), 1)
    images, rows = _area_sums(images, height, side, factor, size, axis=1)
    images, columns = _area_sums(images, width, side, factor, size, axis=2)
    count = ops.multiply(ops.expand_dims(rows, 1), ops.expand_dims(columns, 0))
    images = _means(images, ops.maximum(count, 1))
    start, weights = _weights(side, factor, size)
    images = _resample(images, start, weights, size, axis=2)
    images = _resample(images, start, weights, size, axis=1)
    return ops.expand_dims(ops.cast(images, "float32"), -1)


def _area_sums(images: Any, length: Any, side: Any, factor: Any, size: int, axis: int) -> tuple[Any, Any]:
    """Sums over stretches of `factor` pixels of the padded image along an axis, `2 * size` of them, and how long each is.

    The stretch at the border may be shorter; those beyond it are 0 long.
    """
    from keras import ops

    edges = ops.minimum(ops.multiply(factor, np.arange(2 * size + 1, dtype="int32")), side)
    margin = ops.floor_divide(ops.subtract(side, length), 2)
    inside = ops.minimum(ops.maximum(ops.subtract(edges, margin), 0), length)
    sums = ops.take(ops.cumsum(images, axis=axis), ops.maximum(ops.subtract(inside, 1), 0), axis=axis)
    sums = ops.multiply(sums, ops.reshape(ops.minimum(inside, 1), _along(axis)))
    before = np.arange(2 * size, dtype="int32")
    difference = ops.subtract(ops.take(sums, before + 1, axis=axis), ops.take(sums, before, axis=axis))
    return difference, ops.subtract(ops.take(edges, before + 1), ops.take(edges, before))


def _means(sums: Any, count: Any) -> Any:
    """`(sum + count // 2) * multiplier >> 24` with `multiplier = 2**24 // count`, as Pillow's Reduce.c has it.

    The product overflows, so it is taken apart: with `sum + count // 2 = q * count + r` the result is q, or q - 1 where what
    the multiplier was cut by outweighs r.
    """
    from keras import ops

    total = ops.add(sums, ops.floor_divide(count, 2))
    quotient = ops.floor_divide(total, count)
    remainder = ops.subtract(total, ops.multiply(quotient, count))
    multiplier = ops.floor_divide(2**24, count)
    cut = ops.subtract(2**24, ops.multiply(count, multiplier))
    less = ops.less(ops.multiply(remainder, multiplier), ops.multiply(quotient, cut))
    return ops.subtract(quotient, ops.cast(less, "int32"))


def _weights(side: Any, factor: Any, size: int) -> tuple[Any, Any]:
    """The first of the `TAPS` areas that meet in each output pixel `(size, 1)`, and their weights `(size, TAPS)`.

    Distances are whole numbers in units of `1 / (2 * factor * size)` of an area. The filter is Pillow's bilinear one for images
    larger than `size`, which reaches `side / (factor * size)` areas, and bicubic for others, which reaches 2.
    """
    from keras import ops

    scale = ops.multiply(factor, size)
    unit = ops.multiply(scale, 2)
    centre = ops.multiply(side, 2 * np.arange(size, dtype="int32")[:, None] + 1)
    reach = ops.where(ops.greater(side, size), ops.multiply(side, 2), ops.multiply(unit, 2))
    first = ops.floor_divide(ops.add(ops.subtract(centre, reach), scale), unit)
    start = ops.maximum(first, 0)
    area = ops.add(start, np.arange(TAPS, dtype="int32")[None])
    there = ops.cast(ops.less(ops.multiply(area, factor), side), "int32")
    offset = ops.subtract(ops.multiply(ops.add(ops.multiply(area, 2), 1), scale), centre)
    linear = _bilinear(offset, side, factor, size, there)
    cubic = _bicubic(ops.abs(offset), size, there)
    return start, ops.where(ops.greater(side, size), linear, cubic)


def _bilinear(offset: Any, side: Any, factor: Any, size: int, there: Any) -> Any:
    """The tent filter, from 1 at distance 0 to 0 at `side / (factor * size)`, as weights in fixed point.

    Pillow holds `side / factor` in single precision. What that rounding adds to a weight is a whole number too, in units of
    `2**-places` of a unit of distance, and is brought in as a correction of the last bits.
    """
    from keras import ops

    exact = ops.subtract(ops.multiply(side, 2), ops.abs(offset))
    rounding, places = _rounding(side, factor, size)
    shift = ops.multiply(2 * np.arange(size, dtype="int32")[:, None] + 1, rounding)  # of the centre
    extra = ops.multiply(ops.sign(offset), shift)
    extra = ops.where(ops.equal(offset, 0), ops.negative(ops.abs(shift)), extra)
    extra = ops.multiply(ops.add(extra, ops.multiply(rounding, 2)), there)
    extra = ops.where(ops.less(side, WITH_ROUNDING), extra, 0)
    extra = ops.where(ops.less(exact, 0), 0, ops.where(ops.equal(exact, 0), ops.maximum(extra, 0), extra))
    weights = ops.multiply(ops.maximum(exact, 0), there)
    total = ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1)
    value, rest = _divide(weights, total, 11)
    # (W + e) / (S + E) - W / S = (e S - E W) / S², nearly; `lift` keeps whole-number divisions on positive numbers
    lift = ops.multiply(total, 2**15)
    cross = ops.multiply(ops.sum(extra, axis=1, keepdims=True), weights)
    cross = ops.add(ops.subtract(ops.multiply(extra, total), cross), lift)
    whole = ops.floor_divide(cross, total)
    part = ops.multiply(ops.subtract(cross, ops.multiply(whole, total)), places)
    fine = ops.floor_divide(part, total)
    rest = ops.add(ops.add(rest, ops.multiply(ops.subtract(whole, 2**15), places)), fine)
    half = ops.subtract(part, ops.multiply(fine, total))
    half = ops.cast(ops.greater_equal(ops.multiply(half, 2), total), "int32")
    double = ops.add(ops.add(ops.multiply(rest, 2), half), ops.multiply(total, 2**12 + 1))
    return ops.subtract(ops.add(value, ops.floor_divide(double, ops.multiply(total, 2))), 2**11)


def _rounding(side: Any, factor: Any, size: int) -> tuple[Any, Any]:
    """What single precision adds to `side / factor`, times `factor`, as a whole number of `2**-e`; and `2**(BITS - e)`.

    The quotient lies between `size` and twice that, where it has 24 binary digits, e of them behind the point; halves are
    rounded to even.
    """
    from keras import ops

    digits = size.bit_length()  # before the point, or one more
    more = ops.greater_equal(side, ops.multiply(factor, 2**digits))
    places = ops.where(more, 2 ** (BITS + 1 - digits), 2 ** (BITS + 2 - digits))
    twice = ops.multiply(factor, 2)
    rest = ops.mod(ops.multiply(ops.mod(side, twice), ops.mod(places, twice)), twice)
    odd = ops.floor_divide(rest, factor)
    rest = ops.mod(rest, factor)
    up = ops.greater(ops.add(ops.multiply(rest, 2), odd), factor)
    return ops.where(up, ops.subtract(factor, rest), ops.negative(rest)), ops.floor_divide(2**BITS, places)


def _bicubic(distance: Any, size: int, there: Any) -> Any:
    """Keys' cubic with a = -1/2 at distances in units of `1 / (2 * size)`, as weights in fixed point.

    With x = u / unit it is (1 - x)(2 + 2x - 3x²) / 2 up to 1 and -(x - 1)(2 - x)² / 2 from there to 2. Large sizes lose the
    lowest bits, a power of two.
    """
    from keras import ops

    unit = 2 * size
    highest = 23 * unit**3 // 10  # more than the sum of the weights of an output pixel comes to
    shift = 2 ** max(0, highest.bit_length() - 30)
    u = ops.minimum(distance, 2 * unit)
    inner = ops.subtract(ops.multiply(u, ops.subtract(2 * unit, ops.multiply(u, 3))), -2 * unit**2)
    offset = 8 * unit**2 // shift * shift  # floors of positive numbers only
    inner = ops.subtract(ops.floor_divide(ops.add(inner, offset), shift), offset // shift)
    outer = ops.floor_divide(ops.square(ops.subtract(2 * unit, u)), shift)
    cubic = ops.multiply(ops.subtract(unit, u), ops.where(ops.less(u, unit), inner, outer))
    cubic = ops.multiply(cubic, there)
    total = ops.maximum(ops.sum(cubic, axis=1, keepdims=True), 1)
    value, rest = _divide(ops.abs(cubic), total, 31 - (highest // shift).bit_length())
    up = ops.cast(ops.greater_equal(rest, ops.subtract(total, rest)), "int32")
    return ops.multiply(ops.sign(cubic), ops.add(value, up))


def _divide(dividend: Any, divisor: Any, bits: int) -> tuple[Any, Any]:
    """`dividend * 2**BITS / divisor` and its remainder, by long division, `bits` binary places at a time."""
    from keras import ops

    value = ops.floor_divide(dividend, divisor)
    rest = ops.subtract(dividend, ops.multiply(value, divisor))
    done = 0
    while done < BITS:
        step = min(bits, BITS - done)
        rest = ops.multiply(rest, 2**step)
        digits = ops.floor_divide(rest, divisor)
        value = ops.add(ops.multiply(value, 2**step), digits)
        rest = ops.subtract(rest, ops.multiply(digits, divisor))
        done += step
    return value, rest


def _resample(images: Any, start: Any, weights: Any, size: int, axis: int) -> Any:
    """Weighted sums of `TAPS` neighbours along an axis, rounded to gray levels."""
    from keras import ops

    total: Any = 2 ** (BITS - 1)
    for tap in range(TAPS):
        at = ops.reshape(ops.minimum(ops.add(start, tap), 2 * size - 1), (-1,))
        weight = ops.reshape(ops.take(weights, tap, axis=1), _along(axis))
        total = ops.add(ops.multiply(ops.take(images, at, axis=axis), weight), total)
    return ops.minimum(ops.floor_divide(ops.maximum(total, 0), 2**BITS), 255)


def _along(axis: int) -> tuple[int, int, int]:
    """The shape that lays a vector along an axis of `(N, H, W)`."""
    return (1, -1, 1) if axis == 1 else (1, 1, -1)
