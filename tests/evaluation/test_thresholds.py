"""Thresholds against an exhaustive search with scikit-learn's metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logit
from sklearn import metrics as sk

from zoo.config.settings import Settings
from zoo.core.errors import DataError, UsageError
from zoo.core.options import as_dict, validate
from zoo.core.tasks import Task
from zoo.core.thresholds import YOUDEN, as_probability
from zoo.evaluation import Note, Predictions, ThresholdRule, check_rule, choose_thresholds, threshold_notes
from zoo.evaluation.metrics import decisions
from zoo.evaluation.thresholds import monitor_threshold

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
    if "undetermined_threshold" in [note.kind for note in threshold_notes(predictions, ThresholdRule(rule))]:
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


def saturated(labels: list[int], logits: list[float]) -> Predictions:
    names = [str(i) for i in range(len(labels))]
    table = pd.DataFrame({"image": names, "patient": names})
    return Predictions(BINARY, table, np.array(labels)[:, None], np.array(logits)[:, None])


def decided(predictions: Predictions, rule: ThresholdRule) -> list[bool]:
    found: list[bool] = decisions(BINARY, predictions.logits, choose_thresholds(predictions, rule))[:, 0].tolist()
    return found


@pytest.mark.parametrize("rule", [ThresholdRule("specificity", 1), ThresholdRule("sensitivity", 1), YOUDEN])
def test_images_are_told_apart_by_logits_where_probabilities_round_to_one(rule: ThresholdRule) -> None:
    predictions = saturated([0, 0, 0, 1, 1], [1, 40, 41, 42, 90])
    assert set(predictions.probabilities[1:, 0]) == {1.0}
    assert choose_thresholds(predictions, rule) == {"abnormal": 41.5}
    assert decided(predictions, rule) == [False, False, False, True, True]
    assert Note("logit_threshold", ("abnormal",)) in threshold_notes(predictions, rule)
    assert as_probability(41.5) == 1


def test_a_specificity_that_no_positive_image_is_left_for_is_reached_and_noted() -> None:
    rule = ThresholdRule("specificity", 1)
    for top in (100.0, 36.0, 3.0):  # 36 is one rounding below the probability 1
        predictions = saturated([0, 1, 1], [top, top, -1])
        threshold = choose_thresholds(predictions, rule)["abnormal"]
        assert threshold == 101 if top == 100 else predictions.probabilities[0, 0] < threshold <= 1
        assert decided(predictions, rule) == [False, False, False]
        assert Note("target_by_one_decision", ("abnormal",)) in threshold_notes(predictions, rule)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([-800.0, -90, 0, 0.5, 1, 2, 30, 36.5, 37, 38, 800])), min_size=2),
    st.sampled_from([0.5, 0.9, 1.0]),
)
def test_targets_hold_on_the_logits_however_extreme(pairs: list[tuple[bool, float]], target: float) -> None:
    labels, logits = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    predictions = saturated(labels.astype(int).tolist(), logits.tolist())
    for kind, of in (("sensitivity", labels), ("specificity", ~labels)):
        if not of.any():
            continue
        positive = np.array(decided(predictions, ThresholdRule(kind, target)))
        right = (positive == labels)[of].mean()
        assert right >= target
        # no cut between two logits that keeps the target has fewer mistakes in the other class
        cuts = [(logits >= cut) == labels for cut in (*logits, np.inf)]
        kept = [(found[~of].sum()) for found in cuts if found[of].mean() >= target]
        assert (positive == labels)[~of].sum() == max(kept)


def test_few_images_of_a_class_are_noted() -> None:
    labels = [1] * 4 + [0] * 30
    predictions = binary(labels, list(np.linspace(0.9, 0.1, 34)))
    for rule in (YOUDEN, ThresholdRule("f1")):
        assert threshold_notes(predictions, rule) == (Note("threshold_on_few_images", ("abnormal",), (4,)),)
    assert threshold_notes(predictions, ThresholdRule("fixed")) == ()


def test_the_default_is_youden_and_training_is_watched_at_a_half_as_before() -> None:
    assert Settings().threshold == YOUDEN == ThresholdRule("youden")
    assert monitor_threshold(YOUDEN) == 0.5
    assert monitor_threshold(ThresholdRule("fixed", 0.3)) == 0.3


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
    with pytest.raises(UsageError, match="the threshold rule youden does not apply"):
        check_rule(task.kind, ThresholdRule("youden"), asked=True)
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
    assert threshold_notes(predictions, ThresholdRule("youden")) == (
        Note("undetermined_threshold", ("Hernia",)),
        Note("threshold_on_few_images", ("Mass", "Edema"), (2, 1)),
    )
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
