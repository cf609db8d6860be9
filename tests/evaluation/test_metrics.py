"""Metrics against scikit-learn and SciPy, ties included."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax, softmax
from sklearn import metrics as sk

from zoo.core.tasks import Task
from zoo.evaluation import auprc, auroc, mean_auprc, mean_auroc
from zoo.evaluation.metrics import (
    IMAGE_METRICS,
    averages,
    confusion,
    decided,
    decisions,
    image_rates,
    mean_over_images,
    probabilities,
    ranking_scores,
    rates,
)

MULTILABEL = Task("multilabel", ("Mass", "Edema", "Hernia"))
MULTICLASS = Task("multiclass", ("normal", "bacterial", "viral"))

# few distinct scores, so that most of them tie
tied = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60).filter(
    lambda pairs: 0 < sum(p[0] for p in pairs) < len(pairs)
)


@settings(deadline=None)
@given(tied)
def test_auroc_and_auprc_equal_scikit_learn_with_ties(pairs: list[tuple[bool, int]]) -> None:
    labels, scores = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    assert auroc(labels, scores) == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-12)
    assert auprc(labels, scores) == pytest.approx(sk.average_precision_score(labels, scores), abs=1e-12)


@settings(deadline=None)
@given(tied, st.integers(-3, 3))
def test_rates_equal_scikit_learn(pairs: list[tuple[bool, int]], cut: int) -> None:
    labels, scores = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    called = scores >= cut
    found = {name: float(v[0]) for name, v in rates(confusion(labels[:, None], called[:, None])).items()}
    assert found["sensitivity"] == pytest.approx(sk.recall_score(labels, called))
    assert found["specificity"] == pytest.approx(sk.recall_score(labels, called, pos_label=0))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, called))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(labels, called))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, called))
    assert found["prevalence"] == pytest.approx(labels.mean())
    if called.any():
        assert found["precision"] == pytest.approx(sk.precision_score(labels, called))
    else:
        assert math.isnan(found["precision"])
    if not called.all():
        assert found["npv"] == pytest.approx(sk.precision_score(labels, called, pos_label=0))
    else:
        assert math.isnan(found["npv"])
    if 0 < called.sum() < len(called):
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(labels, called))
    else:
        assert math.isnan(found["mcc"])


@pytest.mark.parametrize("metric", [auroc, auprc])
@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1], [np.nan, np.nan, 1], []])
def test_one_class_is_undefined(metric, labels) -> None:
    assert math.isnan(metric(np.array(labels, dtype=float), np.arange(len(labels), dtype=float)))


@pytest.mark.parametrize("metric", [auroc, auprc])
@pytest.mark.parametrize("bad", [0, 1])
def test_nan_score_gives_nan(metric, bad: int) -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    scores[bad] = np.nan
    assert math.isnan(metric(np.array([0.0, 1, 0, 1]), scores))


def test_perfect_constant_and_inverted() -> None:
    labels = np.array([0.0, 0, 1, 1, 0])
    assert auroc(labels, labels) == 1
    assert auprc(labels, labels) == 1
    assert auroc(labels, np.zeros(5)) == 0.5
    assert auprc(labels, np.zeros(5)) == pytest.approx(0.4)
    assert auroc(labels, -labels) == 0


def test_unknown_labels_are_left_out() -> None:
    labels = np.array([1, 0, np.nan, 1, 0, np.nan])
    scores = np.array([3.0, 1, 9, 2, 2, -9])
    known = ~np.isnan(labels)
    assert auroc(labels, scores) == sk.roc_auc_score(labels[known], scores[known])
    assert auprc(labels, scores) == pytest.approx(sk.average_precision_score(labels[known], scores[known]))
    table = confusion(labels[:, None], (scores > 1.5)[:, None])
    assert [int(part[0]) for part in table] == [2, 1, 0, 1]


def test_f1_without_positives_is_undefined_not_zero() -> None:
    found = rates(confusion(np.zeros((4, 1)), np.array([[True], [False], [False], [False]])))
    assert math.isnan(found["f1"][0])
    assert math.isnan(found["sensitivity"][0])
    assert found["precision"][0] == 0
    assert found["specificity"][0] == 0.75


def test_probabilities_are_stable_and_equal_scipy() -> None:
    z = np.array([[-1000.0, 0, 1000], [-40, 3, 40]])
    np.testing.assert_allclose(probabilities(MULTILABEL, z), expit(z), rtol=1e-12)
    np.testing.assert_allclose(probabilities(MULTICLASS, z), softmax(z, axis=1), rtol=1e-12)


def test_ranking_scores_are_log_odds_that_do_not_saturate() -> None:
    z = np.array([[60.0, 0, 0], [50, 0, 0], [0.3, 0.1, -2]])
    assert probabilities(MULTICLASS, z)[0, 0] == probabilities(MULTICLASS, z)[1, 0] == 1
    scores = ranking_scores(MULTICLASS, z)
    assert scores[0, 0] > scores[1, 0]
    log_p = log_softmax(z[2])
    np.testing.assert_allclose(scores[2], log_p - np.log1p(-np.exp(log_p)), rtol=1e-9)
    assert ranking_scores(MULTILABEL, z) is z


def test_mean_auroc_leaves_undefined_labels_out() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((80, 3)) < 0.4).astype(np.float32)
    labels[:, 2] = 0
    logits = rng.normal(size=(80, 3)).astype(np.float32)
    expected = np.mean([sk.roc_auc_score(labels[:, k], logits[:, k]) for k in (0, 1)])
    assert mean_auroc(MULTILABEL, labels, logits) == pytest.approx(expected)
    expected = np.mean([sk.average_precision_score(labels[:, k], logits[:, k]) for k in (0, 1)])
    assert mean_auprc(MULTILABEL, labels, logits) == pytest.approx(expected)
    assert math.isnan(mean_auroc(MULTILABEL, np.zeros((80, 3)), logits))
    logits[3, 2] = np.nan
    assert math.isnan(mean_auroc(MULTILABEL, labels, logits))


def test_multiclass_equals_scikit_learn_one_vs_rest() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 90)
    logits = rng.normal(size=(90, 3)) + np.eye(3)[truth]
    expected = sk.roc_auc_score(truth, softmax(logits, axis=1), multi_class="ovr", average="macro")
    assert mean_auroc(MULTICLASS, np.eye(3)[truth], logits) == pytest.approx(expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([MULTILABEL, MULTICLASS]))
def test_averages_equal_scikit_learn(seed: int, task: Task) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 60)
    labels = np.eye(3)[truth] if task.exclusive else (rng.random((60, 3)) < 0.5).astype(float)
    logits = rng.normal(size=(60, 3))
    called = decisions(task, logits, dict.fromkeys(task.labels, 0.5))
    table = confusion(labels, called)
    found = averages(task, rates(table), rates(table.total()), table.tp + table.fn)
    for name in ("macro", "micro", "weighted"):
        assert found[name]["f1"] == pytest.approx(sk.f1_score(labels, called, average=name))
        assert found[name]["sensitivity"] == pytest.approx(sk.recall_score(labels, called, average=name))
        if task.exclusive:
            assert found[name]["accuracy"] == pytest.approx(sk.accuracy_score(truth, logits.argmax(axis=1)))
            expected = sk.balanced_accuracy_score(truth, logits.argmax(axis=1))
            assert found[name]["balanced_accuracy"] == pytest.approx(expected)


def test_decision_at_the_threshold_is_positive() -> None:
    task = Task("binary", ("abnormal",))
    assert decisions(task, np.array([[0.0], [-0.01]]), {"abnormal": 0.5}).ravel().tolist() == [True, False]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_means_over_images_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, called = (rng.random((25, 4)) < 0.3).astype(float), rng.random((25, 4)) < 0.3
    found = dict(zip(IMAGE_METRICS, mean_over_images(image_rates(labels, called)), strict=True))
    options = {"average": "samples", "zero_division": np.nan}
    assert found["precision"] == pytest.approx(sk.precision_score(labels, called, **options))
    assert found["sensitivity"] == pytest.approx(sk.recall_score(labels, called, **options))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, called, **options))


def test_undefined_and_unknown_are_left_out_of_means_over_images() -> None:
    labels = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, np.nan, 0], [np.nan, np.nan, np.nan]])
    called = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=bool)
    nan = np.nan
    expected = [[0.5, 0.5, 0.5], [nan, nan, nan], [nan, 0, 0], [1, 1, 1], [nan, nan, nan]]
    np.testing.assert_array_equal(image_rates(labels, called), expected)
    np.testing.assert_allclose(mean_over_images(image_rates(labels, called)), [0.75, 0.5, 0.5])
    assert np.isnan(mean_over_images(image_rates(labels[4:], called[4:]))).all()


@pytest.mark.parametrize("threshold", [0.3, 0.5])
@pytest.mark.parametrize("task", [Task("binary", ("Abnormal",)), MULTILABEL, MULTICLASS], ids=lambda task: task.kind)
def test_what_is_monitored_by_decisions_equals_scikit_learn(task: Task, threshold: float) -> None:
    rng = np.random.default_rng(4)
    logits = rng.normal(size=(60, task.outputs))
    if task.exclusive:
        truth = rng.integers(0, 3, 60)
        labels, called = np.eye(3)[truth], np.eye(3)[logits.argmax(axis=1)]
        accuracy = sk.accuracy_score(truth, logits.argmax(axis=1))
    else:
        labels = rng.integers(0, 2, (60, task.outputs)).astype(float)
        called = (expit(logits) >= threshold).astype(float)
        accuracy = np.mean([sk.accuracy_score(labels[:, k], called[:, k]) for k in range(task.outputs)])
    found = decided(task, labels, logits, threshold)
    assert found["accuracy"] == pytest.approx(accuracy)
    each = {"f1": sk.f1_score, "recall": sk.recall_score, "precision": sk.precision_score}
    for name, score in each.items():
        of_labels = [score(labels[:, k], called[:, k]) for k in range(task.outputs)]
        assert found[name] == pytest.approx(np.mean(of_labels)), name


def test_what_is_monitored_leaves_out_unknown_labels_and_undefined_ones() -> None:
    labels = np.array([[1, 0, np.nan], [0, 0, 1], [1, np.nan, 1]], dtype=float)
    logits = np.array([[2.0, -1, 9], [3, -2, -1], [-1, 9, 4]])
    found = decided(MULTILABEL, labels, logits, 0.5)
    # Mass: one hit, one false alarm, one miss; Edema has no positive; Hernia: one hit, one miss
    assert found == pytest.approx(
        {"f1": (0.5 + 2 / 3) / 2, "accuracy": (1 / 3 + 1 + 0.5) / 3, "recall": 0.5, "precision": 0.75}
    )
    assert all(math.isnan(value) for value in decided(MULTILABEL, labels, logits * np.nan, 0.5).values())


def test_images_with_the_same_logits_for_other_classes_are_tied_whatever_their_order() -> None:
    task = Task("multiclass", tuple("abcdefgh"))
    rng = np.random.default_rng(0)
    own, others = rng.normal(size=(200, 1)), rng.normal(size=(200, 7)) * 3
    one, other = (ranking_scores(task, np.concatenate([own, z], axis=1)) for z in (others, others[:, ::-1]))
    np.testing.assert_array_equal(one[:, 0], other[:, 0])
    np.testing.assert_array_equal(one[:, 1:], other[:, :0:-1])
