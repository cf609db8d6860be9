"""Paired comparisons of two runs: difference, interval, p values, and what may not be compared."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import Predictions, metrics
from zoo.evaluation.bootstrap import patient_weights
from zoo.evaluation.comparison import (
    METRICS,
    Comparison,
    compare,
    corrected,
    differences,
    measure,
)
from zoo.evaluation.delong import paired_test
from zoo.evaluation.p_values import bootstrap_p, holm

BINARY = Task("binary", ("Abnormal",))
SEVERAL = Task("multilabel", ("Mass", "Nodule", "Hernia"))
CLASSES = Task("multiclass", ("normal", "viral", "bacterial"))


def make_images(
    task: Task = BINARY, seed: int = 0, skill: float = 1.0, number: int = 120, per_patient: int = 2
) -> Predictions:
    """Images with the same labels whatever the seed, and logits that are as good as `skill`."""
    rng = np.random.default_rng(0)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    logits = skill * labels + np.random.default_rng(1000 + seed).normal(size=labels.shape)
    patients = [f"p{i // per_patient}" for i in range(number)]
    table = pd.DataFrame({"image": [f"{i:03d}.png" for i in range(number)], "patient": patients})
    return Predictions(task, table, labels, logits)


def compared(a: Predictions, b: Predictions, metric: str = "auroc", replicates: int = 300) -> Comparison:
    thresholds = dict.fromkeys(a.task.labels, 0.5)
    sides = [measure(n, f, metric, thresholds, replicates=replicates) for n, f in (("first", a), ("second", b))]
    return corrected([compare(*sides)])[0]


def test_a_good_run_differs_significantly_from_a_useless_one() -> None:
    found = compared(make_images(skill=4), make_images(seed=1, skill=0))
    assert found.overall.difference.low > 0.2
    assert found.overall.p == pytest.approx(2 / 301)  # the smallest that 300 resamples can give
    assert found.overall.significant
    back = compared(make_images(seed=1, skill=0), make_images(skill=4)).overall.difference
    there = found.overall.difference
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES])
@pytest.mark.parametrize("metric", METRICS)
def test_a_run_does_not_differ_from_itself(task: Task, metric: str) -> None:
    found = compared(make_images(task), make_images(task), metric, replicates=50)
    row = found.overall
    assert (row.difference.value, row.difference.low, row.difference.high, row.p, row.p_holm) == (0, 0, 0, 1, 1)
    assert not row.significant


def test_the_interval_is_that_of_the_same_patients_drawn_for_both_runs() -> None:
    a, b = make_images(skill=1.2), make_images(seed=1, skill=0.8)
    weights = patient_weights(a.table["patient"], 200, 0)
    replicates = []
    for w in weights.astype(int):
        rows = np.repeat(np.arange(len(a)), w)
        one, two = (metrics.auroc(each.labels[rows, 0], each.logits[rows, 0]) for each in (a, b))
        replicates.append(one - two)
    found = compared(a, b, replicates=200).overall
    low, high = np.quantile(replicates, [0.025, 0.975])
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high))
    below, above = np.mean(np.array(replicates) <= 0), np.mean(np.array(replicates) >= 0)
    assert found.p == pytest.approx(min(1, 2 * min(below * 200 + 1, above * 200 + 1) / 201))


def test_pairing_makes_the_interval_narrower_than_that_of_unrelated_draws() -> None:
    a = make_images(skill=1.0)
    b = Predictions(a.task, a.table, a.labels, a.logits + 0.2 * np.random.default_rng(9).normal(size=a.logits.shape))
    drawn = [measure("x", each, replicates=300, seed=seed).drawn[:, 0] for each, seed in ((a, 1), (b, 2))]
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    paired = compared(a, b).overall.difference
    assert paired.high - paired.low < (high - low) / 3


@pytest.mark.parametrize("task", [SEVERAL, CLASSES])
@pytest.mark.parametrize("metric", METRICS)
def test_the_whole_is_the_macro_average_of_an_evaluation(task: Task, metric: str) -> None:
    from zoo.evaluation import evaluate

    a, b = make_images(task, skill=2), make_images(task, seed=1)
    thresholds = dict.fromkeys(task.labels, 0.5)
    found = compared(a, b, metric, replicates=50)
    own, other = (evaluate(each, thresholds, split="test", replicates=50) for each in (a, b))
    assert found.overall.first == pytest.approx(own.averages["macro"][metric].value)
    assert found.overall.difference.value == pytest.approx(
        own.averages["macro"][metric].value - other.averages["macro"][metric].value
    )
    for label in task.labels:
        assert found.per_label[label].first == pytest.approx(own.per_label[label][metric].value)
    whole_only = task.exclusive and metric in ("accuracy", "balanced_accuracy")
    assert found.overall.label == ("all" if whole_only else "macro")


def test_the_order_of_the_images_does_not_matter() -> None:
    a, b = make_images(), make_images(seed=1)
    shuffled = np.random.default_rng(0).permutation(len(b))
    mixed = Predictions(b.task, b.table.iloc[shuffled].reset_index(drop=True), b.labels[shuffled], b.logits[shuffled])
    assert compared(a, mixed) == compared(a, b)


def test_a_label_that_is_undefined_is_left_out_of_the_whole_and_stays_undefined() -> None:
    a, b = make_images(SEVERAL), make_images(SEVERAL, seed=1)
    labels = a.labels.copy()
    labels[:, 2] = 0
    a, b = (Predictions(SEVERAL, each.table, labels, each.logits) for each in (a, b))
    found = compared(a, b)
    assert math.isnan(found.per_label["Hernia"].difference.value)
    assert math.isnan(found.per_label["Hernia"].p_holm)
    rows = [found.per_label[label] for label in ("Mass", "Nodule")]
    assert found.overall.first == pytest.approx(np.mean([row.first for row in rows]))
    assert sorted(row.p_holm for row in rows) == sorted(holm([row.p for row in rows]))
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["per_label"]["Hernia"]["p"] is None


def test_delong_is_given_for_one_image_per_patient_else_there_is_a_reason() -> None:
    a, b = (make_images(seed=s, per_patient=1) for s in (0, 1))
    found = compared(a, b)
    assert found.overall.p_delong == pytest.approx(paired_test(a.labels[:, 0], a.logits[:, 0], b.logits[:, 0]).p)
    assert found.no_delong is None
    clustered = compared(make_images(), make_images(seed=1))
    assert math.isnan(clustered.overall.p_delong)
    assert clustered.no_delong == "several_images_per_patient"
    assert (clustered.images, clustered.patients) == (120, 60)
    assert compared(a, b, "f1").no_delong == "not_auroc"
    several = compared(make_images(SEVERAL, per_patient=1), make_images(SEVERAL, seed=1, per_patient=1))
    assert math.isnan(several.overall.p_delong)
    assert 0 < several.per_label["Mass"].p_delong < 1
    assert several.no_delong == "mean_over_labels"


def test_p_values_are_uniform_where_two_runs_are_equally_good() -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(300):
        patient = np.repeat(np.arange(60), 2)
        labels = (rng.random(120) < 0.5).astype(float)[:, None]
        shared = rng.normal(size=60)[patient][:, None]
        table = pd.DataFrame({"image": [f"{i:03d}" for i in range(120)], "patient": patient.astype(str)})
        runs = [Predictions(BINARY, table, labels, labels + shared + rng.normal(size=(120, 1))) for _ in range(2)]
        found.append(compare(*(measure("", each, replicates=199) for each in runs)).overall.p)
    p = np.array(found)
    assert 0.02 <= (p < 0.05).mean() <= 0.09
    assert 0.4 <= (p < 0.5).mean() <= 0.6


def test_bootstrap_p_counts_both_sides_and_is_never_zero() -> None:
    assert bootstrap_p(np.array([1.0] * 99)) == pytest.approx(2 / 100)
    assert bootstrap_p(np.array([-1.0] * 99)) == pytest.approx(2 / 100)
    assert bootstrap_p(np.array([-1.0] * 9 + [1.0] * 90)) == pytest.approx(2 * 10 / 100)
    assert bootstrap_p(np.array([0.0] * 5)) == 1
    assert bootstrap_p(np.array([1.0, np.nan, 1.0])) == pytest.approx(2 / 3)
    assert math.isnan(bootstrap_p(np.array([np.nan])))


def test_holm_s_correction_of_a_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    one, undefined, two = holm([0.03, math.nan, 0.02])
    assert (one, two) == pytest.approx((0.04, 0.04))
    assert math.isnan(undefined)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_decides_as_the_step_down_procedure_does(p: list[float]) -> None:
    adjusted = holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    rejected = True
    for step, i in enumerate(order):
        level = 0.05 / (len(p) - step)
        if math.isclose(p[i], level, rel_tol=1e-9):
            return  # on the very edge rounding decides
        rejected = rejected and p[i] < level
        assert (adjusted[i] < 0.05) == rejected


def test_several_comparisons_are_corrected_together() -> None:
    best = measure("best", make_images(skill=1.4), replicates=300)
    others = [measure(str(s), make_images(seed=s, skill=1.0), replicates=300) for s in range(1, 5)]
    found = corrected([compare(other, best) for other in others])
    assert [each.overall.p_holm for each in found] == holm([each.overall.p for each in found])
    assert any(each.overall.p_holm > each.overall.p for each in found)


def test_runs_on_different_images_labels_tasks_or_patients_are_refused() -> None:
    a = make_images()
    b = make_images(seed=1)
    assert differences("a", a, "b", b) == []
    fewer = b.where(np.arange(120) >= 10)
    assert differences("a", a, "b", fewer) == [
        "they were measured on different images (10 images only in a, such as '000.png')"
    ]
    relabelled = Predictions(b.task, b.table, np.where(np.arange(120)[:, None] < 3, np.nan, b.labels), b.logits)
    assert differences("a", a, "b", relabelled) == ["the labels differ on 3 of 120 images, such as '000.png'"]
    assert differences("a", relabelled, "b", relabelled) == []
    (other,) = differences("a", a, "b", make_images(SEVERAL))
    assert other == "a predicts binary (Abnormal), b multilabel (Mass, Nodule, Hernia)"
    for wrong in (fewer, relabelled, make_images(SEVERAL)):
        with pytest.raises(DataError, match="first and second cannot be compared"):
            compared(a, wrong)
    strangers = Predictions(b.task, b.table.assign(patient=[f"q{i}" for i in range(120)]), b.labels, b.logits)
    with pytest.raises(DataError, match="different patients"):
        compared(a, strangers)


def test_without_an_interval_nothing_is_claimed() -> None:
    a, b = (make_images(seed=s, per_patient=120) for s in (0, 1))
    found = compared(a, b)
    assert math.isnan(found.overall.p)
    assert (found.patients, found.overall.significant) == (1, False)
    none = Predictions(a.task, a.table, np.zeros_like(a.labels), a.logits)
    assert math.isnan(compared(none, none).overall.difference.value)


def test_holm_multiplies_the_least_by_their_number_and_never_falls() -> None:
    assert holm(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])) == [1.0, 1.0]
    assert holm(np.empty(0)) == []
