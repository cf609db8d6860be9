"""Intervals of single metrics: published examples, no points, and coverage from few patients on."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo.core.tasks import Task
from zoo.evaluation import Interval, Predictions, evaluate, influence
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.interval import METHODS, difference, intervals, mean_intervals, quantile, wilson
from zoo.evaluation.metrics import METRICS

NORMAL = NormalDist()


def measured(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> dict[str, Interval]:
    """The intervals of one label, images with a score of 0 or more being predicted positive."""
    columns = labels[:, None].astype(float), scores[:, None].astype(float), scores[:, None] >= 0
    found = influence.of_labels(*columns, *patient_codes(patients))
    return {metric: each[0] for metric, each in intervals(found, 0.95).items()}


@pytest.mark.parametrize(
    ("hits", "number", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_the_published_examples(hits: int, number: int, low: float, high: float) -> None:
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3."""
    assert wilson(hits / number, number, NORMAL.inv_cdf(0.975)) == pytest.approx((low, high), abs=5e-5)
    found = measured(np.ones(number), np.where(np.arange(number) < hits, 1, -1), np.arange(number))["sensitivity"]
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    "row", [(56, 70, 48, 80, 0.0524, 0.3339), (9, 10, 3, 10, 0.1705, 0.8090), (10, 10, 0, 10, 0.6075, 1.0)]
)
def test_differences_of_shares_equal_the_published_examples(row: tuple[float, ...]) -> None:
    """Newcombe 1998, Statistics in Medicine 17:873, table II, method 10."""
    a, m, b, n, low, high = row
    z = NORMAL.inv_cdf(0.975)
    one, two = (Interval(x / k, *wilson(x / k, k, z)) for x, k in ((a, m), (b, n)))
    found = difference(one, two)
    assert (found.value, found.low, found.high) == pytest.approx((a / m - b / n, low, high), abs=1e-4)


@pytest.mark.parametrize("freedom", [1.0, 4.0, 7.5, 300.0, math.inf])
def test_quantiles_are_student_s(freedom: float) -> None:
    assert quantile(0.95, freedom) == pytest.approx(stats.t.ppf(0.975, freedom))


def test_every_metric_has_a_method() -> None:
    assert set(METHODS) == set(METRICS)
    assert intervals({}, 0.95) == {}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 12), st.integers(1, 4), st.sampled_from([-40.0, 0.0, 1.0, 40.0]))
def test_no_interval_is_a_point_and_each_holds_its_value(seed: int, patients: int, each: int, skill: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.ones(patients * each), np.zeros(2 * patients * each)])
    codes = np.repeat(np.arange(3 * patients), each)
    for metric, found in measured(labels, skill * (labels - 0.5) + rng.normal(size=len(labels)), codes).items():
        low, high = (-1, 1) if metric == "mcc" else (0, 1)
        if math.isnan(found.low):
            assert metric in ("precision", "npv", "mcc")  # which may rest on fewer patients than are positive
        else:
            assert low - 1e-12 <= found.low <= found.value <= found.high <= high + 1e-12
            assert found.low < found.high


def test_the_same_output_for_every_image_is_the_one_exception() -> None:
    found = measured(np.arange(40) % 2, np.zeros(40), np.arange(40))["auroc"]
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_fewer_than_three_patients_are_too_few_to_say() -> None:
    labels = np.concatenate([[1, 1, 1, 1], np.zeros(20)])
    patients = np.array([0, 0, 1, 1, *range(2, 22)])
    found = measured(labels, np.random.default_rng(0).normal(size=24), patients)
    for metric in ("auroc", "auprc", "sensitivity", "balanced_accuracy"):
        assert math.isnan(found[metric].low), metric
    assert not math.isnan(found["specificity"].low)


def test_images_of_one_patient_widen_intervals_and_copies_do_not_narrow_them() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0], 60)
    scores = labels + rng.normal(size=120)
    alone = measured(labels, scores, np.arange(120))
    copied = measured(np.repeat(labels, 5), np.repeat(scores, 5), np.repeat(np.arange(120), 5))
    for metric in ("auroc", "sensitivity", "f1", "mcc", "balanced_accuracy"):
        one, five = (each[metric].high - each[metric].low for each in (alone, copied))
        assert five == pytest.approx(one, rel=0.06), metric


def coverage(positives: int, metric: str, true: float, each: int, repetitions: int = 300) -> float:
    """How often the interval holds the truth; scores are normal, positive images 1.5 higher, and .84 below 0 one in five."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(repetitions):
        number = rng.integers(1, each + 1, 5 * positives)
        codes = np.repeat(np.arange(5 * positives), number)
        labels = (codes < positives).astype(float)
        noise = math.sqrt(0.7) * rng.normal(size=5 * positives)[codes] + math.sqrt(0.3) * rng.normal(size=len(codes))
        found = measured(labels, 1.5 * labels - 0.66 + noise, codes)[metric]
        held += found.low <= true <= found.high
    return held / repetitions


@pytest.mark.parametrize(("metric", "freedom"), [("auroc", 16), ("auprc", 8)])
def test_few_patients_have_the_quantiles_of_more_degrees_of_freedom(metric: str, freedom: int) -> None:
    """With four, as Satterthwaite has them for five positive patients, .99 of the intervals held the AUROC, not .95."""
    labels, scores = np.arange(45) < 5, np.random.default_rng(3).normal(size=45) + (np.arange(45) < 5)
    columns = labels[:, None].astype(float), scores[:, None], scores[:, None] >= 0
    found = influence.of_labels(*columns, np.arange(45), 45)
    assert found[metric].freedom[0] < freedom
    arms = []
    for level in (0.95, 0.5):
        each = intervals(found, level)[metric][0]
        arms.append(math.log(each.high / (1 - each.high)) - math.log(each.value / (1 - each.value)))
    assert arms[0] / arms[1] == pytest.approx(stats.t.ppf(0.975, freedom) / stats.t.ppf(0.75, freedom))


@pytest.mark.parametrize("positives", [7, 8])
def test_matthews_correlation_has_an_interval_from_eight_patients_on(positives: int) -> None:
    labels = np.arange(60) < positives
    scores = np.random.default_rng(3).normal(size=60) + 2 * labels - 1
    found = measured(labels, scores, np.arange(60))
    assert -1 < found["mcc"].value < 1
    assert math.isnan(found["mcc"].low) == (positives < 8)
    assert not math.isnan(found["auroc"].low)


@pytest.mark.parametrize("positives", [20, 60])
def test_the_auprc_weighted_by_positives_has_an_interval_from_thirty_patients_on(positives: int) -> None:
    labels = np.stack([np.arange(300) < positives, np.arange(300) % 3 == 0], axis=1).astype(float)
    table = pd.DataFrame({"image": np.arange(300).astype(str), "patient": np.arange(300).astype(str)})
    logits = labels + np.random.default_rng(0).normal(size=labels.shape)
    found = evaluate(
        Predictions(Task("multilabel", ("a", "b")), table, labels, logits), {"a": 0.5, "b": 0.5}, split="test"
    )
    interval = found.averages["weighted"]["auprc"]
    assert 0 < interval.value < 1
    assert math.isnan(interval.low) == (positives < 30)
    assert not math.isnan(found.averages["macro"]["auprc"].low)


@pytest.mark.parametrize("positives", [7, 8])
def test_a_mean_of_matthews_correlations_needs_as_many_patients_of_each(positives: int) -> None:
    labels = np.stack([np.arange(90) < positives, np.arange(90) % 3 == 0], axis=1).astype(float)
    table = pd.DataFrame({"image": np.arange(90).astype(str), "patient": np.arange(90).astype(str)})
    logits = 2 * labels - 1 + np.random.default_rng(0).normal(size=labels.shape)
    found = evaluate(
        Predictions(Task("multilabel", ("a", "b")), table, labels, logits), {"a": 0.5, "b": 0.5}, split="test"
    )
    assert math.isnan(found.averages["macro"]["mcc"].low) == (positives < 8)
    assert not math.isnan(found.averages["micro"]["mcc"].low)


@pytest.mark.parametrize("each", [1, 20])
def test_intervals_cover_from_few_positives_on(each: int) -> None:
    """Percentiles of a bootstrap held the sensitivity of 9 patients in .68 and the AUROC of 5 in .75 of such samples."""
    assert 0.92 <= coverage(9, "sensitivity", NORMAL.cdf(0.84), each) <= 1.0
    assert 0.92 <= coverage(5, "auroc", NORMAL.cdf(1.5 / math.sqrt(2)), each) <= 0.99


def test_undefined_intervals_are_equal_however_their_nan_came_about() -> None:
    computed = Interval(2 / 3, float(np.float64(np.nan)), float("nan"))
    assert computed == Interval.from_dict({"value": 2 / 3, "low": None, "high": None})
    assert computed != Interval.from_dict({"value": 2 / 3, "low": 0.5, "high": None})


def test_means_of_shares_fractions_and_differences_hold_the_truth_from_few_patients() -> None:
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(12), rng.integers(1, 6, 12))
    held = {"share": 0, "fraction": 0, "difference": 0}
    for _ in range(400):
        own = rng.beta(4, 2, 12)[codes]
        drawn = {
            "share": (rng.random(len(codes)) < own).astype(float),
            "fraction": own,
            "difference": own - rng.beta(4, 2, 12)[codes],
        }
        for kind, values in drawn.items():
            found = mean_intervals(values[:, None], codes, 12, 0.95, kind=kind)[0]
            assert found.low < found.high
            held[kind] += found.low <= (0 if kind == "difference" else 2 / 3) <= found.high
    assert all(0.92 <= number / 400 <= 0.99 for number in held.values()), held


def test_differences_that_are_all_the_same_are_no_certainty() -> None:
    found = mean_intervals(np.zeros((10, 1)), np.arange(10), 10, 0.95)[0]
    assert found.value == 0
    assert found.low < 0 < found.high
