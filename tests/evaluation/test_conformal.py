"""Conformal sets: the guarantee on simulated patients, the quantile of the paper, and too few images."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from zoo.core.tasks import Task
from zoo.evaluation import Predictions
from zoo.evaluation.conformal import conformal_sets


def images(patients: int, seed: int, most: int = 8) -> Predictions:
    """1 to 8 images of a patient, which have much in common."""
    rng = np.random.default_rng(seed)
    people = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    label = (rng.random(patients) < 0.3)[people].astype(float)
    logits = 1.5 * label + rng.normal(size=patients)[people] + 0.3 * rng.normal(size=len(people))
    table = pd.DataFrame({"image": [str(i) for i in range(len(people))], "patient": [f"{seed}-{p}" for p in people]})
    return Predictions(Task("binary", ("A",)), table, label[:, None], logits[:, None])


def test_the_threshold_is_the_papers_quantile() -> None:
    # Angelopoulos & Bates 2021, section 1: the ⌈(n + 1)(1 − alpha)⌉-th smallest score
    validation = images(400, 0, most=1)
    (found,) = conformal_sets(validation, images(50, 1))
    negative = np.sort(validation.logits[validation.labels == 0])
    assert found.highest_no == pytest.approx(negative[math.ceil((len(negative) + 1) * 0.9) - 1])
    positive = np.sort(-validation.logits[validation.labels == 1])
    assert found.lowest_yes == pytest.approx(-positive[math.ceil((len(positive) + 1) * 0.9) - 1])


def test_sets_hold_the_label_as_often_as_promised_for_new_patients() -> None:
    test = images(3000, 1)
    covered = []
    for seed in range(60):
        (found,) = conformal_sets(images(120, 100 + seed), test, seed=seed)
        covered.append((found.covered_positive.value, found.covered_negative.value))
    for mean in np.mean(covered, axis=0):
        assert 0.885 <= mean <= 0.94  # 1 − alpha to 1 − alpha + 1 / (n + 1), and its Monte-Carlo error


def test_too_few_positive_patients_leave_every_set_with_yes() -> None:
    validation = images(20, 3, most=1)
    few = validation.where((validation.labels[:, 0] == 0) | (np.cumsum(validation.labels[:, 0]) <= 3))
    (found,) = conformal_sets(few, images(200, 4))
    assert found.lowest_yes == -math.inf
    assert found.covered_positive.value == 1
    assert found.to_dict()["lowest_yes"] is None


def test_uncertain_images_are_those_with_both_or_neither() -> None:
    validation, test = images(300, 5), images(300, 6)
    (found,) = conformal_sets(validation, test)
    yes, no = test.logits[:, 0] >= found.lowest_yes, test.logits[:, 0] <= found.highest_no
    assert found.uncertain.value == pytest.approx((yes == no).mean())
    assert found.uncertain.low < found.uncertain.value < found.uncertain.high
