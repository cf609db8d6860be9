"""Operating points against NumPy and scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from zoo.core.errors import DataError, UsageError
from zoo.core.tasks import Task
from zoo.evaluation import Predictions, ThresholdRule, choose_thresholds, operating_points, patient_weights

TASK = Task("multilabel", ("Mass", "Edema"))
MULTICLASS = Task("multiclass", ("normal", "bacterial", "viral"))


def make_images(
    seed: int, number: int = 240, task: Task = TASK, signal: float = 2.0, patients: int = 60
) -> Predictions:
    rng = np.random.default_rng(seed)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.3).astype(float)
        labels[rng.random(labels.shape) < 0.1] = np.nan
    table = pd.DataFrame(
        {"image": [f"{i}.png" for i in range(number)], "patient": [str(p) for p in rng.integers(0, patients, number)]}
    )
    return Predictions(task, table, labels, signal * (np.nan_to_num(labels) - 0.5) + rng.normal(size=labels.shape))


def measured(predictions: Predictions, k: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    use = ~np.isnan(predictions.labels[:, k])
    return predictions.labels[use, k], predictions.probabilities[use, k] >= threshold


@pytest.mark.parametrize("rule", [ThresholdRule("sensitivity", 0.9), ThresholdRule("fixed", 0.4), ThresholdRule("f1")])
def test_points_equal_scikit_learn_at_the_threshold_from_validation(rule: ThresholdRule) -> None:
    validation, test = make_images(0), make_images(1)
    thresholds = choose_thresholds(validation, rule)
    points = operating_points(validation, test, rule)
    assert [each.label for each in points] == list(TASK.labels)
    for k, each in enumerate(points):
        assert (each.rule, each.threshold) == (rule.rule, thresholds[each.label])
        assert each.target == (0.9 if rule.rule == "sensitivity" else None)
        for predictions, found in ((validation, each.validation), (test, {m: i.value for m, i in each.test.items()})):
            y, positive = measured(predictions, k, each.threshold)
            expected = {
                "sensitivity": sk.recall_score(y, positive),
                "specificity": sk.recall_score(y, positive, pos_label=0),
                "precision": sk.precision_score(y, positive),
                "npv": sk.precision_score(y, positive, pos_label=0),
                "f1": sk.f1_score(y, positive),
                "accuracy": sk.accuracy_score(y, positive),
                "balanced_accuracy": sk.balanced_accuracy_score(y, positive),
                "mcc": sk.matthews_corrcoef(y, positive),
            }
            assert found == pytest.approx(expected)
        y, positive = measured(test, k, each.threshold)
        tn, fp, fn, tp = sk.confusion_matrix(y, positive).ravel().tolist()
        assert each.confusion == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
        assert each.prevalence == pytest.approx(y.mean())
        assert (each.assumed_prevalence, each.ppv_at, each.npv_at) == (None, None, None)


def test_intervals_over_patients_are_like_those_of_resampled_patients() -> None:
    validation, test = make_images(0), make_images(1, number=1200, patients=300)
    points = operating_points(validation, test, ThresholdRule("youden"), prevalence=0.05, level=0.9)
    weights = patient_weights(test.table["patient"], 400, 3)
    for k, each in enumerate(points):
        use = ~np.isnan(test.labels[:, k])
        y, positive = measured(test, k, each.threshold)
        drawn: dict[str, list[float]] = {"sensitivity": [], "precision": [], "mcc": [], "ppv": [], "npv": []}
        for w in weights[:, use]:
            drawn["sensitivity"].append(w[y == 1] @ positive[y == 1] / w[y == 1].sum())
            drawn["precision"].append(w[positive] @ y[positive] / w[positive].sum())
            drawn["mcc"].append(sk.matthews_corrcoef(y, positive, sample_weight=w))
            sens, spec = drawn["sensitivity"][-1], w[y == 0] @ ~positive[y == 0] / w[y == 0].sum()
            drawn["ppv"].append(sens * 0.05 / (sens * 0.05 + (1 - spec) * 0.95))
            drawn["npv"].append(spec * 0.95 / (spec * 0.95 + (1 - sens) * 0.05))
        found = each.test | {"ppv": each.ppv_at, "npv": each.npv_at}
        for name, values in drawn.items():
            low, high = np.quantile(values, [0.05, 0.95])
            assert found[name].high - found[name].low == pytest.approx(high - low, rel=0.15), name
            assert (found[name].low, found[name].high) == pytest.approx((low, high), abs=0.25 * (high - low)), name


def test_predictive_values_of_a_perfect_rule_have_no_point_as_interval() -> None:
    perfect = make_images(1, signal=40)
    found = operating_points(make_images(0, signal=40), perfect, ThresholdRule("fixed"), prevalence=0.1)[0]
    assert found.ppv_at is not None
    assert found.npv_at is not None
    assert (found.ppv_at.value, found.npv_at.value) == (1, 1)
    assert 0.2 < found.ppv_at.low < found.ppv_at.high == 1  # of 72 images without the label up to 6% may be positive
    assert 0.98 < found.npv_at.low < found.npv_at.high == 1


def test_predictive_values_by_bayes_agree_with_the_images_at_their_own_prevalence() -> None:
    task = Task("binary", ("abnormal",))
    validation, test = make_images(0, task=task), make_images(1, task=task)
    own = operating_points(validation, test, ThresholdRule("youden"))[0]
    at_own = operating_points(validation, test, ThresholdRule("youden"), prevalence=own.prevalence)[0]
    assert at_own.ppv_at is not None
    assert at_own.npv_at is not None
    assert at_own.ppv_at.value == pytest.approx(own.test["precision"].value)
    assert at_own.npv_at.value == pytest.approx(own.test["npv"].value)
    rare = operating_points(validation, test, ThresholdRule("youden"), prevalence=0.01)[0]
    assert rare.ppv_at is not None
    assert rare.ppv_at.value < own.test["precision"].value / 3
    assert 0 < rare.ppv_at.low < rare.ppv_at.value < rare.ppv_at.high


def test_each_label_has_predictive_values_at_its_own_prevalence() -> None:
    both, rule = (make_images(0), make_images(1)), ThresholdRule("youden")
    mass, edema = operating_points(*both, rule, prevalence={"Edema": 0.12})
    assert (mass.assumed_prevalence, mass.ppv_at, mass.npv_at) == (None, None, None)
    assert edema.assumed_prevalence == 0.12
    for shares in ({"Mass": 0.03, "Edema": 0.12}, 0.12):
        found = operating_points(*both, rule, prevalence=shares)
        assert (found[1].ppv_at, found[1].npv_at) == (edema.ppv_at, edema.npv_at)
        assert found[0].assumed_prevalence == (0.12 if shares == 0.12 else 0.03)
    with pytest.raises(UsageError, match=r"unknown label 'Masses'\. Did you mean 'Mass'"):
        operating_points(*both, rule, prevalence={"Masses": 0.1})
    with pytest.raises(UsageError, match=r"prevalence of Edema is a share of images between 0 and 1, .*not 30"):
        operating_points(*both, rule, prevalence={"Edema": 30})


def test_a_missed_target_is_a_shortfall_with_its_interval() -> None:
    validation, test = make_images(0, signal=4), make_images(1, signal=1.5, number=1000, patients=200)
    points = operating_points(validation, test, ThresholdRule("sensitivity", 0.95))
    for each in points:
        assert each.validation["sensitivity"] >= 0.95
        achieved = each.test["sensitivity"]
        assert each.shortfall is not None
        assert each.shortfall.value == pytest.approx(0.95 - achieved.value)
        assert (each.shortfall.low, each.shortfall.high) == pytest.approx((0.95 - achieved.high, 0.95 - achieved.low))
        assert 0 < each.shortfall.low < each.shortfall.value < each.shortfall.high


def test_a_target_can_be_met_absent_or_unknown() -> None:
    same = make_images(0)
    met = operating_points(same, same, ThresholdRule("specificity", 0.8))
    assert [each.shortfall for each in met] == [None, None]
    youden = operating_points(same, make_images(1), ThresholdRule("youden"))
    assert [(each.target, each.shortfall) for each in youden] == [(None, None)] * 2
    without = make_images(1)
    without.labels[:, 1] = 0
    unknown = operating_points(same, without, ThresholdRule("sensitivity", 0.8))[1]
    assert unknown.shortfall is None
    assert math.isnan(unknown.test["sensitivity"].value)


def test_multiclass_has_points_of_the_most_probable_class_and_no_target() -> None:
    validation, test = make_images(0, task=MULTICLASS), make_images(1, task=MULTICLASS)
    points = operating_points(validation, test, ThresholdRule("fixed"))
    classes, predicted = test.labels.argmax(axis=1), test.logits.argmax(axis=1)
    expected = sk.recall_score(classes, predicted, average=None)
    assert [each.test["sensitivity"].value for each in points] == pytest.approx(list(expected))
    assert {each.rule for each in points} == {"most probable class"}
    assert all(math.isnan(each.threshold) for each in points)
    with pytest.raises(UsageError, match="the most probable class decides"):
        operating_points(validation, test, ThresholdRule("sensitivity", 0.9))


def test_one_patient_has_values_and_no_intervals() -> None:
    found = operating_points(make_images(0), make_images(1, patients=1), ThresholdRule("sensitivity", 0.9))[0]
    assert not math.isnan(found.test["specificity"].value)
    assert math.isnan(found.test["specificity"].low)


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 30, float("nan")])
def test_a_prevalence_outside_its_range_is_refused(prevalence: float) -> None:
    with pytest.raises(UsageError, match="prevalence is a share of images between 0 and 1"):
        operating_points(make_images(0), make_images(1), ThresholdRule("youden"), prevalence=prevalence)


@pytest.mark.parametrize("which", ["validation", "test"])
def test_logits_that_are_not_finite_are_refused(which: str) -> None:
    both = {"validation": make_images(0), "test": make_images(1)}
    both[which].logits[3] = np.nan
    with pytest.raises(DataError, match=f"{which} predictions: 1 of 240 images"):
        operating_points(**both, rule=ThresholdRule("fixed"))


def test_plain_values_are_ready_for_json() -> None:
    test = make_images(1)
    test.labels[:, 1] = 0
    points = operating_points(make_images(0), test, ThresholdRule("sensitivity", 0.99), prevalence=0.1)
    found = json.loads(json.dumps([each.to_dict() for each in points], allow_nan=False))
    assert found[1]["test"]["sensitivity"] == {"value": None, "low": None, "high": None}
    assert found[0]["confusion"] == points[0].confusion
    assert found[0]["ppv_at"]["value"] == points[0].ppv_at.value
    assert set(found[0]) == {
        "label",
        "rule",
        "target",
        "threshold",
        "validation",
        "test",
        "confusion",
        "shortfall",
        "prevalence",
        "assumed_prevalence",
        "ppv_at",
        "npv_at",
    }
