"""Agreement of readers against published examples and formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from zoo.evaluation.agreement import agreement, cohen_kappa, fleiss_kappa, gwet_ac1

# Fleiss 1971, table 1: how many of six psychiatrists gave each of 30 patients one of five diagnoses
DIAGNOSES = """00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031
00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"""


def ratings_of(counts: str) -> np.ndarray:
    """Ratings `(N, R)` from the number of readers per category of each image."""
    return np.array([np.repeat(np.arange(len(row)), [int(c) for c in row]) for row in counts.split()], dtype=float)


def pairs_of(table: list[list[int]]) -> np.ndarray:
    """Ratings `(N, 2)` from a cross table."""
    return np.array([(i, j) for (i, j), count in np.ndenumerate(table) for _ in range(count)], dtype=float)


def test_fleiss_example_of_psychiatric_diagnoses() -> None:
    ratings = ratings_of(DIAGNOSES)
    assert ratings.shape == (30, 6)
    assert [int((ratings == k).sum()) for k in range(5)] == [26, 26, 30, 55, 43]  # the totals that the table prints
    assert fleiss_kappa(ratings) == pytest.approx(0.430, abs=5e-4)


def test_cohen_s_example_of_1960() -> None:
    first, second = pairs_of([[88, 10, 2], [14, 40, 6], [18, 10, 12]]).T
    assert cohen_kappa(first, second) == pytest.approx(0.492, abs=5e-4)


def test_the_abstractors_of_irrcac() -> None:
    ratings = pairs_of([[13, 0, 0], [0, 20, 7], [0, 4, 56]])
    assert cohen_kappa(*ratings.T) == pytest.approx(0.7964094, abs=5e-8)
    assert gwet_ac1(ratings) == pytest.approx(0.8493305, abs=5e-8)


def test_four_raters_with_missing_ratings_as_irrcac_prints_them() -> None:
    """cac.raw4raters of the R package irrCAC: AC1 .77544 and Fleiss' kappa .76117."""
    n = math.nan
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, n, n, n],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, n, 3],
        [n, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, n],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, n],
    ]
    ratings = np.array(rows, dtype=float).T
    assert gwet_ac1(ratings) == pytest.approx(0.77544, abs=5e-6)
    assert fleiss_kappa(ratings) == pytest.approx(0.76117, abs=5e-6)


def test_ac1_stays_where_kappa_falls() -> None:
    """Gwet 2002 on the table 118, 5, 2, 0: 94% agreement, a kappa below zero, an AC1 of .94."""
    ratings = pairs_of([[118, 5], [2, 0]])
    assert cohen_kappa(*ratings.T) == pytest.approx(-0.0234, abs=5e-5)
    assert gwet_ac1(ratings) == pytest.approx(0.9408, abs=5e-5)


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 2), min_size=2, max_size=40))
@settings(deadline=None, max_examples=50)
def test_cohen_s_kappa_is_scikit_learn_s(rows: list[tuple[int, int]]) -> None:
    first, second = np.array(rows, dtype=float).T
    if len({*first, *second}) == 1:
        assert math.isnan(cohen_kappa(first, second))
    else:
        assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)


def test_intervals_rest_on_patients_and_hold_every_pair() -> None:
    rng = np.random.default_rng(0)
    signs = rng.random(60) < 0.4
    ratings = np.column_stack([np.where(rng.random(60) < 0.15, ~signs, signs) for _ in range(3)]).astype(float)
    ratings[0, 0] = math.nan
    names, alone = ("a", "b", "c"), np.arange(60).astype(str)
    found = agreement(ratings, alone, names)
    assert (found.images, found.patients) == (60, 60)
    assert found.fleiss.value == fleiss_kappa(ratings)
    assert found.ac1.value == gwet_ac1(ratings)
    assert [(p.first, p.second, p.images) for p in found.pairs] == [("a", "b", 59), ("a", "c", 59), ("b", "c", 60)]
    assert found.pairs[2].kappa.value == cohen_kappa(ratings[:, 1], ratings[:, 2])
    assert found.fleiss.low < found.fleiss.value < found.fleiss.high
    # the same images four times over, of the same patients, say no more
    same = agreement(np.repeat(ratings, 4, axis=0), np.repeat(alone, 4), names)
    other = agreement(np.repeat(ratings, 4, axis=0), np.arange(240).astype(str), names)
    width = found.fleiss.high - found.fleiss.low
    assert same.fleiss.high - same.fleiss.low == pytest.approx(width)
    assert other.fleiss.high - other.fleiss.low < 0.7 * width


def test_full_agreement_of_few_patients_is_no_point() -> None:
    """Wilson's bound for 20 of 20 is .839; half the images being of each category, chance takes .5 off kappa."""
    ratings = np.repeat(np.arange(20.0)[:, None] % 2, 2, axis=1)
    found = agreement(ratings, np.arange(20).astype(str), ("a", "b"), replicates=100)
    assert (found.agree.value, found.fleiss.value, found.pairs[0].kappa.high) == (1, 1, 1)
    assert found.agree.low == pytest.approx(0.839, abs=5e-4)
    for kappa in (found.fleiss, found.ac1, found.pairs[0].kappa):
        assert kappa.low == pytest.approx(2 * found.agree.low - 1)
