"""Write networks as LiteRT and ONNX files, by Keras' own exporters, quietly, for shapes and types of choice."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np

from zoo.core.errors import UsageError, ZooError
from zoo.core.files import replacing
from zoo.inference.runtimes import quantize as smaller
from zoo.nn.keras_compat import flatten_layers

Shape = tuple[int | None, ...]
Quantize = Literal["float16", "int8"]

LEAST_SAMPLES = 10  # images; ranges of activations taken from fewer say little
OPSET = 18  # 2022: every ONNX Runtime since 1.14 reads it; the first with an antialiased Resize


class CannotConvert(ZooError):
    """The network itself cannot be expressed in the format asked for. Exit code 1."""


def to_litert(
    network: Any,
    file: Path,
    *,
    shape: Shape | None = None,
    dtype: str = "float32",
    quantize: Quantize | None = None,
    samples: np.ndarray | None = None,
) -> Path:
    """Write `network` as a LiteRT file (.tflite) of built-in operations alone.

    Args:
        network: a Keras model with one input, in its stock layers and not inside `fused_batch_norm`.
        file: where to; replaced atomically. The suffix is `.tflite`.
        shape: of the input with its batch axis, None for an axis that varies; by default the network's own. A fixed batch
            runs faster than a varying one.
        dtype: of the input, such as "uint8".
        quantize: "float16" stores the weights in half precision; "int8" computes convolutions in 8-bit integers, with ranges
            of activations taken from `samples`; inputs and outputs keep their types. None keeps float32.
        samples: inputs `(N, ...)` of `dtype` for "int8", at least 10.

    Raises:
        UsageError: "int8" with too few samples.
        CannotConvert: LiteRT cannot express some part of the network.
        ZooError: the backend is not TensorFlow, or the file cannot be written.
    """
    _needs_tensorflow("LiteRT")
    import tensorflow as tf

    options: dict[str, Any] = {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}
    if quantize is not None:
        options["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        options["target_spec"]["supported_types"] = [tf.float16]
    if quantize != "int8":
        return _export(network, file, "litert", "LiteRT", shape, dtype, **options)
    size = (shape or network.input_shape)[0] or 1
    options["representative_dataset"] = _batches(_enough(samples), size, dtype)
    # the two steps of tf.lite.experimental.QuantizationDebugger: no other way leaves single operations in float32
    options["_experimental_calibrate_only"] = True
    return _export(network, file, "litert", "LiteRT", shape, dtype, smaller.litert_int8, **options)


def to_onnx(
    network: Any,
    file: Path,
    *,
    shape: Shape | None = None,
    dtype: str = "float32",
    quantize: Quantize | None = None,
    samples: np.ndarray | None = None,
) -> Path:
    """Write `network` as an ONNX file; arguments as in `to_litert`, the suffix is `.onnx`.

    Raises:
        UsageError: "int8" with too few samples.
        CannotConvert: tf2onnx cannot express some part of the network.
        ZooError: the backend is not TensorFlow, tf2onnx is not installed, or the file cannot be written.
    """
    _needs_tensorflow("ONNX")
    if importlib.util.find_spec("tf2onnx") is None:
        raise ZooError("writing ONNX needs tf2onnx. Install it: pip install 'cxr-zoo[onnx]'")
    finish: Callable[[Path], None] | None = None
    if quantize == "float16":
        finish = smaller.onnx_float16
    elif quantize == "int8":
        finish = functools.partial(smaller.onnx_int8, samples=_enough(samples).astype(dtype))
    return _export(network, file, "onnx", "ONNX", shape, dtype, finish, opset_version=OPSET)


def _enough(samples: np.ndarray | None) -> np.ndarray:
    if samples is None or len(samples) < LEAST_SAMPLES:
        given = 0 if samples is None else len(samples)
        raise UsageError(f"int8 needs at least {LEAST_SAMPLES} images to take its ranges from, not {given}.")
    return samples


def _needs_tensorflow(name: str) -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ZooError(
            f"a network becomes {name} on the TensorFlow backend alone; this is {keras.backend.backend()}. "
            "Set KERAS_BACKEND=tensorflow."
        )


def _batches(samples: np.ndarray, size: int, dtype: str) -> Callable[[], Iterator[list[np.ndarray]]]:
    def batches() -> Iterator[list[np.ndarray]]:
        for start in range(0, len(samples) - size + 1, size):
            yield [samples[start : start + size].astype(dtype)]

    return batches


@contextmanager
def _plain_depthwise(network: Any) -> Iterator[None]:
    """Compute convolutions with one group per channel (ConvNeXt) as depthwise convolutions.

    Keras compiles grouped convolutions by XLA where there is no GPU, and a call of XLA has no counterpart in ONNX.
    """
    import keras

    layers = [
        layer
        for layer in flatten_layers(network)
        if type(layer) is keras.layers.Conv2D and 1 < layer.groups == layer.filters and layer.kernel.shape[-2] == 1
    ]
    for layer in layers:
        layer.convolution_op = functools.partial(_depthwise, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.convolution_op


def _depthwise(layer: Any, inputs: Any, kernel: Any) -> Any:
    from keras import ops

    by_channel = ops.transpose(kernel, (0, 1, 3, 2))
    return ops.depthwise_conv(inputs, by_channel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate)


@contextmanager
def _plain_gelu(network: Any) -> Iterator[None]:
    """Compute GELU by erf instead of TensorFlow's erfc, for which tf2onnx has no rule."""
    import keras

    layers = [each for each in flatten_layers(network) if getattr(each, "activation", None) is keras.activations.gelu]
    for layer in layers:
        layer.activation = _gelu
    try:
        yield
    finally:
        for layer in layers:
            layer.activation = keras.activations.gelu


def _gelu(x: Any) -> Any:
    """x Φ(x) with Φ(x) = (1 + erf(x / √2)) / 2 (Hendrycks and Gimpel 2016)."""
    from keras import ops

    half, root = (ops.cast(number, x.dtype) for number in (0.5, 2**0.5))
    return x * half * (1 + ops.erf(x / root))


def _export(
    network: Any,
    file: Path,
    form: str,
    name: str,
    shape: Shape | None,
    dtype: str,
    finish: Callable[[Path], None] | None = None,
    **options: Any,
) -> Path:
    """Export the network, and pass the file through `finish` before it gets its name."""
    import keras

    own = network.inputs[0]
    plain = _plain_gelu if form == "onnx" else nullcontext  # LiteRT knows GELU as it is
    signature = [keras.InputSpec(shape=shape or tuple(own.shape), dtype=dtype, name=own.name)]
    try:
        with replacing(file) as partial, quiet():
            with _plain_depthwise(network), plain(network):
                network.export(partial, format=form, input_signature=signature, verbose=False, **options)
            if form == "onnx":
                _check_onnx(partial)
            if finish is not None:
                finish(partial)
    except OSError as error:
        raise ZooError(f"{file} cannot be written: {error.strerror or error}.") from error
    except Exception as error:
        raise CannotConvert(f"{network.name} cannot be written as {name}: {_first_words(error)}") from error
    return file


def _check_onnx(file: Path) -> None:
    """Fail on operations without a rule: tf2onnx leaves them in the file under TensorFlow's name."""
    from onnx import checker

    checker.check_model(str(file))


def _first_words(error: Exception) -> str:
    """The start of a converter's message: it runs over pages of graph, and the first lines name the operation."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} …"


@contextmanager
def quiet() -> Iterator[None]:
    """Silence converters and runtimes, whose C++ code writes to the file descriptors themselves.

    Not for code in which other threads write to standard output or standard error.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as held, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in (1, 2):
            os.dup2(held.fileno(), number)
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
