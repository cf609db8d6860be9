"""Thresholds against an exhaustive search with scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn import metrics as sk

from zoo.core.errors import DataError, UsageError
from zoo.core.options import as_dict, validate
from zoo.core.tasks import Task
from zoo.evaluation import Note, Predictions, ThresholdRule, check_rule, choose_thresholds, threshold_notes

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
        positive = p >= threshold
        if rule == "f1":
            return float(sk.f1_score(labels, positive))
        return float(2 * sk.balanced_accuracy_score(labels, positive) - 1)

    chosen = choose_thresholds(predictions, ThresholdRule(rule))["abnormal"]
    best = max(goodness(t) for t in np.unique(p))
    if threshold_notes(predictions, ThresholdRule(rule)):
        assert rule == "youden"
        assert best <= 1e-12
        assert chosen == 0.5
    else:
        assert goodness(chosen) == pytest.approx(best)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 9)), min_size=2, max_size=40).filter(
        lambda pairs: 0 < sum(p[0] for p in pairs) < len(pairs)
    ),
    st.sampled_from([0.05, 0.5, 0.8, 0.9, 0.95, 1.0]),
)
def test_targets_equal_a_search_over_every_cut(pairs: list[tuple[bool, int]], target: float) -> None:
    labels = np.array([a for a, _ in pairs], dtype=float)
    predictions = binary(list(labels), [b / 10 for _, b in pairs])
    p = predictions.probabilities[:, 0]
    cuts = [*np.unique(p), 1.0]  # an image is positive at or above the cut; at 1 none is

    def measured(threshold: float, kind: str) -> float:
        return float(sk.recall_score(labels, p >= threshold, pos_label=1 if kind == "sensitivity" else 0))

    sensitive = choose_thresholds(predictions, ThresholdRule("sensitivity", target))["abnormal"]
    highest = max(c for c in cuts if measured(c, "sensitivity") >= target)
    assert measured(sensitive, "sensitivity") >= target
    np.testing.assert_array_equal(p >= sensitive, p >= highest)
    specific = choose_thresholds(predictions, ThresholdRule("specificity", target))["abnormal"]
    lowest = min(c for c in cuts if measured(c, "specificity") >= target)
    assert measured(specific, "specificity") >= target
    np.testing.assert_array_equal(p >= specific, p >= lowest)
    assert 0 <= sensitive <= 1
    assert 0 <= specific <= 1


def test_targets_lie_halfway_between_images() -> None:
    predictions = binary([0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.4, 0.6, 0.8, 0.9])
    assert choose_thresholds(predictions, ThresholdRule("sensitivity", 2 / 3))["abnormal"] == pytest.approx(0.5)
    assert choose_thresholds(predictions, ThresholdRule("sensitivity", 1))["abnormal"] == pytest.approx(0.15)
    assert choose_thresholds(predictions, ThresholdRule("specificity", 2 / 3))["abnormal"] == pytest.approx(0.5)
    assert choose_thresholds(predictions, ThresholdRule("specificity", 1))["abnormal"] == pytest.approx(0.85)
    negative_on_top = binary([1, 0], [0.2, 0.6])
    assert choose_thresholds(negative_on_top, ThresholdRule("specificity", 1))["abnormal"] == pytest.approx(0.8)


def test_nineteen_of_twenty_meet_a_target_of_95_percent() -> None:
    probabilities = list(np.linspace(0.05, 0.95, 40))
    positives_on_top = binary([0.0] * 20 + [1.0] * 20, probabilities)
    found = choose_thresholds(positives_on_top, ThresholdRule("sensitivity", 0.95))["abnormal"]
    assert (positives_on_top.probabilities[20:, 0] >= found).sum() == 19
    found = choose_thresholds(positives_on_top, ThresholdRule("specificity", 0.95))["abnormal"]
    assert (positives_on_top.probabilities[:20, 0] < found).sum() == 19


def test_specificity_above_an_image_at_probability_one_is_undetermined() -> None:
    labels, logits = np.array([[0.0], [1.0]]), np.array([[100.0], [-1.0]])
    predictions = Predictions(BINARY, pd.DataFrame({"image": ["a", "b"], "patient": ["a", "b"]}), labels, logits)
    rule = ThresholdRule("specificity", 0.9)
    assert choose_thresholds(predictions, rule) == {"abnormal": 0.5}
    assert threshold_notes(predictions, rule) == (Note("undetermined_threshold", ("abnormal",)),)
    logits[0] = 36  # one rounding below 1
    high = choose_thresholds(Predictions(BINARY, predictions.table, labels, logits), rule)["abnormal"]
    assert Predictions(BINARY, predictions.table, labels, logits).probabilities[0, 0] < high <= 1


def test_notes_on_targets_name_what_they_rest_on() -> None:
    task = Task("multilabel", ("Mass", "Hernia", "Edema"))
    rng = np.random.default_rng(0)
    labels = np.stack([np.arange(60) < 30, np.zeros(60), np.arange(60) < 4], axis=1).astype(float)
    logits = labels - 0.5 + 0.1 * rng.normal(size=(60, 3))
    logits[0, 0] = -9  # the lowest of all is one with a mass
    names = [str(i) for i in range(60)]
    predictions = Predictions(task, pd.DataFrame({"image": names, "patient": names}), labels, logits)
    assert threshold_notes(predictions, ThresholdRule("sensitivity", 1.0)) == (
        Note("undetermined_threshold", ("Hernia",)),
        Note("target_by_one_decision", ("Mass",)),
        Note("target_on_few_images", ("Edema",), (4,)),
    )
    # specificity needs images without, which Hernia has
    assert threshold_notes(predictions, ThresholdRule("specificity", 0.9)) == ()
    assert 0 < choose_thresholds(predictions, ThresholdRule("specificity", 0.9))["Hernia"] < 0.5


def test_a_target_must_be_given_and_survives_the_way_through_plain_values() -> None:
    for rule in (ThresholdRule("sensitivity", 0.9), ThresholdRule("youden"), ThresholdRule("fixed", 0.3)):
        assert validate(ThresholdRule, as_dict(rule), "threshold") == rule
    assert (ThresholdRule("fixed").value, ThresholdRule("fixed").target) == (0.5, None)
    assert ThresholdRule("specificity", 0.9).target == 0.9
    with pytest.raises(UsageError, match="sensitivity needs its target"):
        ThresholdRule("sensitivity")
    for value in (0, 1.5, float("nan")):
        with pytest.raises(UsageError, match="a target specificity lies above 0"):
            ThresholdRule("specificity", value)


def test_a_target_is_refused_where_the_most_probable_class_decides() -> None:
    task = Task("multiclass", ("a", "b"))
    table = pd.DataFrame({"image": ["x", "y"], "patient": ["x", "y"]})
    predictions = Predictions(task, table, np.eye(2), np.eye(2))
    for ask in (choose_thresholds, threshold_notes):
        with pytest.raises(UsageError, match="the most probable class decides"):
            ask(predictions, ThresholdRule("sensitivity", 0.9))
    check_rule(task.kind, ThresholdRule("youden"))
    check_rule(BINARY.kind, ThresholdRule("sensitivity", 0.9))


def test_threshold_lies_between_images_and_ties_go_to_the_one_nearest_a_half() -> None:
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
    assert threshold_notes(predictions, ThresholdRule("youden")) == (Note("undetermined_threshold", ("Hernia",)),)
    assert threshold_notes(predictions, ThresholdRule("fixed")) == ()


@pytest.mark.parametrize("probability", [[0.3] * 4, [0.9, 0.8, 0.2, 0.1]])
def test_no_better_than_chance_falls_back(probability: list[float]) -> None:
    predictions = binary([0, 0, 1, 1], probability)
    assert choose_thresholds(predictions, ThresholdRule("youden")) == {"abnormal": 0.5}
    assert threshold_notes(predictions, ThresholdRule("youden"))


def test_neighbours_one_rounding_apart_are_separated() -> None:
    labels = np.array([[0.0], [1.0]])
    logits = np.array([[-4.440892e-16], [-2.220446e-16]], dtype=np.float32)
    predictions = Predictions(BINARY, pd.DataFrame({"image": ["a", "b"], "patient": ["a", "b"]}), labels, logits)
    low, high = predictions.probabilities[:, 0]
    assert np.nextafter(low, 1) == high
    assert (low + high) / 2 == low
    threshold = choose_thresholds(predictions, ThresholdRule("youden"))["abnormal"]
    assert (predictions.probabilities[:, 0] >= threshold).tolist() == [False, True]


def test_fixed_and_multiclass_do_not_look_at_the_images() -> None:
    assert choose_thresholds(binary([0, 1], [0.2, 0.9]), ThresholdRule("fixed", 0.3)) == {"abnormal": 0.3}
    task = Task("multiclass", ("a", "b"))
    table = pd.DataFrame({"image": ["x", "y"], "patient": ["x", "y"]})
    found = choose_thresholds(Predictions(task, table, np.eye(2), np.eye(2)), ThresholdRule("f1"))
    assert found == {"a": 0.5, "b": 0.5}


def test_bad_rules_and_predictions_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown threshold rule 'best'"):
        ThresholdRule("best")  # which is no rule
    with pytest.raises(UsageError, match="from 0 to 1, not 50"):
        ThresholdRule("fixed", 50)
    predictions = binary([0, 1], [0.2, 0.9])
    predictions.logits[0] = np.nan
    with pytest.raises(DataError, match="validation predictions: 1 of 2 images"):
        choose_thresholds(predictions, ThresholdRule("f1"))
