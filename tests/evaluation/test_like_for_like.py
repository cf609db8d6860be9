"""Means of two sets of images over the labels that both define, and how often a drop is claimed where there is none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from zoo.core.tasks import Task
from zoo.evaluation import Drop, Evaluation, Interval, Predictions, evaluate, measure_drop
from zoo.evaluation.like_for_like import common_labels, common_means, independent_difference

SEVERAL = Task("multilabel", ("Mass", "Edema", "Hernia"))
BINARY = Task("binary", ("Abnormal",))


def make_images(task: Task, seed: int, patients: int = 80, each: int = 2, signal: float = 1.0) -> Predictions:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), each)
    of_patient = rng.normal(size=(patients, task.outputs))[owner]
    labels = (rng.random((patients, task.outputs)) < 0.4)[owner].astype(float)
    logits = signal * labels + np.sqrt(0.5) * (of_patient + rng.normal(size=labels.shape))
    table = pd.DataFrame(
        {"image": [f"{seed}-{i}" for i in range(len(owner))], "patient": [f"{seed}-{p}" for p in owner]}
    )
    return Predictions(task, table, labels, logits)


def run(images: Predictions, split: str = "test") -> Evaluation:
    return evaluate(images, dict.fromkeys(images.task.labels, 0.5), split=split)


def drop_of(before: Predictions, after: Predictions) -> Drop | None:
    return measure_drop(run(before, "val"), run(after), before, after)


def test_a_drop_is_over_the_labels_that_both_define() -> None:
    before, after = make_images(SEVERAL, 0, signal=2), make_images(SEVERAL, 1, signal=2)
    before.logits[:, 2] += 9 * before.labels[:, 2]  # Hernia is perfect on validation, and absent from test
    after.labels[:, 2] = 0
    found = drop_of(before, after)
    assert found is not None
    assert (found.labels, found.left_out) == (("Mass", "Edema"), ("Hernia",))
    val, test = run(before, "val"), run(after)
    like = [np.mean([each.per_label[label]["auroc"].value for label in ("Mass", "Edema")]) for each in (val, test)]
    assert [found.validation.value, found.test.value] == pytest.approx(like)
    assert found.difference.value == pytest.approx(like[0] - like[1])
    assert val.headline.value - test.headline.value > found.difference.value + 0.01
    assert (found.validation.low, found.validation.high) != (val.headline.low, val.headline.high)
    assert found.test == test.headline  # which is over these labels already


def test_the_same_labels_keep_the_headlines_and_none_in_common_gives_nothing() -> None:
    before, after = make_images(SEVERAL, 0), make_images(SEVERAL, 1)
    found = drop_of(before, after)
    assert found is not None
    assert found.left_out == ()
    assert (found.validation, found.test) == (run(before, "val").headline, run(after).headline)
    before.labels[:, :2], after.labels[:, 2] = 0, 0
    assert drop_of(before, after) is None


def test_means_and_labels_of_any_metric() -> None:
    before, after = make_images(SEVERAL, 0), make_images(SEVERAL, 1)
    after.logits[:, 0] = -9  # no Mass is predicted: its precision is undefined
    val, test = run(before, "val"), run(after)
    assert common_labels(val, test, "precision") == (("Edema", "Hernia"), ("Mass",))
    assert common_labels(val, test, "auroc") == (SEVERAL.labels, ())
    expected = [
        np.mean([each.per_label[label]["precision"].value for label in ("Edema", "Hernia")]) for each in (val, test)
    ]
    means = common_means(val, test, ("auroc", "precision"))
    assert list(means) == ["precision"]  # the other is over the same labels
    assert means["precision"] == (("Edema", "Hernia"), *map(pytest.approx, expected))
    after.labels[:] = 0
    labels, *undefined = common_means(val, run(after), ("auroc",))["auroc"]
    assert labels == ()
    assert all(map(math.isnan, undefined))


def test_the_interval_of_a_difference_is_recovered_from_both() -> None:
    # Zou and Donner 2008: l = d - sqrt((p1 - l1)^2 + (u2 - p2)^2), u = d + sqrt((u1 - p1)^2 + (p2 - l2)^2)
    found = independent_difference(Interval(0.8, 0.74, 0.84), Interval(0.7, 0.66, 0.78))
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.0, 0.1 + math.hypot(0.04, 0.04)))
    assert math.isnan(independent_difference(Interval(0.8, math.nan, math.nan), Interval(0.7, 0.6, 0.8)).low)


def test_a_large_drop_is_clear_and_without_intervals_none_is() -> None:
    before, after = make_images(BINARY, 0, signal=2.5), make_images(BINARY, 1, signal=0.3)
    found = drop_of(before, after)
    assert found is not None
    assert found.clear
    assert not replace(found, difference=Interval(0.2, math.nan, math.nan)).clear
    assert not replace(found, difference=Interval(0.06, -0.01, 0.13)).clear


@pytest.mark.parametrize(("patients", "each"), [(60, 1), (120, 3)])
def test_a_drop_is_rarely_claimed_where_there_is_none(patients: int, each: int) -> None:
    """A rule of "more than .05 below, or intervals apart" claimed one in 12 to 31 of 100; the bound is 6 and its noise."""
    repeats = 150
    claimed = 0
    for seed in range(repeats):
        found = drop_of(*(make_images(BINARY, 2 * seed + i, patients, each) for i in (0, 1)))
        claimed += found is not None and found.clear
    assert claimed / repeats <= 0.06
