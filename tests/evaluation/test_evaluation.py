"""Evaluations: numbers, what is undefined, what is said, and what is saved."""

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
from zoo.evaluation import Evaluation, Predictions, evaluate, patient_weights, verdict

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
    weights = patient_weights(predictions.table["patient"], 100, 4)
    expected = np.quantile([sk.roc_auc_score(y, z, sample_weight=w) for w in weights], [0.025, 0.975])
    assert (row["auroc"].low, row["auroc"].high) == pytest.approx(tuple(expected))
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
    assert list(found.averages) == ["macro", "micro", "weighted", "samples"]
    for name, average in found.averages.items():
        metric = "f1" if name == "samples" else "auroc"
        assert average[metric].low < average[metric].value < average[metric].high


def test_sample_averages_equal_scikit_learn_on_all_images_and_on_every_draw() -> None:
    predictions = make_images(MULTILABEL)
    found = run(predictions, seed=2).averages["samples"]
    y, called = predictions.labels, predictions.logits >= 0
    weights = patient_weights(predictions.table["patient"], 100, 2)
    options = {"average": "samples", "zero_division": np.nan}
    for metric, score in {"precision": sk.precision_score, "sensitivity": sk.recall_score, "f1": sk.f1_score}.items():
        assert found[metric].value == pytest.approx(score(y, called, **options))
        drawn = [score(y, called, sample_weight=w, **options) for w in weights]
        assert (found[metric].low, found[metric].high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))
    assert math.isnan(found["auroc"].value)
    assert math.isnan(found["auroc"].low)
    assert "samples" not in run(make_images(BINARY)).averages
    assert "samples" not in run(make_images(MULTICLASS)).averages


def test_macro_interval_is_of_the_mean_not_the_mean_of_intervals() -> None:
    predictions = make_images(MULTILABEL)
    found = run(predictions, seed=1)
    means = [
        np.mean(
            [sk.roc_auc_score(predictions.labels[:, k], predictions.logits[:, k], sample_weight=w) for k in range(3)]
        )
        for w in patient_weights(predictions.table["patient"], 100, 1)
    ]
    assert (found.headline.low, found.headline.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_multiclass_decides_by_the_most_probable_class() -> None:
    predictions = make_images(MULTICLASS)
    found = evaluate(predictions, {}, split="test", replicates=50)
    truth, called = predictions.labels.argmax(axis=1), predictions.logits.argmax(axis=1)
    assert found.averages["macro"]["accuracy"].value == pytest.approx(sk.accuracy_score(truth, called))
    assert found.averages["macro"]["f1"].value == pytest.approx(sk.f1_score(truth, called, average="macro"))
    assert found.headline.value == pytest.approx(sk.roc_auc_score(truth, predictions.probabilities, multi_class="ovr"))
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


@pytest.mark.parametrize(("value", "state"), [(0, "normal"), (1, "abnormal")])
def test_one_class_is_a_result(value: int, state: str) -> None:
    predictions = make_images(BINARY, 40)
    predictions.labels[:] = value
    found = run(predictions)
    assert f"AUROC is undefined: all 40 images are {state}." in found.notes
    assert math.isnan(found.headline.value)
    assert math.isnan(found.headline.low)
    assert found.per_label["abnormal"]["accuracy"].value == pytest.approx(
        ((predictions.logits[:, 0] >= 0) == value).mean()
    )
    assert verdict(found) == "AUROC on the test images is undefined: only one class is present."


def test_labels_left_out_of_the_mean_are_named() -> None:
    predictions = make_images(MULTILABEL)
    predictions.labels[:, 0] = 0
    predictions.labels[:, 2] = np.nan
    found = run(predictions)
    assert found.headline.value == found.per_label["Edema"]["auroc"].value
    assert (
        "AUROC is undefined for these labels, which are left out of its means: "
        "Mass (on none of 200 images), Hernia (unknown on every image)." in found.notes
    )


def test_ten_images_work_and_say_so() -> None:
    predictions = make_images(BINARY, 10, patients=1000)
    found = run(predictions, 200)
    assert 0 <= found.headline.low <= found.headline.value <= found.headline.high <= 1
    assert any(note.startswith("Fewer than 10 images of a class") for note in found.notes)


def test_rare_label_reports_dropped_replicates() -> None:
    predictions = make_images(MULTILABEL, 100, patients=10_000)
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
    # the one image with a hernia and the one without are both drawn in 12 of 27 resamples of three patients
    labels = np.array([[0, 1, 1], [1, 0, 0], [1, 1, np.nan], [0, 0, np.nan]])
    table = pd.DataFrame({"image": list("wxyz"), "patient": ["1", "2", "3", "3"]})
    found = run(Predictions(MULTILABEL, table, labels, np.arange(12).reshape(4, 3)), 400)
    assert "There are only 3 patients, so the intervals are not to be relied on." in found.notes
    assert "That is more than half for Hernia: too few patients for an interval." in found.notes
    interval = found.per_label["Hernia"]["auroc"]
    assert interval.value == 0
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


@pytest.mark.parametrize("blank", [None, "", " ", np.nan])
def test_images_without_patient_are_their_own_and_it_is_said(blank: object) -> None:
    predictions = make_images(BINARY, 100, patients=20)
    known = run(predictions).patients
    predictions.table.loc[:9, "patient"] = blank
    kept = predictions.table["patient"].iloc[10:].nunique()
    found = run(predictions)
    assert kept <= known
    assert found.patients == kept + 10
    assert found.notes[0].startswith(
        "The patient of 10 of 100 images is unknown, so each counts as a patient of its own"
    )
    predictions.table["patient"] = predictions.table["patient"].astype(object)
    predictions.table["patient"] = blank
    found = run(predictions)
    assert found.patients == 100
    assert found.notes[0].startswith("The patient of every image is unknown")
    assert found.headline.low < found.headline.high
    assert not any("patient" in note for note in run(make_images(BINARY, 100, patients=20)).notes)


def test_same_pixels_under_two_names_are_said() -> None:
    predictions = make_images(BINARY, 100)
    predictions.table["digest"] = [f"d{i}" for i in range(100)]
    assert not any("pixels" in note for note in run(predictions).notes)
    predictions.table.loc[4, "digest"] = "d9"
    predictions.table.loc[[20, 21], "digest"] = np.nan
    assert "2 images have the same pixels as another one under another name; each is counted." in run(predictions).notes


def test_single_labels_without_information_are_named() -> None:
    predictions = make_images(MULTILABEL, signal=3)
    predictions.logits[:, 1] = 0.25
    predictions.logits[:, 2] *= -1
    found = run(predictions)
    assert found.constant == ("Edema",)
    assert "Every image gets the same output for Edema: it tells nothing there." in found.notes
    assert "Worse than chance, so labels or outputs may be swapped: Hernia." in found.notes
    assert run(make_images(MULTILABEL)).notes == ()


def test_one_patient_has_no_intervals() -> None:
    predictions = make_images(BINARY, 30, patients=1)
    found = run(predictions)
    assert "All images are of one patient, so there are no intervals." in found.notes
    assert not math.isnan(found.headline.value)
    assert math.isnan(found.headline.low)


def test_saved_evaluation_is_read_back(tmp_path: Path) -> None:
    predictions = make_images(MULTILABEL)
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
    assert len(table) == (3 + 4) * 11
    row = table[(table["label"] == "Mass") & (table["metric"] == "auroc")].iloc[0]
    assert row["value"] == pytest.approx(found.per_label["Mass"]["auroc"].value)
    assert row["positives"] == found.positives["Mass"]
    assert table[(table["label"] == "Hernia") & (table["metric"] == "auroc")]["value"].isna().all()
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["evaluation-test.json", "metrics-test.csv"]


def test_images_and_truth_are_named_and_older_files_without_that_are_read(tmp_path: Path) -> None:
    predictions = make_images(MULTILABEL, 50)
    predictions.logits[:, 0] = 1
    found = run(predictions)
    assert (found.images_digest, found.truth_digest) == (predictions.images_digest, predictions.truth_digest)
    found.save(tmp_path)
    assert Evaluation.load(tmp_path, "test").constant == ("Mass",)
    file = tmp_path / "evaluation-test.json"
    plain = json.loads(file.read_text())
    for name in ("images_digest", "truth_digest", "constant"):
        del plain[name]
    del plain["averages"]["samples"]
    file.write_text(json.dumps(plain))
    older = Evaluation.load(tmp_path, "test")
    assert (older.images_digest, older.truth_digest, older.constant) == ("", "", ())
    assert older.headline == found.headline


def test_unreadable_evaluation_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no evaluation at"):
        Evaluation.load(tmp_path, "test")
    (tmp_path / "evaluation-test.json").write_text('{"split": "test"}')
    with pytest.raises(DataError, match=r"evaluation-test\.json cannot be read.*lacks task"):
        Evaluation.load(tmp_path, "test")


def test_same_seed_same_intervals_whatever_the_order_of_images() -> None:
    predictions = make_images(BINARY)
    order = np.random.default_rng(0).permutation(200)
    shuffled = Predictions(BINARY, predictions.table.iloc[order], predictions.labels[order], predictions.logits[order])
    assert run(predictions, seed=3).headline == run(shuffled, seed=3).headline
    assert run(predictions, seed=3).headline != run(predictions, seed=4).headline
