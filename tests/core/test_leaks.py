"""A run whose test films share patients, pixels or names with earlier ones is told so."""

from __future__ import annotations

import pandas as pd
import pytest

from zoo.evaluation.leaks import leaks

FILMS = pd.DataFrame(
    {
        "image": ["a", "b", "c", "d"],
        "patient": ["1", "2", "3", "4"],
        "split": ["train", "val", "test", "test"],
        "digest": ["x", "y", "z", "w"],
    }
)


def test_separate_splits_are_silent() -> None:
    assert leaks(FILMS, "test") == leaks(FILMS, "val") == ()
    assert leaks(FILMS.drop(columns="digest"), "test") == ()


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("patient", "1", "1 of the 2 test films belong to patients that"),
        ("patient", "2", "1 of the 2 test films belong to patients that"),
        ("digest", "x", "1 of the 2 test films are, pixel for pixel, films that"),
        ("image", "b", "1 of the 2 test films have the names of films that"),
    ],
)
def test_what_is_shared_with_training_or_validation_is_named(column: str, value: str, words: str) -> None:
    films = FILMS.copy()
    films.loc[2, column] = value
    (sentence,) = leaks(films, "test")
    assert sentence.startswith(f"Leak: {words} the network was trained or chosen on (for example ")
    assert leaks(films, "val") == ()


def test_validation_is_compared_with_training_alone() -> None:
    films = FILMS.copy()
    films.loc[1, "patient"] = "1"
    assert len(leaks(films, "val")) == 1
    films.loc[1, "patient"] = "3"
    assert leaks(films, "val") == ()


def test_a_film_without_a_patient_shares_none() -> None:
    films = FILMS.copy()
    films.loc[[0, 2], "patient"] = None
    assert leaks(films, "test") == ()
