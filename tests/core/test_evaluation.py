"""Evaluations: numbers, what is undefined, what is said, and what is saved."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from zoo.errors import DataError
from zoo.evaluation import Evaluation, Interval, Predictions, evaluate, gap_verdict, patient_weights, verdict
from zoo.tasks import Task

BINARY = Task("binary", ("abnormal",))
MULTILABEL = Task("multilabel", ("Mass", "Edema", "Hernia"))
MULTICLASS = Task("multiclass", ("normal", "bacterial", "viral"))


def films(task: Task, number: int = 200, signal: float = 1.0, patients: int = 60, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    table = pd.DataFrame(
        {"image": [f"{i}.png" for i in range(number)], "patient": [str(p) for p in rng.integers(0, patients, number)]}
    )
    return Predictions(task, table, labels, signal * (labels - 0.5) + rng.normal(size=labels.shape))


def run(predictions: Predictions, replicates: int = 100, split: str = "test", **options) -> Evaluation:
    thresholds = dict.fromkeys(predictions.task.labels, 0.5)
    return evaluate(predictions, thresholds, split=split, replicates=replicates, **options)


def test_binary_equals_scikit_learn_and_has_intervals() -> None:
    predictions = films(BINARY)
    found = run(predictions, seed=4)
    y, z = predictions.labels[:, 0], predictions.logits[:, 0]
    row = found.per_label["abnormal"]
    assert row["auroc"].value == pytest.approx(sk.roc_auc_score(y, z))
    assert row["auprc"].value == pytest.approx(sk.average_precision_score(y, z))
    assert row["f1"].value == pytest.approx(sk.f1_score(y, z >= 0))
    assert found.headline == row["auroc"] == found.averages["macro"]["auroc"] == found.averages["micro"]["auroc"]
    weights = patient_weights(predictions.table["patient"], 100, 4)
    expected = np.quantile([sk.roc_auc_score(y, z, sample_weight=w) for w in weights], [0.025, 0.975])
    assert (row["auroc"].low, row["auroc"].high) == pytest.approx(tuple(expected))
    assert (found.images, found.patients, found.seed, found.replicates) == (200, 58, 4, 100)
    assert found.positives == {"abnormal": int(y.sum())}
    assert found.known == {"abnormal": 200}
    assert found.notes == ()


def test_multilabel_averages() -> None:
    predictions = films(MULTILABEL)
    predictions.labels[:50, 1] = np.nan
    found = run(predictions)
    values = []
    for k, label in enumerate(MULTILABEL.labels):
        use = ~np.isnan(predictions.labels[:, k])
        values.append(sk.roc_auc_score(predictions.labels[use, k], predictions.logits[use, k]))
        assert found.per_label[label]["auroc"].value == pytest.approx(values[-1])
    use = ~np.isnan(predictions.labels)
    assert found.headline.value == pytest.approx(np.mean(values))
    assert found.averages["weighted"]["auroc"].value == pytest.approx(
        np.average(values, weights=list(found.positives.values()))
    )
    assert found.averages["micro"]["auroc"].value == pytest.approx(
        sk.roc_auc_score(predictions.labels[use], predictions.logits[use])
    )
    assert found.known["Edema"] == 150
    for average in found.averages.values():
        assert average["auroc"].low < average["auroc"].value < average["auroc"].high


def test_macro_interval_is_of_the_mean_not_the_mean_of_intervals() -> None:
    predictions = films(MULTILABEL)
    found = run(predictions, seed=1)
    means = [
        np.mean(
            [sk.roc_auc_score(predictions.labels[:, k], predictions.logits[:, k], sample_weight=w) for k in range(3)]
        )
        for w in patient_weights(predictions.table["patient"], 100, 1)
    ]
    assert (found.headline.low, found.headline.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_multiclass_decides_by_the_most_probable_class() -> None:
    predictions = films(MULTICLASS)
    found = evaluate(predictions, {}, split="test", replicates=50)
    truth, called = predictions.labels.argmax(axis=1), predictions.logits.argmax(axis=1)
    assert found.averages["macro"]["accuracy"].value == pytest.approx(sk.accuracy_score(truth, called))
    assert found.averages["macro"]["f1"].value == pytest.approx(sk.f1_score(truth, called, average="macro"))
    assert found.headline.value == pytest.approx(sk.roc_auc_score(truth, predictions.probabilities, multi_class="ovr"))
    accuracy = found.averages["macro"]["accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    predictions = films(MULTILABEL)
    predictions.logits[[7, 9], 1] = bad
    with pytest.raises(DataError, match=r"test predictions: 2 of 200 films .* the first is '7\.png'"):
        run(predictions)


def test_films_named_twice_none_at_all_and_missing_thresholds_are_refused() -> None:
    predictions = films(BINARY)
    with pytest.raises(DataError, match="there are no films"):
        run(predictions.where(np.zeros(200)))
    with pytest.raises(ValueError, match="no threshold is given for abnormal"):
        evaluate(predictions, {}, split="test")
    predictions.table.loc[3, "image"] = "1.png"
    with pytest.raises(DataError, match=r"1 films are named more than once, the first is '1\.png'"):
        run(predictions)


@pytest.mark.parametrize(("value", "state"), [(0, "normal"), (1, "abnormal")])
def test_one_class_is_a_result(value: int, state: str) -> None:
    predictions = films(BINARY, 40)
    predictions.labels[:] = value
    found = run(predictions)
    assert f"AUROC is undefined: all 40 films are {state}." in found.notes
    assert math.isnan(found.headline.value)
    assert math.isnan(found.headline.low)
    assert found.per_label["abnormal"]["accuracy"].value == pytest.approx(
        ((predictions.logits[:, 0] >= 0) == value).mean()
    )
    assert verdict(found) == "AUROC on the test films is undefined: only one class is present."


def test_labels_left_out_of_the_mean_are_named() -> None:
    predictions = films(MULTILABEL)
    predictions.labels[:, 0] = 0
    predictions.labels[:, 2] = np.nan
    found = run(predictions)
    assert found.headline.value == found.per_label["Edema"]["auroc"].value
    assert (
        "AUROC is undefined for these labels, which are left out of its means: "
        "Mass (on none of 200 films), Hernia (unknown on every film)." in found.notes
    )


def test_ten_films_work_and_say_so() -> None:
    predictions = films(BINARY, 10, patients=1000)
    found = run(predictions, 200)
    assert 0 <= found.headline.low <= found.headline.value <= found.headline.high <= 1
    assert any(note.startswith("Fewer than 10 films of a class") for note in found.notes)


def test_rare_label_reports_dropped_replicates() -> None:
    predictions = films(MULTILABEL, 100, patients=10_000)
    predictions.labels[:, 2] = 0
    predictions.labels[5, 2] = 1
    found = run(predictions, 400)
    weight = patient_weights(predictions.table["patient"], 400, 0)[:, 5]
    dropped = int((weight == 0).sum())
    assert (
        f"Resamples without one of the classes are left out of the intervals (of 400): Hernia {dropped}." in found.notes
    )
    interval = found.per_label["Hernia"]["auroc"]
    assert not math.isnan(interval.value)
    assert not math.isnan(interval.low)


def test_too_few_patients_for_an_interval_are_said() -> None:
    # the one film with a hernia and the one without are both drawn in 12 of 27 resamples of three patients
    labels = np.array([[0, 1, 1], [1, 0, 0], [1, 1, np.nan], [0, 0, np.nan]])
    table = pd.DataFrame({"image": list("wxyz"), "patient": ["1", "2", "3", "3"]})
    found = run(Predictions(MULTILABEL, table, labels, np.arange(12).reshape(4, 3)), 400)
    assert "There are only 3 patients, so the intervals are not to be relied on." in found.notes
    assert "That is more than half for Hernia: too few patients for an interval." in found.notes
    interval = found.per_label["Hernia"]["auroc"]
    assert interval.value == 0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_one_patient_has_no_intervals() -> None:
    predictions = films(BINARY, 30, patients=1)
    found = run(predictions)
    assert "All films are of one patient, so there are no intervals." in found.notes
    assert not math.isnan(found.headline.value)
    assert math.isnan(found.headline.low)


def test_perfect_constant_and_inverted_predictors_are_called_so() -> None:
    predictions = films(BINARY, signal=30)
    perfect = run(predictions)
    assert perfect.headline == Interval(1.0, 1.0, 1.0)
    assert "check for leakage" in verdict(perfect)
    inverted = run(replace(predictions, logits=-predictions.logits))
    assert inverted.headline == Interval(0.0, 0.0, 0.0)
    assert "labels or outputs may be swapped" in verdict(inverted)
    constant = run(replace(predictions, logits=np.full((200, 1), -1.0)))
    assert constant.headline == Interval(0.5, 0.5, 0.5)
    assert "no better than chance" in verdict(constant)
    assert math.isnan(constant.per_label["abnormal"]["precision"].value)
    assert "No film is called positive, so precision is undefined." in constant.notes
    assert verdict(run(films(BINARY))).endswith("better than chance.")
    assert "too few patients (3)" in verdict(run(films(BINARY, 30, patients=3)))
    assert "without an interval" in verdict(run(films(BINARY), replicates=0))


def headline(split: str, value: float, low: float, high: float) -> Evaluation:
    found = run(films(BINARY, 40), 2, split=split)
    return replace(found, averages={"macro": {"auroc": Interval(value, low, high)}})


def test_gap_between_validation_and_test() -> None:
    val = headline("val", 0.8101, 0.78, 0.84)
    assert gap_verdict(val, headline("test", 0.6538, 0.62, 0.69)) == (
        "Test AUROC .654 is .156 below validation (.810): the validation figure does not carry over to the test films."
    )
    assert "though their intervals overlap" in str(gap_verdict(val, headline("test", 0.75, 0.6, 0.85)))
    assert gap_verdict(val, headline("test", 0.77, 0.76, 0.775)) is not None  # small, but the intervals are apart
    assert gap_verdict(val, headline("test", 0.76, 0.7, 0.82)) is None
    assert gap_verdict(val, headline("test", 0.9, 0.88, 0.92)) is None
    assert gap_verdict(val, headline("test", math.nan, math.nan, math.nan)) is None


def test_saved_evaluation_is_read_back(tmp_path: Path) -> None:
    predictions = films(MULTILABEL)
    predictions.labels[:, 2] = 0
    found = run(predictions, notes=("Said before.",))
    found.save(tmp_path / "run")
    text = (tmp_path / "run" / "evaluation-test.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["per_label"]["Hernia"]["auroc"] == {"value": None, "low": None, "high": None}
    loaded = Evaluation.load(tmp_path / "run", "test")
    assert loaded.to_dict() == found.to_dict()
    assert loaded.task == MULTILABEL
    assert loaded.notes[0] == "Said before."
    assert math.isnan(loaded.per_label["Hernia"]["auroc"].value)
    table = pd.read_csv(tmp_path / "run" / "metrics-test.csv")
    assert list(table.columns) == ["label", "metric", "value", "low", "high", "positives", "known"]
    assert len(table) == (3 + 3) * 11
    row = table[(table["label"] == "Mass") & (table["metric"] == "auroc")].iloc[0]
    assert row["value"] == pytest.approx(found.per_label["Mass"]["auroc"].value)
    assert row["positives"] == found.positives["Mass"]
    assert table[(table["label"] == "Hernia") & (table["metric"] == "auroc")]["value"].isna().all()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["evaluation-test.json", "metrics-test.csv"]


def test_unreadable_evaluation_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no evaluation at"):
        Evaluation.load(tmp_path, "test")
    (tmp_path / "evaluation-test.json").write_text('{"split": "test"}')
    with pytest.raises(DataError, match=r"evaluation-test\.json cannot be read.*lacks task"):
        Evaluation.load(tmp_path, "test")


def test_same_seed_same_intervals_whatever_the_order_of_films() -> None:
    predictions = films(BINARY)
    order = np.random.default_rng(0).permutation(200)
    shuffled = Predictions(BINARY, predictions.table.iloc[order], predictions.labels[order], predictions.logits[order])
    assert run(predictions, seed=3).headline == run(shuffled, seed=3).headline
    assert run(predictions, seed=3).headline != run(predictions, seed=4).headline
