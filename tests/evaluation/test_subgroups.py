"""Subgroups: how images are grouped, and the measures of each group against scikit-learn on the same draws."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from zoo.core.errors import DataError, UsageError
from zoo.core.tasks import Task
from zoo.evaluation import Interval, Predictions, patient_weights
from zoo.evaluation.subgroups import AGES, Gap, Gaps, Group, clear_gaps, group_names, subgroups

BINARY = Task("binary", ("Abnormal",))
MULTILABEL = Task("multilabel", ("Mass", "Edema", "Hernia"))
MULTICLASS = Task("multiclass", ("normal", "bacterial", "viral"))


def make_images(task: Task, number: int = 300, patients: int = 90, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    table = pd.DataFrame(
        {
            "image": [f"{i}.png" for i in range(number)],
            "patient": [str(p) for p in rng.integers(0, patients, number)],
            "sex": rng.choice(["F", "M"], number),
            "age": rng.integers(1, 95, number).astype(float),
            "view": rng.choice(["AP", "PA", "LATERAL"], number),
        }
    )
    return Predictions(task, table, labels, 1.5 * (labels - 0.5) + rng.normal(size=labels.shape))


def measure(predictions: Predictions, columns: list[str] | None = None) -> dict[tuple, Group]:
    thresholds = dict.fromkeys(predictions.task.labels, 0.5)
    found = subgroups(predictions, thresholds, columns)
    return {(g.column, g.name, g.label): g for g in found}


def test_a_group_and_its_gap_equal_scikit_learn_and_their_intervals_resamples_of_the_patients() -> None:
    predictions = make_images(BINARY)
    group = measure(predictions, ["sex"])["sex", "F", "Abnormal"]
    y, z = predictions.labels[:, 0], predictions.logits[:, 0]
    women = (predictions.table["sex"] == "F").to_numpy()
    values, gaps, missed = [], [], []
    for w in patient_weights(predictions.table["patient"], 300, 3):
        own, rest = (sk.roc_auc_score(y[m], z[m], sample_weight=w[m]) for m in (women, ~women))
        own_found, rest_found = (sk.recall_score(y[m], z[m] >= 0, sample_weight=w[m]) for m in (women, ~women))
        values.append(own)
        gaps.append(own - rest)
        missed.append(rest_found - own_found)
    assert group.auroc.value == pytest.approx(sk.roc_auc_score(y[women], z[women]))
    assert group.sensitivity.value == pytest.approx(sk.recall_score(y[women], z[women] >= 0))
    assert group.false_negative_rate.value == pytest.approx(1 - group.sensitivity.value)
    assert group.auroc_gap.value == pytest.approx(group.auroc.value - sk.roc_auc_score(y[~women], z[~women]))
    for interval, drawn in ((group.auroc, values), (group.auroc_gap, gaps), (group.fnr_gap, missed)):
        assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.03)
    assert (group.images, group.positives) == (women.sum(), y[women].sum())
    assert group.negatives == group.images - group.positives
    assert group.patients == predictions.table["patient"][women].nunique()
    assert not group.small


def test_macro_is_the_mean_over_the_labels_that_are_defined() -> None:
    predictions = make_images(MULTILABEL)
    old = (predictions.table["age"] >= 80).to_numpy()
    predictions.labels[old, 2] = 0  # no Hernia above 80
    predictions.labels[:40, 0] = np.nan
    found = measure(predictions, ["age"])
    macro = found["age", "80+", "macro"]
    singles = [found["age", "80+", label] for label in MULTILABEL.labels]
    assert math.isnan(singles[2].auroc.value)
    assert math.isnan(singles[2].auroc.low)
    assert macro.auroc.value == pytest.approx(np.mean([s.auroc.value for s in singles[:2]]))
    assert macro.auroc_gap.value == pytest.approx(np.mean([s.auroc_gap.value for s in singles[:2]]))
    assert macro.positives == sum(s.positives for s in singles)
    assert singles[0].images == int((old & ~np.isnan(predictions.labels[:, 0])).sum()) < macro.images == old.sum()
    assert singles[2].small
    assert [name for (_, name, label) in found if label == "macro"] == [name for name, _ in AGES]


def test_multiclass_counts_the_most_probable_class_and_needs_no_threshold() -> None:
    predictions = make_images(MULTICLASS)
    found = {(g.name, g.label): g for g in subgroups(predictions, {}, ["view"])}
    lateral = (predictions.table["view"] == "LATERAL").to_numpy()
    classes, predicted = predictions.labels[lateral].argmax(axis=1), predictions.logits[lateral].argmax(axis=1)
    recall = sk.recall_score(classes, predicted, average=None)
    assert [found["LATERAL", label].sensitivity.value for label in MULTICLASS.labels] == pytest.approx(list(recall))
    assert found["LATERAL", "macro"].sensitivity.value == pytest.approx(recall.mean())


def test_two_groups_have_opposite_gaps_and_missing_values_a_group_of_their_own() -> None:
    predictions = make_images(BINARY)
    found = measure(predictions, ["sex"])
    women, men = found["sex", "F", "Abnormal"], found["sex", "M", "Abnormal"]
    for one, other in ((women.auroc_gap, men.auroc_gap), (women.fnr_gap, men.fnr_gap)):
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    predictions.table.loc[:24, "sex"] = None
    found = measure(predictions, ["sex"])
    assert [name for _, name, _ in found] == ["F", "M", "unknown"]
    assert found["sex", "unknown", "Abnormal"].images == 25


def test_a_column_with_one_group_has_no_gap() -> None:
    predictions = make_images(BINARY)
    predictions.table["view"] = "PA"
    group = measure(predictions, ["view"])["view", "PA", "Abnormal"]
    assert group.images == 300
    assert not math.isnan(group.auroc.low)
    assert math.isnan(group.auroc_gap.value)
    assert math.isnan(group.fnr_gap.high)
    assert clear_gaps([group]) == Gaps()
    predictions.table["view"] = None
    assert [name for _, name, _ in measure(predictions, ["view"])] == ["unknown"]


def test_groups_with_few_images_or_patients_are_small() -> None:
    predictions = make_images(BINARY)
    table = predictions.table
    table["hospital"] = ["A"] * 150 + ["B"] * 131 + ["C"] * 19
    table.loc[:149, "patient"] = [str(1000 + i % 19) for i in range(150)]
    found = measure(predictions, ["hospital"])
    small = {name: g.small for (_, name, _), g in found.items()}
    assert small == {"A": True, "B": False, "C": True}
    assert found["hospital", "A", "Abnormal"].patients == 19


def test_default_columns_are_those_that_the_table_has() -> None:
    predictions = make_images(BINARY)
    assert {column for column, _, _ in measure(predictions)} == {"sex", "age", "view"}
    del predictions.table["view"], predictions.table["sex"]
    assert {column for column, _, _ in measure(predictions)} == {"age"}
    del predictions.table["age"]
    assert measure(predictions) == {}


def test_unknown_columns_and_those_that_are_no_groups_are_refused() -> None:
    predictions = make_images(BINARY)
    with pytest.raises(UsageError, match=r"unknown column of the predictions 'sexe'. Did you mean 'sex'\?") as error:
        measure(predictions, ["sexe"])
    assert "age, sex, view" in str(error.value)
    with pytest.raises(UsageError, match="unknown column"):
        measure(predictions, ["patient"])
    predictions.table["digest"] = predictions.table["image"]
    with pytest.raises(UsageError, match=r"'digest' has 300 different values, such as '0.png'"):
        measure(predictions, ["digest"])
    with pytest.raises(DataError, match="no images"):
        measure(predictions.where(np.zeros(300, bool)))


def test_values_of_a_single_patient_stand_alone() -> None:
    predictions = make_images(BINARY)
    predictions.table["patient"] = "1"
    group = measure(predictions, ["sex"])["sex", "F", "Abnormal"]
    assert group.auroc.value > 0.5
    assert math.isnan(group.auroc.low)
    text = json.dumps(group.to_dict(), allow_nan=False)
    assert json.loads(text)["auroc_gap"]["low"] is None


@given(st.lists(st.one_of(st.none(), st.floats(0, 120), st.integers(0, 120).map(float)), min_size=1, max_size=30))
def test_every_age_lies_in_its_band(ages: list[float | None]) -> None:
    names = group_names(pd.Series(ages, dtype=float), "age")
    for age, name in zip(ages, names, strict=True):
        if age is None:
            assert name == "unknown"
        elif name == "80+":
            assert age >= 80
        else:
            low, high = map(int, name.split("-"))
            assert low <= age < high + 1


@pytest.mark.parametrize(
    ("age", "band"),
    [
        (0, "0-17"),
        (17.9, "0-17"),
        (18, "18-39"),
        (39, "18-39"),
        (40, "40-59"),
        (60, "60-79"),
        (79, "60-79"),
        (80, "80+"),
    ],
)
def test_edges_of_the_bands(age: float, band: str) -> None:
    assert group_names(pd.Series([age]), "age").tolist() == [band]
    assert group_names(pd.Series([str(age), ""]), "Age").tolist() == [band, "unknown"]


@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=60))
def test_number_columns_become_values_or_ranges_that_hold_them(numbers: list[int | None]) -> None:
    names = group_names(pd.Series(numbers, dtype=float), "dose")
    distinct = {n for n in numbers if n is not None}
    for number, name in zip(numbers, names, strict=True):
        if number is None:
            assert name == "unknown"
        elif len(distinct) <= 8:
            assert name == str(number)
        else:
            low, high = [int(end) for end in name.split(" to ")] if " to " in name else [int(name)] * 2
            assert low <= number <= high
    assert len(set(names) - {"unknown"}) <= max(4, min(8, len(distinct)))


def test_quartiles_are_even_and_in_order() -> None:
    predictions = make_images(BINARY)
    predictions.table["dose"] = np.random.default_rng(0).permutation(300) / 7
    found = measure(predictions, ["dose"])
    assert [name for _, name, _ in found] == ["0 to 10.57", "10.71 to 21.29", "21.43 to 32", "32.14 to 42.71"]
    assert {g.images for g in found.values()} == {75}


def test_text_is_grouped_by_value() -> None:
    assert group_names(pd.Series(["01", " A ", "", None]), "site").tolist() == ["01", "A", "unknown", "unknown"]
    assert group_names(pd.Series([True, False]), "portable").tolist() == ["True", "False"]


def test_clear_gaps_are_counted_and_small_groups_passed_over() -> None:
    sure, unsure = Interval(-0.12, -0.2, -0.04), Interval(0.02, -0.1, 0.1)
    big = Group("sex", "F", "Abnormal", 200, 150, 90, 110, unsure, unsure, unsure, sure, 0.004, unsure, 0.7, False)
    men = replace(big, name="M", auroc_gap=Interval(0.12, 0.04, 0.2), fnr_gap=Interval(-0.02, -0.1, 0.1))
    assert clear_gaps([big, men]) == Gaps((Gap("sex", "F", "Abnormal", "auroc", sure),), 2)
    assert clear_gaps([replace(big, auroc_gap_p=0.03), replace(men, auroc_gap_p=0.03)]).clear == ()  # Holm: .06
    few = replace(men, positives=3, small=True)  # the rest of F is too small for a conclusion on its gap
    assert clear_gaps([big, few]) == Gaps((), 0)


def test_where_no_group_differs_few_evaluations_claim_a_gap() -> None:
    claimed = [bool(clear_gaps(list(measure(make_images(BINARY, seed=seed)).values())).clear) for seed in range(120)]
    assert np.mean(claimed) <= 0.06 + 2 * math.sqrt(0.05 * 0.95 / 120)


def test_the_p_of_a_gap_belongs_to_its_interval() -> None:
    predictions = make_images(BINARY)
    thresholds = {"Abnormal": 0.5}
    for group in subgroups(predictions, thresholds, ["view"]):
        again = subgroups(predictions, thresholds, ["view"], level=1 - group.auroc_gap_p)
        ends = next(g for g in again if g.name == group.name).auroc_gap
        assert min(abs(ends.low), abs(ends.high)) < 1e-6


def test_a_planted_gap_is_found_and_named() -> None:
    predictions = make_images(BINARY, number=1500, patients=1500)
    portable = (predictions.table["view"] == "AP").to_numpy()
    predictions.logits[portable] = np.random.default_rng(1).normal(size=(portable.sum(), 1))
    found = list(measure(predictions).values())
    gap = next(g for g in found if g.name == "AP").auroc_gap
    assert gap.high < 0
    assert Gap("view", "AP", "Abnormal", "auroc", gap) in clear_gaps(found).clear
