"""Resizing inside exported files: images of the network's size as they are, others close to zoo's own resizing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.core.registry import registry
from zoo.data.resize import square
from zoo.export.preprocess import graph_resizing, keras_resizing, onnx_resizing
from zoo.export.trial_images import drawn_images
from zoo.inference.runtimes.convert import OPSET, to_litert

SIZE = 224
Resizer = Callable[[np.ndarray], np.ndarray]
FORMATS = ("keras", "litert", "onnx")


@functools.cache
def radiograph() -> np.ndarray:
    return square(drawn_images(1, registry(), size=1024).pixels[0], 1024)


def image(height: int, width: int) -> np.ndarray:
    return square(radiograph(), max(height, width))[:height, :width].copy()


@pytest.fixture(scope="module", params=FORMATS)
def resizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Resizer:
    """A function from images `(N, H, W, 1)` uint8 to `(N, 224, 224, 1)`, by the runtime of a format."""
    folder = tmp_path_factory.mktemp("resize")
    if request.param == "onnx":
        return by_onnx(folder)
    given = keras.Input((None, None, 1), dtype="uint8", name="image")
    if request.param == "keras":
        return lambda images: np.asarray(keras.Model(given, keras_resizing(given, SIZE))(images))
    return by_litert(to_litert(keras.Model(given, graph_resizing(given, SIZE)), folder / "a.tflite", dtype="uint8"))


def by_litert(file: Path) -> Resizer:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(str(file))
    put, get = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(put, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(put, images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(get))

    return run


def by_onnx(folder: Path) -> Resizer:
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    network = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": {OPSET}]> network (float[N, {SIZE}, {SIZE}, 1] pixels) => '
        f"(float[N, {SIZE}, {SIZE}, 1] same) {{ same = Identity(pixels) }}"
    )
    joined = onnx_resizing(network, SIZE)
    onnx.checker.check_model(joined)
    onnx.save(joined, folder / "a.onnx")
    session = runtime.InferenceSession(str(folder / "a.onnx"), providers=["CPUExecutionProvider"])
    return lambda images: np.asarray(session.run(None, {"image": images})[0])


def resized(resizer: Resizer, pixels: np.ndarray) -> np.ndarray:
    found = resizer(pixels[None, ..., None])
    assert (found.shape, found.dtype) == ((1, SIZE, SIZE, 1), np.float32)
    return found[0, ..., 0]


def test_images_of_the_network_s_size_pass_through_untouched(resizer: Resizer) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    np.testing.assert_array_equal(resized(resizer, noise), noise)


# 1.03 to 10.9 times the size, half of it, and images taller, wider and much longer than wide
SHAPES = [(230, 230), (350, 350), (447, 447), (448, 448), (700, 700), (1024, 1024), (2450, 2450), (112, 112)]
SHAPES += [(224, 116), (1024, 801), (801, 1024), (665, 1046), (70, 300)]


@pytest.mark.parametrize("shape", SHAPES)
def test_other_images_are_within_a_gray_level_of_zoo_in_the_mean(resizer: Resizer, shape: tuple[int, int]) -> None:
    pixels = image(*shape)
    found = resized(resizer, pixels)
    assert np.abs(found - square(pixels, SIZE)).mean() <= 1
    assert np.array_equal(found, np.round(found))  # gray levels
    assert (found.min() >= 0, found.max() <= 255) == (True, True)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 224)])
def test_the_smallest_images_are_resized(resizer: Resizer, shape: tuple[int, int]) -> None:
    found = resized(resizer, np.full(shape, 200, np.uint8))
    assert (found.min() >= 0, found.max() <= 200) == (True, True)
    assert found.mean() == pytest.approx(200 * min(shape) / max(shape), rel=0.1, abs=1)


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_an_even_image_stays_even(resizer: Resizer, level: int) -> None:
    for side in (45, 245, 1045):
        assert (resized(resizer, np.full((side, side), level, np.uint8)) == level).all()


def test_several_images_at_once_are_each_resized_alone(resizer: Resizer) -> None:
    images = np.stack([image(290, 270), image(290, 270)[::-1], image(290, 270)[:, ::-1]])
    together = resizer(images[..., None])[..., 0]
    assert np.array_equal(together, [resized(resizer, each) for each in images])


@pytest.mark.parametrize("resize", [keras_resizing, graph_resizing])
def test_float_images_become_gray_levels(resize: Callable[[Any, int], Any]) -> None:
    given: Any = keras.Input((None, None, 1), dtype="float32")
    model = keras.Model(given, resize(given, SIZE))
    pixels = np.random.default_rng(0).uniform(-20, 275, (1, SIZE, SIZE, 1)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(model(pixels)), np.rint(np.clip(pixels, 0, 255)))
