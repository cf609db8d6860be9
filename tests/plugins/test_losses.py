"""The built-in losses against their formulas in NumPy and SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_expit, log_softmax

from zoo.core.contracts import LabelCounts
from zoo.core.errors import UsageError
from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.core.tasks import Task

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


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.01])
@pytest.mark.parametrize(("gamma", "balancing"), [(2.0, False), (2.0, True), (0.5, False), (0.0, True)])
def test_losses_named_as_keras_names_them_are_those(
    labels: np.ndarray, smoothing: float, gamma: float, balancing: bool
) -> None:
    import keras

    options = {"label_smoothing": smoothing, "gamma": gamma, "apply_class_balancing": balancing}
    theirs = keras.losses.BinaryFocalCrossentropy(from_logits=True, alpha=0.25, reduction=None, **options)
    plain = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
    one = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing, reduction=None)
    for name, expected, asked in (
        ("binary-focal", theirs, options | {"alpha": 0.25}),
        ("bce", plain, {"label_smoothing": smoothing}),
    ):
        got = loss(name, **asked)(labels, LOGITS)
        np.testing.assert_allclose(got.mean(axis=1), np.asarray(expected(labels, LOGITS)), rtol=2e-5, atol=1e-6)
    shares = labels / np.maximum(labels.sum(axis=1, keepdims=True), 1)
    got = loss("cce", CLASSES, label_smoothing=smoothing)(shares, LOGITS)
    np.testing.assert_allclose(got.sum(axis=1), np.asarray(one(shares, LOGITS)), rtol=2e-5, atol=1e-5)


def test_the_recipe_that_quotes_keras_focal_loss_gives_its_value() -> None:
    """BinaryFocalCrossentropy(gamma=2, alpha=.25, label_smoothing=.01) leaves α aside; Lin et al.'s loss does not."""
    import keras

    config = registry().get("recipe", "simplified-densenet-v2").config["loss"]
    assert {**config, "name": ""} == {"name": "", "gamma": 2.0, "alpha": 0.25, "label_smoothing": 0.01}
    options = {name: value for name, value in config.items() if name != "name"}
    theirs = float(keras.losses.BinaryFocalCrossentropy(from_logits=True, **options)(LABELS, LOGITS))
    assert loss(config["name"], **options)(LABELS, LOGITS).mean() == pytest.approx(theirs, rel=1e-5)
    assert abs(loss("focal", **options)(LABELS, LOGITS).mean() / theirs - 1) > 0.2


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


COUNTS = LabelCounts(np.array([5.0, 80.0, 400.0]), np.array([495.0, 420.0, 100.0]))
NAMES = ["bce", "focal", "binary-focal", "weighted-bce", "cce", "asymmetric", "class-balanced", "ldam"]


def asymmetric_formula(y: np.ndarray, z: np.ndarray, gamma_neg: float, gamma_pos: float, clip: float) -> np.ndarray:
    p = expit(z.astype(float))
    shifted = np.maximum(p - clip, 0)
    positive = -y * (1 - p) ** gamma_pos * log_expit(z)
    log_rest = np.log(np.minimum(1 - p + clip, 1)) if clip else log_expit(-z.astype(float))
    return positive - (1 - y) * shifted**gamma_neg * log_rest


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize(("gamma_neg", "gamma_pos", "clip"), [(4.0, 0.0, 0.05), (4.0, 1.0, 0.0), (0.5, 0.2, 0.2)])
def test_asymmetric(labels: np.ndarray, gamma_neg: float, gamma_pos: float, clip: float) -> None:
    got = loss("asymmetric", gamma_neg=gamma_neg, gamma_pos=gamma_pos, clip=clip)(labels, LOGITS)
    expected = asymmetric_formula(labels, LOGITS, gamma_neg, gamma_pos, clip)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_asymmetric_defaults_are_the_papers_and_smoothing_applies() -> None:
    expected = asymmetric_formula(LABELS * 0.9 + 0.05, LOGITS, 4.0, 0.0, 0.05)
    np.testing.assert_allclose(loss("asymmetric", label_smoothing=0.1)(LABELS, LOGITS), expected, rtol=1e-4, atol=1e-6)


def test_asymmetric_without_asymmetry_is_bce_and_ignores_negatives_below_the_clip() -> None:
    plain = loss("asymmetric", gamma_neg=0, clip=0)(LABELS, LOGITS)
    np.testing.assert_allclose(plain, loss("bce")(LABELS, LOGITS), rtol=1e-5, atol=1e-7)
    negatives = np.zeros((1, 3), "float32")
    easy = np.log(np.array([[0.01, 0.04, 0.3]]) / (1 - np.array([[0.01, 0.04, 0.3]]))).astype("float32")
    values = loss("asymmetric")(negatives, easy)[0]
    assert (values[:2] == 0).all()
    assert values[2] > 0


def effective_weights(counts: np.ndarray, beta: float) -> np.ndarray:
    weights = (1 - beta) / (1 - beta**counts)
    return weights * len(counts) / weights.sum()


@pytest.mark.parametrize(("beta", "gamma", "smoothing"), [(0.0, 0.0, 0.0), (0.9, 2.0, 0.1), (0.9999, 0.5, 0.0)])
def test_class_balanced_weighs_presence_and_absence_of_each_label(beta: float, gamma: float, smoothing: float) -> None:
    pairs = zip(COUNTS.positive, COUNTS.negative, strict=True)
    present, absent = np.array([effective_weights(np.array(pair), beta) for pair in pairs]).T
    p, z, y = expit(LOGITS.astype(float)), LOGITS.astype(float), LABELS * (1 - smoothing) + smoothing / 2
    expected = -present * y * (1 - p) ** gamma * log_expit(z) - absent * (1 - y) * p**gamma * log_expit(-z)
    function = loss("class-balanced", counts=COUNTS, beta=beta, gamma=gamma, label_smoothing=smoothing)
    np.testing.assert_allclose(function(LABELS, LOGITS), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("beta", "gamma", "smoothing"), [(0.0, 0.0, 0.0), (0.99, 2.0, 0.3), (0.999, 0.5, 0.0)])
def test_class_balanced_weighs_classes(beta: float, gamma: float, smoothing: float) -> None:
    labels = np.eye(3, dtype="float32")[RNG.integers(0, 3, 16)]
    log_p = log_softmax(LOGITS.astype(float), axis=1)
    y = labels * (1 - smoothing) + smoothing / 3
    expected = -effective_weights(COUNTS.positive, beta) * y * (1 - np.exp(log_p)) ** gamma * log_p
    function = loss("class-balanced", CLASSES, COUNTS, beta=beta, gamma=gamma, label_smoothing=smoothing)
    np.testing.assert_allclose(function(labels, LOGITS), expected, rtol=1e-4, atol=1e-6)


def test_class_balanced_goes_from_equal_weights_to_inverse_frequency() -> None:
    zero, present = np.zeros((1, 3), "float32"), np.ones((1, 3), "float32")
    equal = loss("class-balanced", counts=COUNTS, beta=0)(present, zero)[0] / np.log(2)
    np.testing.assert_allclose(equal, 1, rtol=1e-6)
    inverse = loss("class-balanced", counts=COUNTS, beta=1 - 1e-9)(present, zero)[0] / np.log(2)
    np.testing.assert_allclose(inverse, 2 * COUNTS.negative / (COUNTS.positive + COUNTS.negative), rtol=1e-4)


def ldam_margins(counts: np.ndarray, widest: float = 0.5) -> np.ndarray:
    return widest * (counts / counts.min()) ** -0.25


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_ldam_takes_the_margin_off_the_logit_of_the_class(smoothing: float) -> None:
    widths, y = ldam_margins(COUNTS.positive), SOFT / SOFT.sum(axis=1, keepdims=True)
    expected = np.zeros((16, 3))
    for k in range(3):
        behind = LOGITS.astype(float) - widths * (np.arange(3) == k)
        expected[:, k] = -(y * (1 - smoothing) + smoothing / 3)[:, k] * log_softmax(behind, axis=1)[:, k]
    got = loss("ldam", CLASSES, COUNTS, label_smoothing=smoothing)(y, LOGITS)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("labels", [LABELS, SOFT], ids=["hard", "soft"])
def test_ldam_of_a_label_has_a_margin_on_both_sides(labels: np.ndarray) -> None:
    widths = ldam_margins(np.concatenate([COUNTS.positive, COUNTS.negative]), 0.8)
    z = LOGITS.astype(float)
    expected = -labels * log_expit(z - widths[:3]) - (1 - labels) * log_expit(-z - widths[3:])
    got = loss("ldam", counts=COUNTS, max_margin=0.8)(labels, LOGITS)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_ldam_of_one_label_is_that_of_the_classes_present_and_absent() -> None:
    binary, two = Task("binary", ("a",)), Task("multiclass", ("absent", "present"))
    z, y = LOGITS[:, :1], LABELS[:, :1]
    one = loss("ldam", binary, LabelCounts(np.array([5.0]), np.array([95.0])))(y, z)[:, 0]
    counts = LabelCounts(np.array([95.0, 5.0]), np.array([5.0, 95.0]))
    pair = loss("ldam", two, counts)(np.hstack([1 - y, y]), np.hstack([0 * z, z])).sum(axis=1)
    np.testing.assert_allclose(one, pair, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("task", [FINDINGS, CLASSES], ids=["multilabel", "multiclass"])
@pytest.mark.parametrize("positive", [[0, 50, 100], [0, 0, 0]], ids=["one", "all"])
@pytest.mark.parametrize("name", ["class-balanced", "ldam"])
def test_a_class_without_images_leaves_the_loss_finite(name: str, positive: list[int], task: Task) -> None:
    counts = LabelCounts(np.array(positive, float), 100.0 - np.array(positive))
    got = loss(name, task, counts)(LABELS, LOGITS)
    assert np.isfinite(got).all()


def test_a_class_without_images_does_not_decide_the_margins_of_the_others() -> None:
    empty = LabelCounts(np.array([0.0, 50.0, 100.0]), np.zeros(3))
    got = loss("ldam", CLASSES, empty)(np.eye(3, dtype="float32"), np.zeros((3, 3), "float32")).max(axis=1)
    widths = np.array([0.5, 0.5, 0.5 * 2**-0.25])
    np.testing.assert_allclose(got, np.log(1 + 2 * np.exp(widths)), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "task", "instead"), [("class-balanced", FINDINGS, "bce"), ("ldam", CLASSES, "cce")], ids=["cb", "ldam"]
)
def test_losses_that_need_counts_say_so(name: str, task: Task, instead: str) -> None:
    with pytest.raises(UsageError, match=rf"{name}.*label counts.*--loss {instead}"):
        loss(name, task)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "binary-focal"])
def test_a_label_of_one_half_is_half_of_each_side(name: str) -> None:
    task = CLASSES if name == "cce" else FINDINGS
    function = loss(name, task, COUNTS)
    zero = np.zeros((16, 3), "float32")
    sides = [function(zero + label, LOGITS) for label in (0, 1)]
    np.testing.assert_allclose(function(zero + 0.5, LOGITS), sum(sides) / 2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
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
        "binary-focal": {"binary", "multilabel"},
        "asymmetric": {"binary", "multilabel"},
        "class-balanced": {"binary", "multilabel", "multiclass"},
        "ldam": {"binary", "multilabel", "multiclass"},
        "cce": {"multiclass"},
    }
