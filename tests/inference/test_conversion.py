"""Conversion of networks to LiteRT and ONNX: what is written, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.core.errors import UsageError, ZooError
from zoo.inference.runtimes.convert import to_litert, to_onnx

SIZE = 32


def some_images(count: int, size: int = SIZE) -> np.ndarray:
    """Images of noise, uint8 `(count, size, size)`."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)


@pytest.mark.parametrize(("convert", "suffix"), [(to_litert, ".tflite"), (to_onnx, ".onnx")])
def test_what_cannot_be_expressed_is_named_and_leaves_nothing(
    convert: Callable[..., Path], suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = keras.Input((8, 8, 1), name="image")
    network = keras.Model(inputs, keras.ops.erfinv(keras.ops.mean(inputs, axis=(1, 2)) / 300.0), name="strange")
    with pytest.raises(ZooError, match=r"strange cannot be written as (LiteRT|ONNX): .*(?i:erfinv)"):
        convert(network, tmp_path / f"strange{suffix}")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize(("convert", "suffix"), [(to_litert, ".tflite"), (to_onnx, ".onnx")])
def test_a_convolution_by_channel_is_converted_whatever_layer_it_is(
    convert: Callable[..., Path], suffix: str, tmp_path: Path
) -> None:
    """ConvNeXt writes it as a Conv2D of as many groups as channels, which Keras compiles by XLA on a CPU."""
    inputs = keras.Input((8, 8, 1), name="image")
    wide = keras.layers.Conv2D(6, 3)(inputs)
    maps = keras.layers.Conv2D(6, 3, strides=2, padding="same", groups=6)(wide)
    network, images = keras.Model(inputs, maps, name="grouped"), some_images(1, 8)[..., None].astype("float32")
    expected = np.asarray(network(images))
    file = convert(network, tmp_path / f"grouped{suffix}", shape=(1, 8, 8, 1))
    if suffix == ".onnx":
        session = pytest.importorskip("onnxruntime").InferenceSession(str(file))
        (found,) = session.run(None, {session.get_inputs()[0].name: images})
    else:
        interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(file))
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
        interpreter.invoke()
        found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(network(images)), expected)  # the network itself is as before


@pytest.mark.slow
def test_shape_type_and_precision_of_a_litert_file(tmp_path: Path) -> None:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    inputs = keras.Input((SIZE, SIZE, 1), name="image")
    maps = keras.layers.Conv2D(16, 3, strides=2, activation="relu")(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(3)(keras.layers.Dense(256)(keras.layers.Flatten()(maps)))
    network, images = keras.Model(inputs, outputs, name="small"), some_images(12)[..., None]
    sizes = {}
    for quantize in (None, "float16", "int8"):
        file = to_litert(
            network, tmp_path / f"{quantize}.tflite", shape=(4, SIZE, SIZE, 1), quantize=quantize, samples=images
        )
        sizes[quantize] = file.stat().st_size
        opened = interpreter.Interpreter(model_path=str(file))
        opened.allocate_tensors()
        (given,) = opened.get_input_details()
        assert list(given["shape"]) == [4, SIZE, SIZE, 1]
        assert given["dtype"] is np.float32
        opened.set_tensor(given["index"], images[:4].astype(np.float32))
        opened.invoke()
        got = opened.get_tensor(opened.get_output_details()[0]["index"])
        expected = network.predict(images[:4], verbose=0)
        close = {None: 1e-5, "float16": 1e-2, "int8": 0.2}[quantize]
        np.testing.assert_allclose(got, expected, rtol=0, atol=close * max(1.0, float(np.abs(expected).max())))
    assert sizes["float16"] < sizes[None]
    with pytest.raises(UsageError, match="at least 10 images to take its ranges from, not 0"):
        to_litert(network, tmp_path / "none.tflite", quantize="int8")
