"""A run whose test images share patients, pixels or names with earlier ones is told so."""

from __future__ import annotations

import pandas as pd
import pytest

from zoo.runs.leaks import leaks

IMAGES = pd.DataFrame(
    {
        "image": ["a", "b", "c", "d"],
        "patient": ["1", "2", "3", "4"],
        "split": ["train", "val", "test", "test"],
        "digest": ["x", "y", "z", "w"],
    }
)


def test_separate_splits_are_silent() -> None:
    assert leaks(IMAGES, "test") == leaks(IMAGES, "val") == ()
    assert leaks(IMAGES.drop(columns="digest"), "test") == ()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("patient", "1", "1 of the 2 test images belong to patients that"),
        ("patient", "2", "1 of the 2 test images belong to patients that"),
        ("digest", "x", "1 of the 2 test images are, pixel for pixel, images that"),
        ("image", "b", "1 of the 2 test images have the names of images that"),
    ],
)
def test_what_is_shared_with_training_or_validation_is_named(column: str, value: str, words: str) -> None:
    images = IMAGES.copy()
    images.loc[2, column] = value
    (sentence,) = leaks(images, "test")
    assert sentence.startswith(f"Leak: {words} the network was trained or chosen on (for example ")
    assert leaks(images, "val") == ()


def test_validation_is_compared_with_training_alone() -> None:
    images = IMAGES.copy()
    images.loc[1, "patient"] = "1"
    assert len(leaks(images, "val")) == 1
    images.loc[1, "patient"] = "3"
    assert leaks(images, "val") == ()


def test_an_image_without_a_patient_shares_none() -> None:
    images = IMAGES.copy()
    images.loc[[0, 2], "patient"] = None
    assert leaks(images, "test") == ()
