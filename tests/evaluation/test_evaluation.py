"""Evaluations: numbers, what is undefined, notes, and what is saved."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import Evaluation, Interval, Note, Predictions, evaluate, patient_weights
from zoo.evaluation.metrics import auprc, auroc, averages, by_label, confusion, decisions, image_rates, rates

BINARY = Task("binary", ("abnormal",))
MULTILABEL = Task("multilabel", ("Mass", "Edema", "Hernia"))
MULTICLASS = Task("multiclass", ("normal", "bacterial", "viral"))


def make_images(task: Task, number: int = 200, signal: float = 1.0, patients: int = 60, seed: int = 0) -> Predictions:
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
    predictions = make_images(BINARY)
    found = run(predictions, seed=4)
    y, z = predictions.labels[:, 0], predictions.logits[:, 0]
    row = found.per_label["abnormal"]
    assert row["auroc"].value == pytest.approx(sk.roc_auc_score(y, z))
    assert row["auprc"].value == pytest.approx(sk.average_precision_score(y, z))
    assert row["f1"].value == pytest.approx(sk.f1_score(y, z >= 0))
    assert found.headline == row["auroc"] == found.averages["macro"]["auroc"] == found.averages["micro"]["auroc"]
    assert row["auroc"].low < row["auroc"].value < row["auroc"].high
    assert (found.images, found.patients, found.seed, found.replicates) == (200, 58, 4, 100)
    assert found.positives == {"abnormal": int(y.sum())}
    assert found.known == {"abnormal": 200}
    assert found.notes == ()


def test_multilabel_averages() -> None:
    predictions = make_images(MULTILABEL)
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
    assert list(found.averages) == ["macro", "micro", "weighted", "samples", "samples_zero"]
    for name, average in found.averages.items():
        metric = "f1" if name.startswith("samples") else "auroc"
        assert average[metric].low < average[metric].value < average[metric].high


def test_sample_averages_equal_scikit_learn_and_their_intervals_are_like_those_of_resampled_patients() -> None:
    predictions = make_images(MULTILABEL)
    found = run(predictions).averages["samples"]
    y, positive = predictions.labels, predictions.logits >= 0
    weights = patient_weights(predictions.table["patient"], 300, 2)
    options = {"average": "samples", "zero_division": np.nan}
    by_image = image_rates(y, positive)
    scores = {"sensitivity": sk.recall_score, "precision": sk.precision_score, "f1": sk.f1_score}
    for i, (metric, score) in enumerate(scores.items()):
        assert found[metric].value == pytest.approx(score(y, positive, **options))
        known = ~np.isnan(by_image[:, i])
        assert alike(found[metric], weights[:, known] @ by_image[known, i] / weights[:, known].sum(axis=1))
        zero = run(predictions).averages["samples_zero"][metric].value
        assert zero == pytest.approx(score(y, positive, average="samples", zero_division=0))
    assert math.isnan(found["auroc"].value)
    assert math.isnan(found["auroc"].low)
    assert "samples" not in run(make_images(BINARY)).averages
    assert "samples" not in run(make_images(MULTICLASS)).averages


def alike(found: Interval, drawn: np.ndarray) -> bool:
    """Whether an interval has the width and the place of the percentiles of resampled values."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    wide = high - low
    assert found.high - found.low == pytest.approx(wide, rel=0.2)
    return max(abs(found.low - low), abs(found.high - high)) < 0.2 * wide


def measured(y: np.ndarray, scores: np.ndarray, positive: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of each label."""
    return {"auroc": by_label(auroc, y, scores), "auprc": by_label(auprc, y, scores), **rates(confusion(y, positive))}


@pytest.mark.parametrize("task", [MULTILABEL, MULTICLASS])
def test_averages_have_the_intervals_of_resampled_patients(task: Task) -> None:
    predictions = make_images(task, number=600, patients=200)
    found = evaluate(predictions, dict.fromkeys(task.labels, 0.5), split="test").averages
    y, scores = predictions.labels, predictions.scores
    positive = decisions(task, predictions.logits, dict.fromkeys(task.labels, 0.5))
    drawn = []
    for weights in patient_weights(predictions.table["patient"], 300, 1):
        rows = np.repeat(np.arange(len(y)), weights.astype(int))
        sides = y[rows], scores[rows], positive[rows]
        pooled = [each.reshape(-1, 1) for each in sides]
        labels, micro = (measured(*each) for each in (sides, pooled))
        drawn.append(averages(task, labels, micro, sides[0].sum(axis=0)))
    for average in ("macro", "micro", "weighted"):
        for metric in ("auroc", "auprc", "sensitivity", "precision", "f1", "accuracy", "balanced_accuracy", "mcc"):
            assert alike(found[average][metric], np.array([each[average][metric] for each in drawn])), (average, metric)


def test_multiclass_decides_by_the_most_probable_class() -> None:
    predictions = make_images(MULTICLASS)
    found = evaluate(predictions, {}, split="test", replicates=50)
    classes, predicted = predictions.labels.argmax(axis=1), predictions.logits.argmax(axis=1)
    assert found.averages["macro"]["accuracy"].value == pytest.approx(sk.accuracy_score(classes, predicted))
    assert found.averages["macro"]["f1"].value == pytest.approx(sk.f1_score(classes, predicted, average="macro"))
    assert found.headline.value == pytest.approx(
        sk.roc_auc_score(classes, predictions.probabilities, multi_class="ovr")
    )
    accuracy = found.averages["macro"]["accuracy"]
    assert accuracy.low < accuracy.value < accuracy.high


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    predictions = make_images(MULTILABEL)
    predictions.logits[[7, 9], 1] = bad
    with pytest.raises(DataError, match=r"test predictions: 2 of 200 images .* the first is '7\.png'"):
        run(predictions)


def test_images_named_twice_none_at_all_and_missing_thresholds_are_refused() -> None:
    predictions = make_images(BINARY)
    with pytest.raises(DataError, match="there are no images"):
        run(predictions.where(np.zeros(200)))
    with pytest.raises(ValueError, match="no threshold is given for abnormal"):
        evaluate(predictions, {}, split="test")
    predictions.table.loc[3, "image"] = "1.png"
    with pytest.raises(DataError, match=r"1 images are named more than once, the first is '1\.png'"):
        run(predictions)


@pytest.mark.parametrize("value", [0, 1])
def test_one_class_is_a_result(value: int) -> None:
    predictions = make_images(BINARY, 40)
    predictions.labels[:] = value
    found = run(predictions)
    assert Note("undefined_auroc", ("abnormal",)) in found.notes
    assert (found.positives["abnormal"], found.known["abnormal"]) == (40 * value, 40)
    assert math.isnan(found.headline.value)
    assert math.isnan(found.headline.low)
    assert found.per_label["abnormal"]["accuracy"].value == pytest.approx(
        ((predictions.logits[:, 0] >= 0) == value).mean()
    )


def test_labels_left_out_of_the_mean_are_named() -> None:
    predictions = make_images(MULTILABEL)
    predictions.labels[:, 0] = 0
    predictions.labels[:, 2] = np.nan
    found = run(predictions)
    assert found.headline.value == found.per_label["Edema"]["auroc"].value
    assert Note("undefined_auroc", ("Mass", "Hernia")) in found.notes
    assert (found.positives["Mass"], found.known["Mass"], found.known["Hernia"]) == (0, 200, 0)


def test_ten_images_work_and_are_noted() -> None:
    predictions = make_images(BINARY, 10, patients=1000)
    found = run(predictions, 200)
    assert 0 <= found.headline.low <= found.headline.value <= found.headline.high <= 1
    assert Note("few_images", ("abnormal",)) in found.notes


def test_one_positive_image_has_no_interval_and_the_mean_knows_it() -> None:
    predictions = make_images(MULTILABEL, 100, patients=10_000)
    without = run(predictions.where(np.ones(100, dtype=bool))).headline
    predictions.labels[:, 2] = 0
    predictions.labels[5, 2] = 1
    found = run(predictions)
    assert Note("no_interval", ("Hernia",)) in found.notes
    interval = found.per_label["Hernia"]["auroc"]
    assert not math.isnan(interval.value)
    assert math.isnan(interval.low)
    assert found.headline.high - found.headline.low > 2 * (without.high - without.low)


def test_too_few_patients_for_an_interval_are_noted() -> None:
    labels = np.array([[0, 1, 1], [1, 0, 0], [1, 1, np.nan], [0, 0, np.nan]])
    table = pd.DataFrame({"image": list("wxyz"), "patient": ["1", "2", "3", "3"]})
    found = run(Predictions(MULTILABEL, table, labels, np.arange(12).reshape(4, 3)), 400)
    assert Note("few_patients", counts=(3,)) in found.notes
    assert Note("no_interval", MULTILABEL.labels) in found.notes
    interval = found.per_label["Hernia"]["auroc"]
    assert interval.value == 0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize("blank", [None, "", " ", np.nan])
def test_images_without_patient_are_their_own_and_noted(blank: object) -> None:
    predictions = make_images(BINARY, 100, patients=20)
    known = run(predictions).patients
    predictions.table.loc[:9, "patient"] = blank
    kept = predictions.table["patient"].iloc[10:].nunique()
    found = run(predictions)
    assert kept <= known
    assert found.patients == kept + 10
    assert found.notes == (Note("unknown_patients", counts=(10,)),)
    predictions.table["patient"] = predictions.table["patient"].astype(object)
    predictions.table["patient"] = blank
    found = run(predictions)
    assert found.patients == 100
    assert found.notes == (Note("unknown_patients", counts=(100,)),)
    assert found.headline.low < found.headline.high
    assert run(make_images(BINARY, 100, patients=20)).notes == ()


def test_same_pixels_under_two_names_are_noted() -> None:
    predictions = make_images(BINARY, 100)
    predictions.table["digest"] = [f"d{i}" for i in range(100)]
    assert run(predictions).notes == ()
    predictions.table.loc[4, "digest"] = "d9"
    predictions.table.loc[[20, 21], "digest"] = np.nan
    assert run(predictions).notes == (Note("duplicate_images", counts=(2, 2)),)


def test_single_labels_without_information_are_noted() -> None:
    predictions = make_images(MULTILABEL, signal=3)
    predictions.logits[:, 1] = 0.25
    predictions.logits[:, 2] *= -1
    found = run(predictions)
    assert found.constant == ("Edema",)
    assert Note("constant_output", ("Edema",)) in found.notes
    assert Note("worse_than_chance", ("Hernia",)) in found.notes
    assert run(make_images(MULTILABEL)).notes == ()


def test_one_patient_has_no_intervals() -> None:
    predictions = make_images(BINARY, 30, patients=1)
    found = run(predictions)
    assert Note("one_patient") in found.notes
    assert not math.isnan(found.headline.value)
    assert math.isnan(found.headline.low)


def test_saved_evaluation_is_read_back(tmp_path: Path) -> None:
    predictions = make_images(MULTILABEL)
    predictions.labels[:, 2] = 0
    found = run(predictions)
    found.save(tmp_path / "run")
    text = (tmp_path / "run" / "evaluation-test.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["per_label"]["Hernia"]["auroc"] == {"value": None, "low": None, "high": None}
    loaded = Evaluation.load(tmp_path / "run", "test")
    assert loaded.to_dict() == found.to_dict()
    assert loaded.task == MULTILABEL
    assert loaded.notes == found.notes == (Note("undefined_auroc", ("Hernia",)),)
    assert math.isnan(loaded.per_label["Hernia"]["auroc"].value)
    table = pd.read_csv(tmp_path / "run" / "metrics-test.csv")
    assert list(table.columns) == ["label", "metric", "value", "low", "high", "positives", "known"]
    assert len(table) == (3 + 5) * 11
    row = table[(table["label"] == "Mass") & (table["metric"] == "auroc")].iloc[0]
    assert row["value"] == pytest.approx(found.per_label["Mass"]["auroc"].value)
    assert row["positives"] == found.positives["Mass"]
    assert table[(table["label"] == "Hernia") & (table["metric"] == "auroc")]["value"].isna().all()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["evaluation-test.json", "metrics-test.csv"]


def test_images_and_labels_are_identified(tmp_path: Path) -> None:
    predictions = make_images(MULTILABEL, 50)
    predictions.logits[:, 0] = 1
    found = run(predictions)
    assert (found.images_digest, found.labels_digest) == (predictions.images_digest, predictions.labels_digest)
    found.save(tmp_path)
    assert Evaluation.load(tmp_path, "test").constant == ("Mass",)


def test_unreadable_evaluation_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no evaluation at"):
        Evaluation.load(tmp_path, "test")
    (tmp_path / "evaluation-test.json").write_text('{"split": "test"}')
    with pytest.raises(DataError, match=r"evaluation-test\.json cannot be read.*lacks task"):
        Evaluation.load(tmp_path, "test")


def test_neither_the_order_of_images_nor_a_seed_matters() -> None:
    predictions = make_images(BINARY)
    order = np.random.default_rng(0).permutation(200)
    shuffled = Predictions(BINARY, predictions.table.iloc[order], predictions.labels[order], predictions.logits[order])
    one, two = run(predictions, seed=3).headline, run(shuffled, 0, seed=4).headline
    assert (one.value, one.low, one.high) == pytest.approx((two.value, two.low, two.high), abs=1e-12)


def test_images_that_are_called_normal_and_not_are_counted() -> None:
    task = Task("multilabel", ("Mass", "Nodule", "No Finding"))
    table = pd.DataFrame({"image": list("abcd"), "patient": list("abcd")})
    logits = np.array([[1, -1, 1], [-1, -1, 1], [1, 1, -1], [-1, 1, 1]], dtype=float)
    notes = run(Predictions(task, table, (logits > 0).astype(float), logits)).notes
    (note,) = [each for each in notes if each.kind == "contradictory_predictions"]
    assert (note.labels, note.counts) == (("No Finding",), (2,))
    apart = Predictions(task, table, (logits > 0).astype(float), logits * [-1, -1, 1])
    assert [each.counts for each in run(apart).notes if each.kind == "contradictory_predictions"] == [(3,)]
    neither = Predictions(task, table, (logits > 0).astype(float), np.where(logits[:, 2:] > 0, [-1, -1, 1], logits))
    assert not [each for each in run(neither).notes if each.kind == "contradictory_predictions"]
