"""Thresholds against an exhaustive search with scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn import metrics as sk

from zoo.errors import DataError, UsageError
from zoo.evaluation import Predictions, ThresholdRule, choose_thresholds, threshold_notes
from zoo.tasks import Task

BINARY = Task("binary", ("abnormal",))


def binary(labels: list[float], probabilities: list[float]) -> Predictions:
    names = [f"{i}.png" for i in range(len(labels))]
    y, p = np.array(labels, dtype=float)[:, None], np.array(probabilities)[:, None]
    return Predictions(BINARY, pd.DataFrame({"image": names, "patient": names}), y, logit(p))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=4, max_size=40).filter(
        lambda pairs: 0 < sum(p[0] for p in pairs) < len(pairs)
    ),
    st.sampled_from(["youden", "f1"]),
)
def test_no_threshold_is_better(pairs: list[tuple[bool, int]], rule: str) -> None:
    labels = [float(a) for a, _ in pairs]
    predictions = binary(labels, [b / 10 for _, b in pairs])
    p = predictions.probabilities[:, 0]

    def goodness(threshold: float) -> float:
        called = p >= threshold
        if rule == "f1":
            return float(sk.f1_score(labels, called))
        return float(2 * sk.balanced_accuracy_score(labels, called) - 1)

    chosen = choose_thresholds(predictions, ThresholdRule(rule))["abnormal"]
    best = max(goodness(t) for t in np.unique(p))
    if threshold_notes(predictions, ThresholdRule(rule)):
        assert rule == "youden"
        assert best <= 1e-12
        assert chosen == 0.5
    else:
        assert goodness(chosen) == pytest.approx(best)


def test_threshold_lies_between_films_and_ties_go_to_the_one_nearest_a_half() -> None:
    predictions = binary([0, 0, 1, 1], [0.1, 0.2, 0.4, 0.9])
    assert choose_thresholds(predictions, ThresholdRule("youden"))["abnormal"] == pytest.approx(0.3)
    # cuts below .3 and below .6 are equally good: sensitivity + specificity is 1.5 at both
    tie = binary([0, 1, 0, 1], [0.1, 0.3, 0.6, 0.8])
    assert choose_thresholds(tie, ThresholdRule("youden"))["abnormal"] == pytest.approx(0.7)


def test_f1_differs_from_youden_on_rare_findings() -> None:
    labels = [1.0] * 2 + [0.0] * 3 + [1.0] + [0.0] * 40
    predictions = binary(labels, list(np.linspace(0.95, 0.05, len(labels))))
    youden = choose_thresholds(predictions, ThresholdRule("youden"))["abnormal"]
    f1 = choose_thresholds(predictions, ThresholdRule("f1"))["abnormal"]
    assert f1 > youden


def test_undefined_label_falls_back_to_a_half_and_is_noted() -> None:
    task = Task("multilabel", ("Mass", "Hernia", "Edema"))
    names = list("abcd")
    labels = np.array([[0, 0, 1], [1, 0, 0], [0, 0, np.nan], [1, 0, np.nan]])
    logits = np.array([[-1, 0, -3], [1, 0, -4], [-2, 0, 0], [2, 0, 0]])
    predictions = Predictions(task, pd.DataFrame({"image": names, "patient": names}), labels, logits)
    found = choose_thresholds(predictions, ThresholdRule("youden"))
    assert found["Hernia"] == 0.5
    assert found["Edema"] == pytest.approx((1 / (1 + np.exp(3)) + 1 / (1 + np.exp(4))) / 2)
    assert threshold_notes(predictions, ThresholdRule("youden")) == (
        "The validation films cannot tell the threshold of Hernia; .5 is used.",
    )
    assert threshold_notes(predictions, ThresholdRule("fixed")) == ()


@pytest.mark.parametrize("probability", [[0.3] * 4, [0.9, 0.8, 0.2, 0.1]])
def test_no_better_than_chance_falls_back(probability: list[float]) -> None:
    predictions = binary([0, 0, 1, 1], probability)
    assert choose_thresholds(predictions, ThresholdRule("youden")) == {"abnormal": 0.5}
    assert threshold_notes(predictions, ThresholdRule("youden"))


def test_neighbours_one_rounding_apart_are_told_apart() -> None:
    labels = np.array([[0.0], [1.0]])
    logits = np.array([[-4.440892e-16], [-2.220446e-16]], dtype=np.float32)
    predictions = Predictions(BINARY, pd.DataFrame({"image": ["a", "b"], "patient": ["a", "b"]}), labels, logits)
    low, high = predictions.probabilities[:, 0]
    assert np.nextafter(low, 1) == high
    assert (low + high) / 2 == low
    threshold = choose_thresholds(predictions, ThresholdRule("youden"))["abnormal"]
    assert (predictions.probabilities[:, 0] >= threshold).tolist() == [False, True]


def test_fixed_and_multiclass_do_not_look_at_the_films() -> None:
    assert choose_thresholds(binary([0, 1], [0.2, 0.9]), ThresholdRule("fixed", 0.3)) == {"abnormal": 0.3}
    task = Task("multiclass", ("a", "b"))
    table = pd.DataFrame({"image": ["x", "y"], "patient": ["x", "y"]})
    found = choose_thresholds(Predictions(task, table, np.eye(2), np.eye(2)), ThresholdRule("f1"))
    assert found == {"a": 0.5, "b": 0.5}


def test_bad_rules_and_predictions_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown threshold rule 'best'"):
        ThresholdRule("best")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="from 0 to 1, not 50"):
        ThresholdRule("fixed", 50)
    predictions = binary([0, 1], [0.2, 0.9])
    predictions.logits[0] = np.nan
    with pytest.raises(DataError, match="validation predictions: 1 of 2 films"):
        choose_thresholds(predictions, ThresholdRule("f1"))
