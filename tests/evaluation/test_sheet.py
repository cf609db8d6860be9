"""Decision curves, calibration fit, likelihood ratios and partial AUROC against other programs and brute force."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from scipy.stats import t as student
from sklearn.metrics import brier_score_loss, class_likelihood_ratios, roc_auc_score

from zoo.core.tasks import Task
from zoo.evaluation import Predictions, auroc, evaluate
from zoo.evaluation.calibration import fit_calibration
from zoo.evaluation.calibration_fit import CalibrationFit, regressions
from zoo.evaluation.delong import delong
from zoo.evaluation.partial import partial_auroc
from zoo.evaluation.ratios import likelihood_ratios
from zoo.evaluation.sheet import Sheet, make_sheet
from zoo.evaluation.utility import THRESHOLDS, decision_curves, threshold_bins

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "sheet.json").read_text())
Z975 = 1.959963984540054


def predictions(logits: np.ndarray, labels: np.ndarray, patients: Any, kind: Any = "binary") -> Predictions:
    logits, labels = (np.asarray(a, dtype=float).reshape(len(patients), -1) for a in (logits, labels))
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(len(logits))], "patient": [str(p) for p in patients]})
    return Predictions(Task(kind, tuple("ABC"[: logits.shape[1]])), table, labels, logits)


def sheet_of(found: Predictions, replicates: int = 100, threshold: float = 0.3) -> Sheet:
    evaluation = evaluate(found, dict.fromkeys(found.task.labels, threshold), split="test", replicates=replicates)
    return make_sheet(found, evaluation, None)


def golden(name: str) -> Predictions:
    return predictions(*(np.array(GOLDEN[name][each]) for each in ("z", "y", "patients")))


def test_net_benefit_is_that_of_dcurves() -> None:
    points = {point.threshold: point for point in sheet_of(golden("few")).decision[0].points}
    other = GOLDEN["net_benefit"]
    for t, network, everybody in zip(other["threshold"], other["network"], other["treat_all"], strict=True):
        assert points[t].network.value == pytest.approx(network, abs=1e-12)
        assert points[t].treat_all.value == pytest.approx(everybody, abs=1e-12)
        assert points[t].advantage.value == pytest.approx(network - max(everybody, 0), abs=1e-12)
        assert points[t].network.low < network < points[t].network.high


def test_slope_and_intercept_are_those_of_statsmodels_with_clustered_errors() -> None:
    found, other = GOLDEN["few"], GOLDEN["regressions"]
    p = 1 / (1 + np.exp(-np.array(found["z"])))
    slope, intercept, ratio = regressions(np.array(found["y"], dtype=float), p, np.array(found["patients"]))
    correction = math.sqrt(80 / 79)  # 80 patients
    patients = np.array(found["patients"])
    rarer = min(len(set(patients[np.array(found["y"]) == value])) for value in (0, 1))
    for each, name, q in ((slope, "slope", student.ppf(0.975, rarer - 1)), (intercept, "intercept", Z975)):
        assert each.value == pytest.approx(other[name], abs=1e-8)
        assert (each.high - each.low) / 2 / q / correction == pytest.approx(other[f"{name}_error"], abs=1e-7)
    assert ratio.value == pytest.approx(sum(found["y"]) / p.sum())


def test_ici_is_that_of_statsmodels_lowess() -> None:
    (few,), (many,) = (sheet_of(golden(name)).calibration for name in ("few", "many"))
    assert few.ici.value == pytest.approx(
        GOLDEN["ici"]["few"], abs=1e-6
    )  # 30 distinct values: no binning; logits are float32
    assert many.ici.value == pytest.approx(GOLDEN["ici"]["many"], abs=0.002)  # 900 of them, in 40 bins
    assert few.e50.value <= few.e90.value


def test_brier_skill_is_against_the_prevalence_of_the_images() -> None:
    found = golden("few")
    y, p = found.labels[:, 0].astype(float), found.probabilities[:, 0]
    expected = 1 - brier_score_loss(y, p) / brier_score_loss(y, np.full(len(y), y.mean()))
    row = sheet_of(found).calibration[0]
    assert row.brier_skill.value == pytest.approx(expected, abs=1e-9)
    assert row.brier_skill.low < expected < row.brier_skill.high


@pytest.mark.parametrize("max_fpr", [0.05, 0.1, 0.4, 1.0])
@pytest.mark.parametrize("digits", [0, 1, 8])
def test_partial_auroc_is_that_of_scikit_learn(max_fpr: float, digits: int) -> None:
    rng = np.random.default_rng(digits)
    y = (rng.random(300) < 0.3).astype(float)
    scores = np.round(rng.normal(size=300) + y, digits)
    found = partial_auroc(y, scores, np.arange(300), max_fpr=max_fpr)
    assert found.value == pytest.approx(roc_auc_score(y, scores, max_fpr=max_fpr), abs=1e-12)
    assert found.low < found.value < found.high


def test_the_whole_area_has_the_interval_of_delong_on_the_logit() -> None:
    rng = np.random.default_rng(2)
    y = (rng.random(500) < 0.4).astype(float)
    scores = rng.normal(size=500) + y
    found, other = partial_auroc(y, scores, np.arange(500), max_fpr=1.0), delong(y, scores[:, None])
    area = float(other.aurocs[0])
    assert found.value == pytest.approx(auroc(y, scores))
    half = Z975 * math.sqrt(other.covariance[0, 0]) / (area * (1 - area))
    for bound, sign in ((found.low, -1), (found.high, 1)):
        assert math.log(bound / (1 - bound)) == pytest.approx(math.log(area / (1 - area)) + sign * half, abs=0.002)


def test_images_of_one_patient_widen_the_intervals() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(80) < 0.4).astype(float)
    scores = rng.normal(size=80) + y
    once, thrice = np.arange(80), np.repeat(np.arange(80), 3)
    repeated = (np.repeat(y, 3), np.repeat(scores, 3), thrice)
    alone, many = partial_auroc(y, scores, once), partial_auroc(*repeated)
    assert (many.low, many.high) == pytest.approx((alone.low, alone.high))
    p = 1 / (1 + np.exp(-scores))
    for a, b in zip(regressions(y, p, once), regressions(repeated[0], np.repeat(p, 3), thrice), strict=True):
        assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=1e-7)
    first = likelihood_ratios(y[:, None], scores[:, None] > 0, once)[0]
    assert likelihood_ratios(repeated[0][:, None], repeated[1][:, None] > 0, thrice)[0] == pytest.approx(first)


def test_likelihood_ratios_are_those_of_scikit_learn_with_simels_interval() -> None:
    # Simel, Samsa & Matchar 1991: the logarithm's variance is 1/tp - 1/positives + 1/fp - 1/negatives
    y, positive = np.repeat([1.0, 0.0], [100, 400]), np.zeros(500, dtype=bool)
    positive[:80] = positive[100:160] = True
    found = likelihood_ratios(y[:, None], positive[:, None], np.arange(500))[0]
    for each, value in zip(found, class_likelihood_ratios(y, positive), strict=True):
        assert each.value == pytest.approx(value)
    half = student.ppf(0.975, 99) * math.sqrt(1 / 80 - 1 / 100 + 1 / 60 - 1 / 400)
    assert (found[0].low, found[0].high) == pytest.approx(
        (found[0].value / math.exp(half), found[0].value * math.exp(half))
    )


def test_ratios_without_false_positives_have_a_lower_bound_only() -> None:
    y, positive = np.repeat([1.0, 0.0], [10, 40]), np.zeros(50, dtype=bool)
    positive[:6] = True
    first, second = likelihood_ratios(y[:, None], positive[:, None], np.arange(50))[0]
    assert first.value == first.high == math.inf
    assert 1 < first.low < 60
    assert second.value == pytest.approx(0.4)
    assert sheet_of(predictions(np.where(positive, 3.0, -3.0), y, range(50))).ratios[0].number_needed.value == 1


def curve_of(y: np.ndarray, p: np.ndarray) -> Any:
    width = len(THRESHOLDS) + 1
    counts = np.bincount(threshold_bins(p) + width * (y > 0.5), minlength=2 * width).reshape(2, width).astype(float)
    return decision_curves(["A"], [counts], [np.empty((0, 2, width))], [1.0], 0.95)[0]


def test_a_useful_range_is_that_of_exact_binomial_tests() -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(-1.5, 1.5, 400)
    p = 1 / (1 + np.exp(-z))
    y = (rng.random(400) < p).astype(float)
    useful = curve_of(y, p).useful
    assert useful is not None
    worst = [
        max(binom.sf(y[p >= t].sum() - 1, (p >= t).sum(), t), binom.cdf(y[p < t].sum(), (p < t).sum(), t))
        for t in THRESHOLDS
    ]
    surely = [t for t, each in zip(THRESHOLDS, worst, strict=True) if each <= 0.025 / len(THRESHOLDS)]
    assert useful[0] <= surely[0]
    assert useful[1] >= surely[-1]
    assert max(w for t, w in zip(THRESHOLDS, worst, strict=True) if useful[0] <= t <= useful[1]) <= 0.025


def test_noise_is_useful_at_no_threshold_even_where_the_intervals_say_so() -> None:
    rng = np.random.default_rng(5)
    pointwise = 0
    for _ in range(60):
        y = (rng.random(300) < 0.1).astype(float)
        found = predictions(rng.normal(-2.2, 0.7, 300), y, np.arange(300) // 2)
        curve = sheet_of(found, replicates=50).decision[0]
        pointwise += any(point.advantage.low > 0 for point in curve.points)
        assert curve.useful is None
    assert pointwise > 3  # what the correction is for


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_whatever_the_images_the_sheet_is_whole(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice([0.0, 1.0, np.nan], (number, 2))
    found = predictions(
        rng.choice([-60.0, -1.0, 0.5, 60.0], (number, 2)), labels, rng.integers(0, 9, number), "multilabel"
    )
    plain = json.dumps(sheet_of(found, replicates=20).to_dict(), allow_nan=False)
    assert json.loads(plain)["max_fpr"] == 0.1


def test_calibrated_probabilities_are_measured_beside_those_as_trained() -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(0, 1, 2000)
    y = (rng.random(2000) < 1 / (1 + np.exp(-z))).astype(float)
    half = np.arange(2000) < 1000
    found = predictions(3 * z, y, np.arange(2000))
    validation, test = found.where(half), found.where(~half)
    evaluation = evaluate(test, {"A": 0.5}, split="test", replicates=100)
    sheet = make_sheet(test, evaluation, fit_calibration("temperature", validation))
    before, after = sheet.calibration
    assert (before.stage, after.stage) == ("as_trained", "calibrated")
    assert before.slope.high < 0.5
    assert after.slope.low < 1 < after.slope.high
    assert after.ici.value < before.ici.value
    assert after.ici.low == 0
    assert isinstance(after, CalibrationFit)
    assert after.brier_skill.value > before.brier_skill.value
