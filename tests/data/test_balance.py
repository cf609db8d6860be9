"""Repeat factors: against the formula written out, and the epochs that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.tasks import Task
from zoo.data.balance import repeat_factors
from zoo.data.batches import TrainingBatches, occurrences

NAN = np.nan
MANY = Task("multilabel", ("Mass", "Nodule", "Hernia"))


def written_out(rows: list[list[float]], threshold: float | None) -> list[float]:
    """The factors of images, label by label in plain Python."""
    outputs = range(len(rows[0]))
    share = []
    for c in outputs:
        known = [row[c] for row in rows if not math.isnan(row[c])]
        share.append(sum(value == 1 for value in known) / len(known) if known else 0.0)
    t = sum(share) / len(share) if threshold is None else threshold
    factor = [max(1.0, math.sqrt(t / f)) if f else 1.0 for f in share]
    return [max([factor[c] for c in outputs if row[c] == 1], default=1.0) for row in rows]


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, NAN, 0.5]), min_size=3, max_size=3), min_size=1, max_size=30),
    st.one_of(st.none(), st.floats(0.001, 1)),
)
def test_factors_are_those_of_the_formula(rows: list[list[float]], threshold: float | None) -> None:
    found = repeat_factors(MANY, np.array(rows, np.float32), threshold)
    np.testing.assert_allclose(found.factors, written_out(rows, threshold), rtol=1e-6)


def test_a_worked_example() -> None:
    labels = np.zeros((100, 3), np.float32)
    labels[:40, 0], labels[30:40, 1], labels[99, 2] = 1, 1, 1
    found = repeat_factors(MANY, labels, 0.16)
    np.testing.assert_allclose(found.repeats, [1, math.sqrt(1.6), 4])
    np.testing.assert_allclose(found.before, [0.4, 0.1, 0.01])
    total = 89 + 10 * math.sqrt(1.6) + 4
    np.testing.assert_allclose(
        found.after, [(30 + 10 * math.sqrt(1.6)) / total, 10 * math.sqrt(1.6) / total, 4 / total]
    )
    assert found.images == math.floor(total)


@pytest.mark.parametrize(("kind", "names"), [("binary", ("Abnormal",)), ("multiclass", ("No Finding", "Mass"))])
def test_the_classes_of_exclusive_tasks_are_drawn_towards_even_shares(kind: str, names: tuple[str, ...]) -> None:
    has = np.arange(100) < 8
    labels = has[:, None] if kind == "binary" else np.stack([~has, has], axis=1)
    found = repeat_factors(Task(kind, names), labels.astype(np.float32))  # a kind from a parameter
    assert found.threshold == pytest.approx(0.5)
    np.testing.assert_allclose(found.factors, np.where(has, math.sqrt(0.5 / 0.08), 1))
    assert found.before[1] == pytest.approx(0.08)
    assert found.after[1] == pytest.approx(8 * 2.5 / (8 * 2.5 + 92))


def batches(factors: np.ndarray | None, size: int = 4, seed: int = 3) -> TrainingBatches:
    count = 20 if factors is None else len(factors)
    images = np.zeros((2 * count, 2, 2), np.uint8)
    return TrainingBatches(images, np.zeros((2 * count, 1), np.float32), 2 * np.arange(count), size, seed, factors)


@given(st.lists(st.floats(1, 6), min_size=1, max_size=40), st.integers(0, 4))
def test_an_epoch_shows_each_image_as_often_as_its_factor_rounded_up_or_down(factors: list[float], epoch: int) -> None:
    drawn = batches(np.array(factors), size=1)
    order = drawn.order(epoch)
    assert order.shape == (drawn.steps, 1)
    assert drawn.steps == math.floor(np.sum(factors))
    shown = np.array([(order == row).sum() for row in drawn.rows])
    assert (shown <= np.ceil(factors)).all()
    missed = np.maximum(np.floor(factors) - shown, 0)
    assert missed.sum() <= 1  # the one that may exceed the length of the epoch


def test_over_many_epochs_the_mean_is_the_factor() -> None:
    factors = np.array([1.0, 1.25, 2.5, 3.0, 1.0, 5.75])
    drawn = batches(factors, size=1)
    shown = np.mean([[(drawn.order(e) == row).sum() for row in drawn.rows] for e in range(2000)], axis=0)
    np.testing.assert_allclose(shown, factors * math.floor(factors.sum()) / factors.sum(), atol=0.05)


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    factors = np.linspace(1, 4, 30)
    np.testing.assert_array_equal(batches(factors).order(2), batches(factors).order(2))
    assert (batches(factors).order(2) != batches(factors).order(3)).any()
    assert (batches(factors).order(2) != batches(factors, seed=4).order(2)).any()


def test_factors_of_one_repeat_nothing_and_no_factors_change_nothing() -> None:
    assert sorted(batches(np.ones(20)).order(0).ravel()) == list(range(0, 40, 2))
    expected = np.random.default_rng([3, 1]).permutation(2 * np.arange(20)).reshape(5, 4)
    np.testing.assert_array_equal(batches(None).order(1), expected)


def test_occurrences_count_the_repetitions_in_order() -> None:
    rows = np.array([[4, 2, 4], [9, 4, 2]])
    np.testing.assert_array_equal(occurrences(rows), [[0, 0, 1], [0, 2, 1]])
