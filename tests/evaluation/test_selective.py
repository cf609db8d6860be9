"""Selective prediction against brute force: errors of the images kept, and the area of the risk–coverage curve."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zoo.core.tasks import Task
from zoo.evaluation import Predictions
from zoo.evaluation.selective import selective


def images(number: int = 400, outputs: int = 1, kind: str = "binary", seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 2, (number, outputs))
    y = (rng.random(z.shape) < 1 / (1 + np.exp(-z))).astype(float)
    if kind == "multiclass":
        y = np.eye(outputs)[z.argmax(axis=1) if seed else rng.integers(0, outputs, number)]
    table = pd.DataFrame({"image": [f"{i:04}" for i in range(number)], "patient": [str(i // 2) for i in range(number)]})
    return Predictions(Task(kind, tuple("ABC"[:outputs])), table, y, z)


@pytest.mark.parametrize("threshold", [0.5, 0.2, 2.5])  # the last is a logit
def test_errors_are_counted_by_distance_from_the_threshold(threshold: float) -> None:
    found = images()
    z, y = found.logits[:, 0].astype(float), found.labels[:, 0] == 1
    limit = threshold if threshold > 1 else np.log(threshold / (1 - threshold))
    wrong = (z >= limit) != y
    order = np.argsort(-np.abs(z - limit), kind="stable")
    (row,) = selective(found, {"A": threshold})
    assert row.error.value == pytest.approx(wrong.mean())
    assert row.error_kept.value == pytest.approx(wrong[order[:360]].mean())
    assert row.error_referred.value == pytest.approx(wrong[order[360:]].mean())
    assert row.aurc == pytest.approx(np.mean([wrong[order[:n]].mean() for n in range(1, 401)]))
    assert row.curve == pytest.approx({f"{n / 20:g}": wrong[order[: 20 * n]].mean() for n in range(1, 21)})
    assert row.error_kept.low < row.error_kept.value < row.error_kept.high


def test_certainty_that_says_something_leaves_fewer_errors() -> None:
    (row,) = selective(images(4000), {"A": 0.5})
    assert row.error_kept.high < row.error_referred.low
    assert row.aurc < row.error.value
    (noise,) = selective(images(4000, 3, "multiclass"), {})
    assert noise.label == "all"
    assert noise.aurc == pytest.approx(noise.error.value, abs=0.03)


def test_unknown_labels_do_not_count() -> None:
    found = images(60, 2, "multilabel")
    labels = found.labels.copy()
    labels[:30, 0] = np.nan
    labels[:, 1] = np.nan
    first, second = selective(Predictions(found.task, found.table, labels, found.logits), {"A": 0.5, "B": 0.5})
    assert first.error.value == pytest.approx(((found.logits[30:, 0] >= 0) != (labels[30:, 0] == 1)).mean())
    assert np.isnan(second.error.value)
    assert np.isnan(second.aurc)
