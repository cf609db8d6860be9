"""Paired comparisons of two runs: difference, interval, p values, and what may not be compared."""

from __future__ import annotations

import inspect
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import Predictions
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.comparison import METRICS, Comparison, compare, differences, measure
from zoo.evaluation.delong import paired_test
from zoo.evaluation.influence import ranked
from zoo.evaluation.p_values import holm, range_p, range_quantile

BINARY = Task("binary", ("Abnormal",))
SEVERAL = Task("multilabel", ("Mass", "Nodule", "Hernia"))
CLASSES = Task("multiclass", ("normal", "viral", "bacterial"))


def make_images(
    task: Task = BINARY, seed: int = 0, skill: float = 1.0, number: int = 120, per_patient: int = 2
) -> Predictions:
    """Images with the same labels whatever the seed, and logits that are as good as `skill`."""
    rng = np.random.default_rng(0)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    logits = skill * labels + np.random.default_rng(1000 + seed).normal(size=labels.shape)
    patients = [f"p{i // per_patient}" for i in range(number)]
    table = pd.DataFrame({"image": [f"{i:03d}.png" for i in range(number)], "patient": patients})
    return Predictions(task, table, labels, logits)


def compared(a: Predictions, b: Predictions, metric: str = "auroc", runs: int = 2) -> Comparison:
    thresholds = dict.fromkeys(a.task.labels, 0.5)
    return compare(*(measure(n, f, metric, thresholds) for n, f in (("first", a), ("second", b))), runs=runs)


def test_a_good_run_differs_significantly_from_a_useless_one() -> None:
    found = compared(make_images(skill=4), make_images(seed=1, skill=0))
    assert found.overall.difference.low > 0.2
    assert found.overall.p < 1e-6
    assert found.overall.significant
    back = compared(make_images(seed=1, skill=0), make_images(skill=4)).overall.difference
    there = found.overall.difference
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES])
@pytest.mark.parametrize("metric", METRICS)
def test_a_run_does_not_differ_from_itself(task: Task, metric: str) -> None:
    found = compared(make_images(task), make_images(task), metric)
    row = found.overall
    assert (row.difference.value, row.difference.low, row.difference.high, row.p, row.p_adjusted) == (0, 0, 0, 1, 1)
    assert not row.significant


def perfect(seed: int, task: Task = BINARY, sure: float = 9.0) -> Predictions:
    """Right about every image where it is sure, the same output for every image where it is 0."""
    found = make_images(task)
    noise = np.random.default_rng(seed).random(found.labels.shape) * (sure > 0)
    return Predictions(found.task, found.table, found.labels, sure * (found.labels - 0.5) + noise)


@pytest.mark.parametrize("metric", ["auroc", "auprc", "sensitivity", "f1"])
def test_two_runs_without_a_mistake_are_equal_only_as_far_as_the_patients_tell(metric: str) -> None:
    found = compared(perfect(0), perfect(1), metric).overall
    q = range_quantile(0.95, 2, found.freedom)
    patients = round(q**2 / found.difference.high - q**2)
    assert 20 < patients <= 60
    assert (found.difference.value, found.p) == (0, 1)
    assert found.difference.high == -found.difference.low == pytest.approx(q**2 / (patients + q**2), rel=0.03)
    assert compared(perfect(0), perfect(0), metric).overall.difference.high == 0
    macro = compared(perfect(0, SEVERAL), perfect(1, SEVERAL), metric).overall.difference
    assert macro.low < 0 < macro.high


def test_a_run_without_a_mistake_is_better_than_one_that_says_nothing() -> None:
    found = compared(perfect(0), perfect(0, sure=0)).overall
    assert (found.difference.value, found.significant) == (0.5, True)
    assert 0 < found.difference.low < 0.5 < found.difference.high


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES])
@pytest.mark.parametrize("metric", METRICS)
def test_the_standard_error_is_that_of_patients_drawn_for_both_runs(task: Task, metric: str) -> None:
    a, b = (make_images(task, seed=s, skill=k, number=600, per_patient=3) for s, k in ((0, 1.2), (1, 0.8)))
    thresholds = dict.fromkeys(task.labels, 0.5)
    rng, drawn = np.random.default_rng(0), []
    for _ in range(200):
        rows = (3 * rng.integers(0, 200, 200)[:, None] + np.arange(3)).ravel()
        values = (
            measure(
                "drawn", Predictions(task, a.table, each.labels[rows], each.logits[rows]), metric, thresholds
            ).overall
            for each in (a, b)
        )
        drawn.append(next(values) - next(values))
    assert compared(a, b, metric).overall.standard_error == pytest.approx(np.std(drawn), rel=0.2)


def test_p_and_interval_are_student_s_and_agree() -> None:
    found = compared(make_images(skill=1.2), make_images(seed=1, skill=0.8)).overall
    distance = abs(found.difference.value) / found.standard_error
    assert found.p == found.p_adjusted == pytest.approx(2 * stats.t.sf(distance, found.freedom))
    reach = stats.t.ppf(0.975, found.freedom) * found.standard_error
    assert found.difference.high - found.difference.value == pytest.approx(reach)


@pytest.mark.parametrize("skill", [0.6, 0.9, 1.3])
def test_the_simultaneous_interval_excludes_nothing_where_p_is_not_small(skill: float) -> None:
    for runs in (2, 5, 30):
        for seed in range(1, 6):
            found = compared(make_images(skill=1.6), make_images(seed=seed, skill=skill), runs=runs).overall
            assert found.significant == (found.difference.low > 0 or found.difference.high < 0)
            tukey = stats.studentized_range.sf(
                math.sqrt(2) * abs(found.difference.value) / found.standard_error, runs, found.freedom
            )
            assert found.p_adjusted == pytest.approx(tukey, abs=5e-5)


def test_pairing_makes_the_interval_narrower_than_that_of_unrelated_runs() -> None:
    a = make_images(skill=1.0)
    b = Predictions(a.task, a.table, a.labels, a.logits + 0.2 * np.random.default_rng(9).normal(size=a.logits.shape))
    apart = [math.sqrt(measure("x", each).labels.variance[0]) for each in (a, b)]
    assert compared(a, b).overall.standard_error < math.hypot(*apart) / 3


@pytest.mark.parametrize("task", [SEVERAL, CLASSES])
@pytest.mark.parametrize("metric", METRICS)
def test_the_whole_is_the_macro_average_of_an_evaluation(task: Task, metric: str) -> None:
    from zoo.evaluation import evaluate

    a, b = make_images(task, skill=2), make_images(task, seed=1)
    thresholds = dict.fromkeys(task.labels, 0.5)
    found = compared(a, b, metric)
    own, other = (evaluate(each, thresholds, split="test") for each in (a, b))
    assert found.overall.first == pytest.approx(own.averages["macro"][metric].value)
    assert found.overall.difference.value == pytest.approx(
        own.averages["macro"][metric].value - other.averages["macro"][metric].value
    )
    for label in task.labels:
        assert found.per_label[label].first == pytest.approx(own.per_label[label][metric].value)
    whole_only = task.exclusive and metric in ("accuracy", "balanced_accuracy")
    assert found.overall.label == ("all" if whole_only else "macro")


def test_the_order_of_the_images_does_not_matter() -> None:
    a, b = make_images(), make_images(seed=1)
    shuffled = np.random.default_rng(0).permutation(len(b))
    mixed = Predictions(b.task, b.table.iloc[shuffled].reset_index(drop=True), b.labels[shuffled], b.logits[shuffled])
    assert compared(a, mixed).overall.p == pytest.approx(compared(a, b).overall.p)


def test_a_label_that_is_undefined_is_left_out_of_the_whole_and_stays_undefined() -> None:
    a, b = make_images(SEVERAL), make_images(SEVERAL, seed=1)
    labels = a.labels.copy()
    labels[:, 2] = 0
    a, b = (Predictions(SEVERAL, each.table, labels, each.logits) for each in (a, b))
    found = compared(a, b)
    assert math.isnan(found.per_label["Hernia"].difference.value)
    assert math.isnan(found.per_label["Hernia"].p_adjusted)
    rows = [found.per_label[label] for label in ("Mass", "Nodule")]
    assert found.overall.first == pytest.approx(np.mean([row.first for row in rows]))
    assert sorted(row.p_adjusted for row in rows) == sorted(holm([row.p for row in rows]))
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert json.loads(text)["per_label"]["Hernia"]["p"] is None


def test_delong_is_given_for_single_labels_clustered_by_patient() -> None:
    a, b = (make_images(seed=s) for s in (0, 1))
    found = compared(a, b)
    codes = patient_codes(a.table["patient"])[0]
    assert found.overall.p_delong == paired_test(a.labels[:, 0], a.logits[:, 0], b.logits[:, 0], codes).p
    assert found.no_delong is None
    assert (found.images, found.patients) == (120, 60)
    assert compared(a, b, "f1").no_delong == "not_auroc"
    several = compared(make_images(SEVERAL), make_images(SEVERAL, seed=1))
    assert math.isnan(several.overall.p_delong)
    assert 0 < several.per_label["Mass"].p_delong < 1
    assert several.no_delong == "mean_over_labels"


def false_positives(runs: int, positives: int, each: int, repetitions: int) -> float:
    """How often the best of equally good runs is found better than another of them."""
    rng = np.random.default_rng(7)
    found = 0
    for _ in range(repetitions):
        codes = np.repeat(np.arange(5 * positives), rng.integers(1, each + 1, 5 * positives))
        labels = (codes < positives).astype(float)[:, None]
        patient, image = rng.normal(size=(5 * positives, runs + 1))[codes], rng.normal(size=(len(codes), runs + 1))
        noise = np.sqrt(0.5) * (patient + image)
        scores = labels + noise[:, :1] + noise[:, 1:]
        ranking = ranked("auroc", np.repeat(labels, runs, axis=1), scores, codes, 5 * positives)
        best = ranking.value.argmax()
        moved = ranking.by_patient[:, [best]] - ranking.by_patient
        distance = (ranking.value[best] - ranking.value) / np.sqrt((moved**2).sum(axis=0).clip(1e-16))
        k = distance.argmax()
        far = distance[k] > 1.9  # nearer ones are never significant
        freedom = np.minimum(ranking.freedom, ranking.freedom[best])
        of_all = [range_p(float(d), 2, float(f)) for d, f in zip(distance, freedom, strict=True)]
        of_all[best] = 0.0
        found += far and (range_p(float(distance[k]), runs, float(freedom[k])) < 0.05 or max(of_all) < 0.05)
    return found / repetitions


@pytest.mark.parametrize(("runs", "positives"), [(2, 5), (10, 20)])
@pytest.mark.parametrize("each", [1, 8])
def test_equal_runs_are_rarely_told_apart(runs: int, positives: int, each: int) -> None:
    """The paired bootstrap with Holm's correction did so in 17% of two runs with 5 positives, and 13% of ten runs."""
    assert false_positives(runs, positives, each, 250) <= 0.09  # .05 and three standard errors of 250 repetitions


def test_no_seed_decides_since_nothing_is_drawn() -> None:
    a, b = make_images(skill=1.3), make_images(seed=1, skill=0.8)
    assert compared(a, b) == compared(a, b)
    assert "seed" not in inspect.signature(measure).parameters | inspect.signature(compare).parameters


@pytest.mark.parametrize("runs", [2, 3, 10, 100])
@pytest.mark.parametrize("freedom", [1.0, 3.7, 20.0, 800.0])
def test_tukey_s_p_is_that_of_the_studentised_range(runs: int, freedom: float) -> None:
    for distance in (0.5, 2.0, 4.0, 8.0):
        expected = stats.studentized_range.sf(distance * math.sqrt(2), runs, freedom)
        assert range_p(distance, runs, freedom) == pytest.approx(expected, abs=5e-5)
    reach = range_quantile(0.95, runs, freedom)
    assert range_p(reach, runs, freedom) == pytest.approx(0.05)
    assert range_p(0.0, runs, freedom) == pytest.approx(1)


def test_a_published_quantile_of_the_studentised_range() -> None:
    """Harter 1960, Annals of Mathematical Statistics 31:1122: q(.95; 10, 20) = 5.008, q(.95; 3, 10) = 3.877."""
    for runs, freedom, q in ((10, 20, 5.008), (3, 10, 3.877)):
        assert range_quantile(0.95, runs, freedom) * math.sqrt(2) == pytest.approx(q, abs=5e-4)


def test_holm_s_correction_of_a_known_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    one, undefined, two = holm([0.03, math.nan, 0.02])
    assert (one, two) == pytest.approx((0.04, 0.04))
    assert math.isnan(undefined)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_decides_as_the_step_down_procedure_does(p: list[float]) -> None:
    adjusted = holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    rejected = True
    for step, i in enumerate(order):
        level = 0.05 / (len(p) - step)
        if math.isclose(p[i], level, rel_tol=1e-9):
            return  # on the very edge rounding decides
        rejected = rejected and p[i] < level
        assert (adjusted[i] < 0.05) == rejected


def test_runs_on_different_images_labels_tasks_or_patients_are_refused() -> None:
    a = make_images()
    b = make_images(seed=1)
    assert differences("a", a, "b", b) == []
    fewer = b.where(np.arange(120) >= 10)
    assert differences("a", a, "b", fewer) == [
        "they were measured on different images (10 images only in a, such as '000.png')"
    ]
    relabelled = Predictions(b.task, b.table, np.where(np.arange(120)[:, None] < 3, np.nan, b.labels), b.logits)
    assert differences("a", a, "b", relabelled) == ["the labels differ on 3 of 120 images, such as '000.png'"]
    assert differences("a", relabelled, "b", relabelled) == []
    (other,) = differences("a", a, "b", make_images(SEVERAL))
    assert other == "a predicts binary (Abnormal), b multilabel (Mass, Nodule, Hernia)"
    for wrong in (fewer, relabelled, make_images(SEVERAL)):
        with pytest.raises(DataError, match="first and second cannot be compared"):
            compared(a, wrong)
    strangers = Predictions(b.task, b.table.assign(patient=[f"q{i}" for i in range(120)]), b.labels, b.logits)
    with pytest.raises(DataError, match="different patients"):
        compared(a, strangers)


def test_without_an_interval_nothing_is_claimed() -> None:
    a, b = (make_images(seed=s, per_patient=120) for s in (0, 1))
    found = compared(a, b)
    assert math.isnan(found.overall.p)
    assert (found.patients, found.overall.significant) == (1, False)
    none = Predictions(a.task, a.table, np.zeros_like(a.labels), a.logits)
    assert math.isnan(compared(none, none).overall.difference.value)


def test_holm_multiplies_the_least_by_their_number_and_never_falls() -> None:
    assert holm(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.06, 0.03, 0.06])
    assert holm(np.array([0.9, 0.8])) == [1.0, 1.0]
    assert holm(np.empty(0)) == []
