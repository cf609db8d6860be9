"""Resizing inside exported files, by the standard operations of each format, so that they take images of any size.

Images of the network's own size pass through untouched. Others are padded with black to a square and resampled by an
antialiased bilinear filter: within one gray level of `zoo.data.resize.square` in the mean (tests/export/test_preprocess.py),
which shrinks in two steps and enlarges by a bicubic filter.
"""

from __future__ import annotations

from typing import Any

POOLING = (1, 2, 4, 8, 16, 32, 64)  # pixels averaged each way before LiteRT resamples


def keras_resizing(image: Any, size: int) -> Any:
    """Resize a Keras tensor `(N, H, W, 1)` to `(N, size, size, 1)` float32 by a stock operation, which loads without zoo.

    Float values are rounded to gray levels from 0 to 255. It pads both sides alike: an image with an odd difference
    between height and width is shifted by half a pixel.
    """
    from keras import ops

    pixels = ops.cast(image, "float32")
    # not the layer Resizing: called without `training`, it leaves the layers behind it in training mode
    pixels = ops.image.resize(pixels, (size, size), antialias=True, pad_to_aspect_ratio=True)
    return ops.round(ops.clip(pixels, 0.0, 255.0))


def graph_resizing(image: Any, size: int) -> Any:
    """As `keras_resizing`, for files that hold TensorFlow's graph: by operations that LiteRT has, without the shift.

    LiteRT's own resize has no antialiasing. Larger images are averaged over areas of 2, 4, 8 … pixels as long as `size` or
    more are left, and then resampled by a product with a matrix on either side.
    """
    import keras
    from keras import ops

    class Resize(keras.layers.Layer):
        def call(self, images: Any) -> Any:
            _, height, width, _ = ops.shape(images)
            own = ops.logical_and(ops.equal(height, size), ops.equal(width, size))
            pixels = ops.cond(own, lambda: ops.cast(images, "float32"), lambda: _resampled(images, size))
            if images.dtype != "uint8":
                pixels = ops.round(ops.clip(pixels, 0.0, 255.0))
            return ops.reshape(pixels, (-1, size, size, 1))  # names the channels, which a condition loses

        def compute_output_shape(self, input_shape: Any) -> Any:
            return (input_shape[0], size, size, 1)

    return Resize(dtype="float32", autocast=False, name="resize")(image)


def _resampled(images: Any, size: int) -> Any:
    from keras import ops

    _, height, width, _ = ops.shape(images)
    side = ops.maximum(height, width)
    square = _beside_black(_beside_black(images, side, 1), side, 2)
    areas, factor = _averaged(square, side, size, POOLING)
    count = ops.shape(areas)[1]
    weights = _weights(side, count, factor, size)
    planes = ops.reshape(areas, (-1, count, count))
    planes = ops.matmul(ops.matmul(weights[None], planes), ops.transpose(weights)[None])
    return ops.expand_dims(ops.round(planes), -1)


def _beside_black(images: Any, side: Any, axis: int) -> Any:
    """Images with as much black on both sides along an axis as makes them `side` long."""
    from keras import ops

    shape = list(ops.shape(images))
    gap = side - shape[axis]
    black = [
        ops.zeros([*shape[:axis], length, *shape[axis + 1 :]], images.dtype) for length in (gap // 2, gap - gap // 2)
    ]
    return ops.concatenate([black[0], images, black[1]], axis=axis)


def _averaged(images: Any, side: Any, size: int, factors: tuple[int, ...]) -> tuple[Any, Any]:
    """Images averaged over areas of the largest factor that leaves `size` pixels, and this factor as float32."""
    from keras import ops

    factor, *larger = factors

    def here() -> tuple[Any, Any]:
        pixels = ops.cast(images, "float32")
        if factor > 1:
            pixels = ops.average_pool(pixels, factor, factor, padding="same")
        return pixels, ops.convert_to_tensor(float(factor), "float32")

    if not larger:
        return here()
    return ops.cond(ops.less(side, 2 * factor * size), here, lambda: _averaged(images, side, size, tuple(larger)))


def _weights(side: Any, count: Any, factor: Any, size: int) -> Any:
    """The share of each of `count` areas in each pixel along an axis, `(size, count)` float32: a tent filter."""
    from keras import ops

    side, areas = ops.cast(side, "float32"), ops.cast(count, "float32")
    scale = side / size
    before = ops.floor((areas * factor - side) / 2)  # what the first area lacks at the border
    middle = (ops.arange(count, dtype="float32") + 0.5) * factor - before
    target = (ops.arange(size, dtype="float32") + 0.5) * scale
    distance = ops.abs(middle[None] - target[:, None]) / ops.maximum(scale, factor)
    weights = ops.maximum(1.0 - distance, 0.0)
    return weights / ops.sum(weights, axis=1, keepdims=True)


def onnx_resizing(model: Any, size: int) -> Any:
    """Put resizing in front of an ONNX model: from `image` `(images, height, width, 1)` uint8 to its own input.

    Args:
        model: a model with one input, pixels `(N, size, size, 1)` float32.
        size: height and width of that input.

    Returns:
        The joined model.
    """
    from onnx import compose, parser

    opset = model.opset_import[0].version
    resize = parser.parse_model(_ONNX.format(ir=model.ir_version, opset=opset, size=size))
    return compose.merge_models(resize, model, io_map=[("prepared", model.graph.input[0].name)])


_ONNX = """<ir_version: {ir}, opset_import: ["": {opset}]>
resize (uint8[images, height, width, 1] image) => (float[images, {size}, {size}, 1] prepared) {{
    shape = Shape <start=1, end=3> (image)
    side = ReduceMax <keepdims=1> (shape)
    two = Constant <value_ints=[2]> ()
    gap = Sub (side, shape)
    before = Div (gap, two)
    after = Sub (gap, before)
    margins = Concat <axis=0> (before, after)
    rows_columns = Constant <value_ints=[1, 2]> ()
    square = Pad (image, margins, , rows_columns)
    images = Shape <start=0, end=1> (image)
    one = Constant <value_ints=[1]> ()
    as_planes = Concat <axis=0> (images, one, side, side)
    planes = Reshape (square, as_planes)
    own_size = Constant <value_ints=[{size}, {size}]> ()
    resized = Resize <mode="linear", antialias=1, axes=[2, 3]> (planes, , , own_size)
    as_pixels = Constant <value_ints=[-1, {size}, {size}, 1]> ()
    pixels = Reshape (resized, as_pixels)
    prepared = Cast <to=1> (pixels)
}}"""
