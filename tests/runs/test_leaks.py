"""Test images that share patients, pixels or names with earlier ones are found."""

from __future__ import annotations

import pandas as pd
import pytest

from zoo.runs.leaks import Leak, find_leaks

IMAGES = pd.DataFrame(
    {
        "image": ["a", "b", "c", "d"],
        "patient": ["1", "2", "3", "4"],
        "split": ["train", "val", "test", "test"],
        "digest": ["x", "y", "z", "w"],
    }
)


def test_separate_splits_share_nothing() -> None:
    assert find_leaks(IMAGES, "test") == find_leaks(IMAGES, "val") == ()
    assert find_leaks(IMAGES.drop(columns="digest"), "test") == ()


@pytest.mark.parametrize(
    ("column", "value", "shared"),
    [("patient", "1", "patient"), ("patient", "2", "patient"), ("digest", "x", "pixels"), ("image", "b", "name")],
)
def test_what_is_shared_with_training_or_validation_is_named(column: str, value: str, shared: str) -> None:
    images = IMAGES.copy()
    images.loc[2, column] = value
    assert find_leaks(images, "test") == (Leak(shared, "test", 1, 2, images["image"][2]),)
    assert find_leaks(images, "val") == ()


def test_validation_is_compared_with_training_alone() -> None:
    images = IMAGES.copy()
    images.loc[1, "patient"] = "1"
    assert len(find_leaks(images, "val")) == 1
    images.loc[1, "patient"] = "3"
    assert find_leaks(images, "val") == ()


def test_an_image_without_a_patient_shares_none() -> None:
    images = IMAGES.copy()
    images.loc[[0, 2], "patient"] = None
    assert find_leaks(images, "test") == ()
