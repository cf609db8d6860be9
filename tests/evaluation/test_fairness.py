"""Gaps in under- and over-diagnosis: against counts by hand, planted gaps, and none where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from zoo.core.tasks import Task
from zoo.evaluation import Predictions
from zoo.evaluation.fairness import Fairness, fairness


def images(
    number: int = 800, *, seed: int = 0, missed: float = 0.3, worse: float = 0.0, names: tuple[str, ...] = ("A", "B")
) -> Predictions:
    """Two images a patient; positives are missed with probability `missed`, of women with `worse` more."""
    rng = np.random.default_rng(seed)
    people = np.arange(number) // 2
    sex = rng.choice(["F", "M"], number // 2)[people]
    age = rng.choice([30, 50, 70], number // 2)[people]
    labels = (rng.random((number, len(names))) < 0.4).astype(float)
    wrong = np.where(labels > 0.5, missed + worse * (sex == "F")[:, None], 0.2)
    positive = (labels > 0.5) ^ (rng.random(labels.shape) < wrong)
    table = pd.DataFrame(
        {"image": [str(i) for i in range(number)], "patient": people.astype(str), "sex": sex, "age": age}
    )
    return Predictions(Task("multilabel", names), table, labels, np.where(positive, 2.0, -2.0))


def measured(found: Predictions, **options: Any) -> dict[tuple[str, str, str], Fairness]:
    rows = fairness(found, dict.fromkeys(found.task.labels, 0.5), **options)
    return {(row.column, row.group, row.label): row for row in rows}


def wrong(found: Predictions, mask: np.ndarray, k: int, label: float) -> float:
    chosen = mask & (found.labels[:, k] == label)
    return float(((found.logits[chosen, k] > 0) != (label == 1)).mean())


def test_rates_and_gaps_are_those_counted_by_hand() -> None:
    found = images()
    rows, women = measured(found), (found.table["sex"] == "F").to_numpy()
    row = rows["sex", "F", "B"]
    for rate, label in ((row.under_diagnosis, 1.0), (row.over_diagnosis, 0.0)):
        assert rate.value.value == pytest.approx(wrong(found, women, 1, label))
        assert rate.gap.value == pytest.approx(wrong(found, women, 1, label) - wrong(found, ~women, 1, label))
        assert rate.value.low < rate.value.value < rate.value.high
        assert rate.gap.low < rate.gap.value < rate.gap.high
    expected = np.mean([wrong(found, women, k, 1.0) for k in (0, 1)])
    assert rows["sex", "F", "macro"].under_diagnosis.value.value == pytest.approx(expected)
    assert rows["sex", "F", "macro"].images == women.sum()


def test_sex_and_age_are_crossed() -> None:
    found = images()
    rows = measured(found)
    chosen = ((found.table["sex"] == "M") & (found.table["age"] == 70)).to_numpy()
    row = rows["sex × age", "M 60-79", "A"]
    assert row.images == chosen.sum()
    assert row.under_diagnosis.value.value == pytest.approx(wrong(found, chosen, 0, 1.0))
    assert len({group for column, group, _ in rows if column == "sex × age"}) == 6


def test_predicting_a_healthy_label_in_error_is_under_diagnosis() -> None:
    # Seyyed-Kalantari et al. 2021: the false-positive rate of "No Finding"
    found = images(names=("No Finding", "Mass"))
    women = (found.table["sex"] == "F").to_numpy()
    row = measured(found)["sex", "F", "No Finding"]
    assert row.under_diagnosis.value.value == pytest.approx(wrong(found, women, 0, 0.0))
    assert row.over_diagnosis.value.value == pytest.approx(wrong(found, women, 0, 1.0))
    assert ("sex", "F", "macro") not in measured(found)  # one finding only


def test_a_planted_gap_is_clear_and_counts_once() -> None:
    rows = measured(images(2000, worse=0.3))
    row = rows["sex", "F", "macro"]
    assert row.under_diagnosis.clear
    assert row.under_diagnosis.gap.low > 0.2
    assert not row.over_diagnosis.clear
    assert not rows["sex", "M", "macro"].under_diagnosis.examined  # the same gap seen from the other side


def test_equal_groups_have_a_clear_gap_in_one_of_twenty_cases_at_most() -> None:
    clear = 0
    for seed in range(40):
        rows = fairness(images(300, seed=seed), {"A": 0.5, "B": 0.5})
        clear += any(row.under_diagnosis.clear or row.over_diagnosis.clear for row in rows)
        alone = [
            r for row in rows for r in (row.under_diagnosis, row.over_diagnosis) if r.gap.low > 0 or r.gap.high < 0
        ]
        assert all(not rate.clear or rate.examined for rate in alone)
    assert clear <= 5  # 40 × .05 and twice the Monte-Carlo error of that


def test_few_images_are_not_examined_and_unknown_groups_not_shown() -> None:
    found = images(60)
    found.table.loc[:20, "sex"] = None
    rows = measured(found, columns=["sex"])
    assert {group for _, group, _ in rows} == {"F", "M"}
    small = measured(images(20), columns=["sex"])
    assert not any(row.under_diagnosis.examined for row in small.values())
    alike = images(100)
    alike.table["sex"] = "F"
    assert not measured(alike, columns=["sex"])
