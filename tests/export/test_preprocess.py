"""Resizing inside an exported file gives Pillow's gray levels, for images of any size and shape."""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.data.resize import square
from zoo.export.preprocess import prepare


@functools.cache
def resizer(size: int, dtype: str = "uint8") -> Any:
    image = keras.Input((None, None, 1), dtype=dtype)
    return keras.Model(image, prepare(image, size))


def resized(image: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(resizer(size)(image[None, ..., None]))[0, ..., 0]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


# sides of 1.14, 4, 13.6, 3.004 and .9 times 224; images taller, wider and much longer than wide
SHAPES = [
    (256, 256),
    (1024, 1024),
    (1024, 803),
    (2500, 3056),
    (673, 448),
    (201, 190),
    (224, 224),
    (7, 900),
    (1, 1),
    (224, 3),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [28, 96, 224])
def test_images_come_out_as_pillow_resizes_them(shape: tuple[int, int], size: int) -> None:
    image = noise(*shape)
    np.testing.assert_array_equal(resized(image, size), square(image, size))


@settings(deadline=None, max_examples=40)
@given(
    size=st.sampled_from([16, 33, 100, 299]),
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    seed=st.integers(0, 9),
)
def test_images_of_any_size_do(size: int, height: int, width: int, seed: int) -> None:
    image = noise(height, width, seed)
    np.testing.assert_array_equal(resized(image, size), square(image, size))


@pytest.mark.parametrize(("size", "shape"), [(512, (257, 250)), (400, (5, 5)), (640, (639, 600)), (100, (9001, 70))])
def test_much_enlarged_and_huge_images_are_within_a_gray_level(size: int, shape: tuple[int, int]) -> None:
    image = noise(*shape)
    difference = np.abs(resized(image, size) - square(image, size).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("level", [0, 1, 127, 128, 254, 255])
def test_an_even_image_stays_even(level: int) -> None:
    assert (resized(np.full((345, 345), level, np.uint8), 224) == level).all()


def test_several_images_at_once_are_each_resized_alone() -> None:
    images = np.stack([noise(90, 70, seed) for seed in range(3)])
    together = np.asarray(resizer(32)(images[..., None]))[..., 0]
    assert np.array_equal(together, [square(image, 32) for image in images])


def test_float_images_are_rounded_to_gray_levels() -> None:
    image = np.random.default_rng(0).uniform(-20, 275, (80, 61)).astype(np.float32)
    found = np.asarray(resizer(32, "float32")(image[None, ..., None]))[0, ..., 0]
    assert np.array_equal(found, square(np.rint(np.clip(image, 0, 255)).astype(np.uint8), 32))
