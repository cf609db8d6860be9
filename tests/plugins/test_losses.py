"""The built-in losses against their formulas in NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_expit, log_softmax

from zoo.contracts import LabelCounts
from zoo.errors import UsageError
from zoo.options import validate
from zoo.registry import registry
from zoo.tasks import Task

FINDINGS = Task("multilabel", ("a", "b", "c"))
CLASSES = Task("multiclass", ("a", "b", "c"))
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 4, (16, 3)).astype("float32")
LABELS = RNG.integers(0, 2, (16, 3)).astype("float32")
SOFT = RNG.uniform(0, 1, (16, 3)).astype("float32")  # as MixUp makes them


def loss(name: str, task: Task = FINDINGS, counts: LabelCounts | None = None, **values: Any) -> Any:
    strategy = registry().get("loss", name)
    function = strategy.build(task, counts, validate(strategy.Options, values, "loss"))
    return lambda labels, logits: np.asarray(function(labels, logits))


def focal_formula(y: np.ndarray, z: np.ndarray, gamma: float, alpha: float) -> np.ndarray:
    p = expit(z.astype(float))
    positive = -alpha * y * (1 - p) ** gamma * log_expit(z)
    return positive - (1 - alpha) * (1 - y) * p**gamma * log_expit(-z)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_bce(labels: np.ndarray, smoothing: float) -> None:
    y = labels * (1 - smoothing) + smoothing / 2
    expected = -y * log_expit(LOGITS) - (1 - y) * log_expit(-LOGITS)
    np.testing.assert_allclose(loss("bce", label_smoothing=smoothing)(labels, LOGITS), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.6), (5.0, 0.9)])
def test_focal(labels: np.ndarray, gamma: float, alpha: float) -> None:
    got = loss("focal", gamma=gamma, alpha=alpha)(labels, LOGITS)
    np.testing.assert_allclose(got, focal_formula(labels, LOGITS, gamma, alpha), rtol=2e-5, atol=1e-6)


def test_focal_defaults_are_the_papers_and_smoothing_applies() -> None:
    expected = focal_formula(LABELS * 0.9 + 0.05, LOGITS, 2.0, 0.25)
    np.testing.assert_allclose(loss("focal", label_smoothing=0.1)(LABELS, LOGITS), expected, rtol=2e-5, atol=1e-6)


def test_focal_without_focus_is_half_of_bce() -> None:
    np.testing.assert_allclose(
        loss("focal", gamma=0, alpha=0.5)(LABELS, LOGITS), loss("bce")(LABELS, LOGITS) / 2, rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cce(smoothing: float) -> None:
    labels = np.eye(3, dtype="float32")[RNG.integers(0, 3, 16)]
    expected = -(labels * (1 - smoothing) + smoothing / 3) * log_softmax(LOGITS.astype(float), axis=1)
    got = loss("cce", CLASSES, label_smoothing=smoothing)(labels, LOGITS)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_weighted_bce_balances_each_label() -> None:
    counts = LabelCounts(np.array([10.0, 50.0, 80.0]), np.array([90.0, 50.0, 20.0]))
    known = counts.positive + counts.negative
    positive, negative = known / (2 * counts.positive), known / (2 * counts.negative)
    expected = -positive * LABELS * log_expit(LOGITS) - negative * (1 - LABELS) * log_expit(-LOGITS)
    np.testing.assert_allclose(loss("weighted-bce", counts=counts)(LABELS, LOGITS), expected, rtol=1e-5, atol=1e-6)


@given(
    positive=st.lists(st.integers(0, 10_000), min_size=3, max_size=3),
    negative=st.lists(st.integers(0, 10_000), min_size=3, max_size=3),
    cap=st.floats(1, 1000),
)
@settings(max_examples=40, deadline=None)
def test_weighted_bce_weights_average_one_and_keep_to_the_cap(
    positive: list[int], negative: list[int], cap: float
) -> None:
    counts = LabelCounts(np.array(positive, float), np.array(negative, float))
    function = loss("weighted-bce", counts=counts, cap=cap)
    zero = np.zeros((1, 3), "float32")
    on, off = (function(zero + label, zero)[0] / np.log(2) for label in (1, 0))
    assert np.isfinite([on, off]).all()
    known = counts.positive + counts.negative
    total = on * counts.positive + off * counts.negative
    np.testing.assert_allclose(total[known > 0], known[known > 0], rtol=1e-4)
    np.testing.assert_allclose([on[known == 0], off[known == 0]], 1, rtol=1e-6)
    ratio = np.maximum(on / off, off / on)
    assert (ratio <= cap * 1.001).all()
    both = (counts.positive > 0) & (counts.negative > 0)
    balanced = np.where(both, counts.negative / np.maximum(counts.positive, 1), 1)
    within = both & (balanced <= cap) & (balanced >= 1 / cap)
    np.testing.assert_allclose((on / off)[within], balanced[within], rtol=1e-3)


def test_weighted_bce_needs_counts() -> None:
    with pytest.raises(UsageError, match=r"label counts.*--loss bce"):
        loss("weighted-bce")


@pytest.mark.parametrize("name", ["bce", "focal", "weighted-bce", "cce"])
def test_half_precision_logits_give_the_float32_loss(name: str) -> None:
    counts = LabelCounts(np.full(3, 30.0), np.full(3, 70.0))
    function = loss(name, CLASSES if name == "cce" else FINDINGS, counts)
    labels = np.eye(3, dtype="float32")
    logits = (80 * (1 - 2 * labels)).astype("float16")  # as wrong as can be: -log p is 80, or 160 for softmax
    got = function(labels, logits)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, function(labels, logits.astype("float32")), rtol=1e-6)
    assert got.max() > 10


def test_tasks_served() -> None:
    served = {
        e.name: set(e.strategy.info.tasks) for e in registry().entries("loss") if e.origin.distribution == "cxr-zoo"
    }
    assert served == {
        "bce": {"binary", "multilabel"},
        "weighted-bce": {"binary", "multilabel"},
        "focal": {"binary", "multilabel"},
        "cce": {"multiclass"},
    }
