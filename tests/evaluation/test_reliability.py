"""Brier score, its parts, ECE and reliability bins against scikit-learn and SciPy."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import binomtest, t
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss

from zoo.core.tasks import Task
from zoo.evaluation import Predictions, patient_weights
from zoo.evaluation.reliability import evaluate_calibration, reliability

TWO = Task("multilabel", ("Mass", "Nodule"))
pairs = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60)


def calibrated(images: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels drawn with the very probabilities, and patients with two images each."""
    rng = np.random.default_rng(seed)
    p = expit(rng.normal(-0.5, 1.5, images))
    return (rng.random(images) < p).astype(float), p, np.arange(images) // 2


def make_images(seed: int, number: int = 400, stretch: float = 1.0, shift: float = 0.0, name: str = "f") -> Predictions:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (number, 2))
    y = (rng.random((number, 2)) < expit(z)).astype(float)
    names = [f"{name}{i}.png" for i in range(number)]
    table = pd.DataFrame({"image": names, "patient": [str(i // 2) for i in range(number)]})
    return Predictions(TWO, table, y, stretch * z + shift)


@settings(max_examples=100, deadline=None)
@given(pairs)
def test_brier_score_is_the_sum_of_its_parts(found: list[tuple[bool, int]]) -> None:
    y, p = np.array([float(a) for a, _ in found]), np.array([b / 20 for _, b in found])
    brier = reliability("x", y, p, np.arange(len(y)), replicates=0).brier
    assert brier.value.value == pytest.approx(brier_score_loss(y, p, pos_label=1), abs=1e-12)
    parts = brier.miscalibration - brier.discrimination + brier.uncertainty
    assert parts == pytest.approx(brier.value.value, abs=1e-12)
    assert min(brier.miscalibration, brier.discrimination, brier.uncertainty) >= 0
    best = brier_score_loss(y, IsotonicRegression().fit_transform(p, y), pos_label=1)
    assert brier.miscalibration == pytest.approx(brier.value.value - best, abs=1e-12)
    assert brier.uncertainty == pytest.approx(y.mean() * (1 - y.mean()), abs=1e-12)


@pytest.mark.parametrize(("number", "bins"), [(500, 10), (97, 10), (333, 7)])
def test_bins_and_ece_are_those_of_scikit_learn(number: int, bins: int) -> None:
    y, p, patients = calibrated(number, seed=number)
    found = reliability("x", y, p, patients, replicates=0, bins=bins)
    observed, predicted = calibration_curve(y, p, n_bins=bins, strategy="quantile")
    np.testing.assert_allclose([b.observed for b in found.bins], observed, atol=1e-12)
    np.testing.assert_allclose([b.predicted for b in found.bins], predicted, atol=1e-12)
    counts = np.array([b.images for b in found.bins])
    assert counts.sum() == number
    assert np.ptp(counts) <= 1
    assert found.ece.value == pytest.approx((counts * abs(observed - predicted)).sum() / number)
    assert math.isnan(found.ece.low)


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 12))
def test_equal_probabilities_share_a_bin(found: list[tuple[bool, int]], bins: int) -> None:
    y, p = np.array([float(a) for a, _ in found]), np.array([b / 20 for _, b in found])
    measured = reliability("x", y, p, np.arange(len(y)), replicates=0, bins=bins).bins
    assert len(measured) <= bins
    assert sum(b.images for b in measured) == len(y)
    for left, right in itertools.pairwise(measured):
        assert left.low <= left.high < right.low
    for each in measured:
        inside = (p >= each.low) & (p <= each.high)
        assert inside.sum() == each.images
        assert each.observed == pytest.approx(y[inside].mean())


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_observed_shares_have_wilsons_interval(level: float) -> None:
    y, p, patients = calibrated(120)
    y[np.argsort(p)[:30]] = 0
    y[np.argsort(p)[-30:]] = 1
    for each in reliability("x", y, p, patients, replicates=0, level=level, bins=6).bins:
        test = binomtest(round(each.observed * each.images), each.images)
        expected = test.proportion_ci(confidence_level=level, method="wilson")
        assert (each.observed_low, each.observed_high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_brier_score_has_a_t_interval_on_the_logit_scale() -> None:
    y, p, _ = calibrated(200)
    squares = (p - y) ** 2
    brier = reliability("x", y, p, np.arange(200), replicates=0, level=0.9).brier.value
    value, error = squares.mean(), squares.std(ddof=1) / math.sqrt(200)
    arm = t.ppf(0.95, 199) * error / (value * (1 - value))
    assert (brier.low, brier.high) == pytest.approx((expit(logit(value) - arm), expit(logit(value) + arm)))


def test_the_interval_of_the_ece_comes_from_resampled_patients() -> None:
    y, p, patients = calibrated(200)
    y[::11] = np.nan
    found = reliability("x", y, p, patients, replicates=300, level=0.9, seed=7)
    weights = patient_weights(patients, 300, 7)
    known = ~np.isnan(y)
    errors, chance = [], []
    inside = [known & (p >= b.low) & (p <= b.high) for b in found.bins]
    gaps = np.array([(y - p)[i].sum() for i in inside]) / known.sum()
    for w in weights:
        drawn = np.array([(w * (y - p))[i].sum() for i in inside]) / w[known].sum()
        errors.append(abs(drawn).sum())
        chance.append(abs(drawn - gaps).sum())
    low, high = np.quantile(errors, [0.05, 0.95])
    value = abs(gaps).sum()
    lower = 0 if value <= np.quantile(chance, 0.9) else max(0, 2 * value - high)
    assert (found.ece.value, found.ece.low, found.ece.high) == pytest.approx(
        (value, lower, max(value, 2 * value - low))
    )


def test_images_of_one_patient_widen_the_intervals() -> None:
    y, p, _ = calibrated(300)
    copies = np.tile(np.arange(300), 4)
    alone = reliability("x", y[copies], p[copies], np.arange(1200))
    together = reliability("x", y[copies], p[copies], copies)
    widths = [r.brier.value.high - r.brier.value.low for r in (alone, together)]
    assert 1.6 < widths[1] / widths[0] < 2.4


def test_calibrated_outputs_have_little_error_and_an_interval_from_zero() -> None:
    y, p, patients = calibrated(6000)
    good = reliability("x", y, p, patients)
    assert good.ece.value < 0.03
    assert good.ece.low == 0
    assert good.brier.miscalibration < 0.006
    logit = np.log(p / (1 - p))
    bad = reliability("x", y, expit(3 * logit), patients)
    assert bad.ece.low > 0.08
    assert bad.ece.low <= bad.ece.value <= bad.ece.high
    assert bad.brier.miscalibration > 0.02 > 5 * good.brier.miscalibration
    assert bad.brier.discrimination == pytest.approx(good.brier.discrimination, abs=1e-9)


def test_the_interval_of_the_ece_holds_the_truth_and_plain_percentiles_would_not() -> None:
    covered, plain = 0, 0
    for seed in range(40):
        y, p, patients = calibrated(300, seed=seed)
        ece = reliability("x", y, p, patients, replicates=200).ece
        covered += ece.low == 0
        assert ece.low <= ece.value <= ece.high
        low = np.sort([_ece(y, p, w) for w in patient_weights(patients, 40, 0)])[1]
        plain += low == 0
    assert covered >= 34
    assert plain == 0


def _ece(y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    code = np.searchsorted(np.percentile(p, np.linspace(0, 100, 11))[1:-1], p)
    return float(abs(np.bincount(code, w * (y - p))).sum() / w.sum())


def test_an_unknown_label_is_undefined_and_one_class_is_not() -> None:
    p = np.linspace(0.1, 0.9, 20)
    nothing = reliability("x", np.full(20, np.nan), p, np.arange(20), replicates=50)
    assert nothing.bins == ()
    assert all(math.isnan(v) for v in (nothing.brier.value.value, nothing.brier.uncertainty, nothing.ece.value))
    assert json.loads(json.dumps(nothing.to_dict(), allow_nan=False))["ece"]["value"] is None
    absent = reliability("x", np.zeros(20), p, np.arange(20), replicates=50)
    assert absent.brier.value.value == pytest.approx((p**2).mean())
    assert absent.brier.discrimination == absent.brier.uncertainty == 0
    assert absent.ece.value == pytest.approx(0.5)
    one = reliability("x", np.zeros(20), p, np.zeros(20), replicates=50)
    assert math.isnan(one.brier.value.low)
    assert math.isnan(one.ece.high)


def test_calibration_is_fitted_on_validation_and_measured_on_test() -> None:
    validation, test = make_images(0, 3000, stretch=3), make_images(1, 1500, stretch=3, name="t")
    result = evaluate_calibration(validation, test, "temperature", replicates=200, seed=3)
    again = evaluate_calibration(validation, test.where(np.arange(1500) < 700), "temperature", replicates=0)
    assert again.calibration == result.calibration
    patients = test.table["patient"]
    for k, label in enumerate(TWO.labels):
        raw = reliability(label, test.labels[:, k], test.probabilities[:, k], patients, replicates=200, seed=3)
        assert result.before[label] == raw
        p = result.calibration.probabilities(test.logits)[:, k]
        assert result.after[label] == reliability(label, test.labels[:, k], p, patients, replicates=200, seed=3)
        assert result.after[label].ece.value < 0.04 < 0.08 < result.before[label].ece.value
        assert result.after[label].ece.low == 0
    assert all(found["temperature"] > 1.05 for found in result.calibration.parameters.values())
    assert (result.worsened, result.biased, result.shared, result.images) == ((), (), 0, 1500)
    json.dumps(result.to_dict(), allow_nan=False)


def test_what_calibration_makes_worse_is_reported() -> None:
    validation, test = make_images(0, 800, shift=2), make_images(1, 800, name="t")
    result = evaluate_calibration(validation, test, "platt", replicates=200)
    assert result.worsened == result.biased == TWO.labels
    change = result.after["Mass"].brier.value.value - result.before["Mass"].brier.value.value
    assert result.brier_change["Mass"].value == pytest.approx(change)
    assert result.brier_change["Mass"].low < change < result.brier_change["Mass"].high
    mean = result.calibration.probabilities(test.logits)[:, 0].mean()
    assert result.mean_excess["Mass"].value == pytest.approx(mean - test.labels[:, 0].mean())


def test_a_mean_that_is_off_by_little_is_not_reported() -> None:
    validation, test = make_images(0, 20_000, shift=0.2), make_images(1, 20_000, name="t")
    result = evaluate_calibration(validation, test, "platt", replicates=100)
    excess = result.calibration.probabilities(test.logits).mean(axis=0) - test.labels.mean(axis=0)
    assert (np.abs(excess) > 0.02).all()
    assert [each.value for each in result.mean_excess.values()] == pytest.approx(list(excess))
    assert result.biased == ()


def test_underconfidence_and_shared_images_are_reported() -> None:
    result = evaluate_calibration(make_images(0, stretch=0.3), make_images(0, stretch=0.3), replicates=20)
    assert result.calibration.parameters["Mass"]["temperature"] < 0.95
    assert (result.shared, result.images) == (400, 400)


def test_classes_of_a_multiclass_task_are_measured_against_the_rest() -> None:
    rng = np.random.default_rng(0)
    task, z = Task("multiclass", ("a", "b", "c")), rng.normal(0, 1.5, (900, 3))
    y = np.eye(3)[(z + rng.gumbel(size=z.shape)).argmax(axis=1)]
    names = [f"{i}.png" for i in range(900)]
    both = Predictions(task, pd.DataFrame({"image": names, "patient": names}), y, 2.5 * z)
    half = np.arange(900) < 450
    result = evaluate_calibration(both.where(half), both.where(~half), replicates=50)
    expected = brier_score_loss(y[450:, 1], both.probabilities[450:, 1])
    assert result.before["b"].brier.value.value == pytest.approx(expected)
    assert result.after["b"].ece.value < result.before["b"].ece.value
    assert 2 < result.calibration.parameters["a"]["temperature"] < 3


def test_nothing_to_calibrate_changes_nothing() -> None:
    validation, test = make_images(0, 8), make_images(1, 300, name="t")
    result = evaluate_calibration(validation, test, replicates=20)
    assert result.before == result.after
    assert set(result.calibration.uncalibrated) == set(TWO.labels)
    assert result.brier_change == result.mean_excess == {}


def test_tasks_must_agree() -> None:
    other = Predictions(
        Task("multilabel", ("Mass", "Edema")), make_images(0).table, make_images(0).labels, make_images(0).logits
    )
    with pytest.raises(ValueError, match="has the task"):
        evaluate_calibration(make_images(0), other)
