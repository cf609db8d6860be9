"""A run that is asked about images: the predictions are those of its own evaluation, whatever the way the images come in."""

from __future__ import annotations

import importlib
import itertools
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import zoo
from zoo.config.resolve import resolve
from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.data.pipeline import read_records
from zoo.evaluation import metrics
from zoo.evaluation.calibration import Calibration
from zoo.evaluation.predictions import Predictions
from zoo.inference.classifier import NOT_FINITE, Classifier, Prediction
from zoo.inference.ood import OODScore
from zoo.inference.operating_point import OperatingPoint
from zoo.runs.run import Run

SIZE = 32
TASKS = ("binary", "multilabel", "multiclass")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of each task, and the test images of each as files, written without loss."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        for task in TASKS:
            run = zoo.train(
                task=task,
                model={"name": "tiny-cnn", "width": 8, "depth": 1},
                data={"name": "phantom", "patients": 40},
                image_size=SIZE,
                epochs=1,
                batch_size=16,
                threshold="youden" if task != "multiclass" else None,
                run=task,
                runs_dir=folder,
            ).run
            records = read_records(resolve([run.config()], registry()), registry())
            paths = dict(zip(records.table["image"], records.table["path"], strict=True))
            (folder / f"{task}-images").mkdir()
            for image in run.predictions("test").table["image"]:
                pixels, _ = records.source.read(paths[image])
                Image.fromarray(pixels).save(folder / f"{task}-images" / f"{image}.png")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """A copy of the run of the task that the test asks for; multilabel if it asks for none."""
    task = getattr(request, "param", "multilabel")
    shutil.copytree(trained / task, tmp_path / "run")
    return Run(tmp_path / "run")


def images_of(trained: Path, run: Run) -> list[Path]:
    folder = trained / f"{run.task().kind}-images"
    return [folder / f"{image}.png" for image in run.predictions("test").table["image"]]


def given(predictions: list[Prediction], name: str) -> np.ndarray:
    return np.stack([getattr(prediction, name) for prediction in predictions])


def decided(saved: Predictions, run: Run) -> np.ndarray:
    return metrics.decisions(saved.task, saved.logits, run.info()["thresholds"])


class Still:
    """A runtime that predictions at once: the mean of each image as every logit, and as its only feature."""

    name = "still"

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs

    def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        means = images.mean(axis=(1, 2), dtype=np.float32)[:, None]
        return np.repeat(means, self.outputs, axis=1), means

    def close(self) -> None:
        pass


def still(
    task: Task, thresholds: float = 0.5, calibration: Calibration | None = None, detector: Any = None
) -> Classifier:
    point = OperatingPoint(task, dict.fromkeys(task.labels, thresholds), calibration)
    return Classifier(Run(Path("nowhere")), point, 8, detector, runtime=Still(task.outputs))


@pytest.mark.parametrize("run", TASKS, indirect=True)
def test_predictions_for_the_run_s_images_are_those_it_saved(run: Run, trained: Path) -> None:
    saved, files = run.predictions("test"), images_of(trained, run)
    with Classifier.open(run) as classifier:
        for words in ({"batch_size": 32}, {"batch_size": 5, "workers": 0}, {"batch_size": 7, "workers": 2}):
            predictions = list(classifier.stream(files, **words))
            assert [each.file for each in predictions] == [str(file) for file in files]
            assert [each.reason for each in predictions] == [""] * len(files)
            assert np.abs(given(predictions, "probabilities") - saved.probabilities).max() <= 1e-5
            assert np.abs(given(predictions, "logits") - saved.logits).max() <= 1e-4
            assert np.array_equal(given(predictions, "positive"), decided(saved, run))
        assert classifier.labels == saved.task.labels
        assert classifier.image_size == SIZE
        thresholds = {} if saved.task.exclusive else run.info()["thresholds"]
        assert classifier.thresholds == thresholds


def test_images_read_by_processes_have_the_same_predictions(run: Run, trained: Path) -> None:
    files = [*images_of(trained, run)[:6], "nothing.png"]
    with Classifier.open(run) as classifier:
        one = list(classifier.stream(files, 4))
        other = list(classifier.stream(files, 4, 2, isolated=True))
    assert [each.reason for each in one] == [each.reason for each in other] == [""] * 6 + ["missing file"]
    assert np.array_equal(given(one[:6], "probabilities"), given(other[:6], "probabilities"))


def test_arrays_get_the_predictions_of_their_files(run: Run, trained: Path) -> None:
    files = images_of(trained, run)[:3]
    arrays = [np.asarray(Image.open(file)) for file in files]
    with Classifier.open(run) as classifier:
        expected = classifier.predict(files)
        found = classifier.predict(arrays)
        stack = classifier.predict(np.stack(arrays))
        assert found["file"].tolist() == ["array 0", "array 1", "array 2"]
        pd.testing.assert_frame_equal(found.drop(columns="file"), expected.drop(columns="file"))
        pd.testing.assert_frame_equal(stack, found)
        one = classifier.predict_one(arrays[0])
        assert one.probabilities is not None
        assert one.probabilities == pytest.approx(expected.filter(like="probability:").to_numpy()[0], abs=1e-6)
        assert one.image is not None
        assert one.image.shape == (SIZE, SIZE)


def test_the_table_has_a_row_per_image_and_nothing_for_those_that_cannot_be_read(run: Run, trained: Path) -> None:
    files = images_of(trained, run)
    saved = run.predictions("test")
    with Classifier.open(run) as classifier:
        table = classifier.predict([files[0], "nothing.png", str(files[1])])
        assert list(table.columns) == classifier.columns
        folder = classifier.predict(files[0].parent)
        assert classifier.predict(files[0])["file"].tolist() == [str(files[0])]
        assert len(classifier.predict([])) == 0
    assert table["reason"].tolist() == ["", "missing file", ""]
    for k, label in enumerate(saved.task.labels):
        assert table[f"probability:{label}"].tolist() == pytest.approx(
            [saved.probabilities[0, k], np.nan, saved.probabilities[1, k]], nan_ok=True, abs=1e-5
        )
        assert table[f"positive:{label}"].tolist() == [decided(saved, run)[0, k], None, decided(saved, run)[1, k]]
    assert folder["file"].tolist() == sorted(map(str, files))


@pytest.mark.parametrize("run", ["multiclass"], indirect=True)
def test_of_exclusive_classes_the_table_names_the_most_probable(run: Run, trained: Path) -> None:
    saved = run.predictions("test")
    table = zoo.load(run).predict(images_of(trained, run))
    assert table["class"].tolist() == [saved.task.labels[k] for k in saved.logits.argmax(axis=1)]
    assert table.filter(like="probability:").sum(axis=1).to_numpy() == pytest.approx(1)
    assert not [column for column in table.columns if column.startswith("positive:")]


def platt(task: Task) -> Calibration:
    slopes = np.linspace(0.3, 1.7, task.outputs)
    return Calibration(
        "platt", task, {label: {"slope": s, "intercept": s - 1.2} for label, s in zip(task.labels, slopes, strict=True)}
    )


def isotonic(task: Task) -> Calibration:
    steps = {"logits": [-1.0, -0.1, 0.1, 0.5], "values": [0.1, 0.3, 0.3, 0.9]}
    return Calibration("isotonic", task, {label: dict(steps) for label in task.labels})


@pytest.mark.parametrize("make", [platt, isotonic])
def test_probabilities_are_calibrated_and_decisions_stay(run: Run, trained: Path, make: Any) -> None:
    saved, calibration = run.predictions("test"), make(run.task())
    run.update_info(calibration=calibration.to_dict())
    with Classifier.open(run) as classifier:
        predictions = list(classifier.stream(images_of(trained, run)))
        thresholds = classifier.thresholds
        assert classifier.calibration == calibration
    probabilities = given(predictions, "probabilities")
    assert np.abs(probabilities - calibration.probabilities(saved.logits)).max() <= 1e-5
    assert np.abs(probabilities - saved.probabilities).max() > 0.01
    assert np.array_equal(given(predictions, "positive"), decided(saved, run))
    raw = run.info()["thresholds"]
    for k, label in enumerate(saved.task.labels):
        logits = np.zeros((1, saved.task.outputs))
        logits[0, k] = np.log(raw[label] / (1 - raw[label]))
        assert thresholds[label] == pytest.approx(calibration.probabilities(logits)[0, k], abs=1e-12)
        if make is platt:  # it makes no images equal: the decision can be read off
            assert np.array_equal(probabilities[:, k] >= thresholds[label], decided(saved, run)[:, k])


@pytest.mark.parametrize("run", ["multiclass"], indirect=True)
def test_a_temperature_of_exclusive_classes_changes_no_class(run: Run, trained: Path) -> None:
    saved = run.predictions("test")
    run.update_info(
        calibration=Calibration(
            "temperature", saved.task, {label: {"temperature": 0.2} for label in saved.task.labels}
        ).to_dict()
    )
    with Classifier.open(run) as classifier:
        predictions = list(classifier.stream(images_of(trained, run)))
        assert classifier.thresholds == {}
    expected = metrics.probabilities(saved.task, saved.logits.astype(float) / 0.2)
    assert np.abs(given(predictions, "probabilities") - expected).max() <= 1e-4
    assert np.array_equal(given(predictions, "positive"), decided(saved, run))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_at_the_end_of_the_scale_is_carried_there(threshold: float) -> None:
    task = Task("binary", ("Abnormal",))
    calibration = Calibration("platt", task, {"Abnormal": {"slope": 0.5, "intercept": 1.0}})
    assert still(task, threshold, calibration).thresholds == {"Abnormal": threshold}


def test_each_image_has_its_ood_score() -> None:
    class Bright:
        def score(self, features: np.ndarray, images: np.ndarray) -> list[OODScore]:
            assert images.shape == (len(features), 8, 8)
            return [OODScore(f > 99, float(f), 99.0, "too bright" if f > 99 else "") for f in features[:, 0]]

    images = [np.full((8, 8), value, np.uint8) for value in (5, 200, 90)]
    classifier = still(Task("binary", ("Abnormal",)), detector=Bright())
    predictions = list(classifier.stream([images[0], "nothing.png", *images[1:]], 3))
    assert [each.ood and each.ood.flagged for each in predictions] == [False, None, True, False]
    table = classifier.predict([images[0], "nothing.png", images[1]])
    assert table["flagged"].tolist() == [False, None, True]
    assert table["flag_reason"].tolist() == ["", "", "too bright"]


def test_a_prediction_that_is_not_finite_is_none() -> None:
    task = Task("multiclass", ("a", "b"))

    class Broken(Still):
        def predict(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits, features = super().predict(images)
            logits[1, 0] = np.nan
            return logits, features

    classifier = still(task)
    classifier.runtime = Broken(2)
    predictions = list(classifier.stream([np.zeros((8, 8), np.uint8)] * 3))
    assert [each.reason for each in predictions] == ["", NOT_FINITE, ""]
    assert predictions[1].probabilities is None


def test_images_are_read_as_predictions_are_consumed() -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for i in itertools.count():
            taken.append(i)
            yield np.full((4, 4), i % 256, np.uint8)

    with_reader = still(Task("binary", ("Abnormal",))).stream(images(), 5, 2)
    assert taken == []
    for number in range(1, 40):
        prediction = next(with_reader)
        assert prediction.logits is not None
        assert prediction.logits[0] == number - 1
        assert len(taken) <= number + 3 * 5 + 2
    with_reader.close()


def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    for i in range(4):
        Image.fromarray(np.full((90, 60), 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    classifier = still(Task("binary", ("Abnormal",)))

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in classifier.stream((tmp_path / f"{i % 4}.png" for i in range(count)), 16, 2, keep_images=True):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(50)
    assert peak(3000) < peak(300) + 200_000  # bytes: 2,700 predictions alone take some ten times that


def test_every_file_of_a_broken_corpus_has_a_prediction_or_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "core"))
    corpus = importlib.import_module("bad_files")
    root = tmp_path / "root"
    root.mkdir()
    cases = corpus.write_corpus(root)
    names = [str(root / name) for name in cases if not Path(name).is_absolute()]
    predictions = list(still(Task("binary", ("Abnormal",))).stream(names, 16))
    assert [each.file for each in predictions] == names
    for prediction, name in zip(predictions, names, strict=True):
        assert (prediction.probabilities is None) == bool(prediction.reason)
        case = cases.get(name.removeprefix(f"{root}/"))
        if case is not None and case.outcome == corpus.ASIDE and "outside" not in case.pattern:
            assert prediction.reason, name
        if case is not None and case.outcome == corpus.READ:
            assert not prediction.reason, (name, prediction.reason)
    assert sum(bool(each.reason) for each in predictions) > 100


def test_explain_gives_the_map_of_the_image_for_a_label(run: Run, trained: Path) -> None:
    from zoo.engine.load import load_network
    from zoo.explain.maps import Mapper

    file = images_of(trained, run)[0]
    pixels = np.asarray(Image.open(file))
    with Classifier.open(run) as classifier:
        prediction = classifier.predict_one(pixels)
        heat = classifier.explain(file, classifier.labels[2].upper())
        assert np.array_equal(heat, classifier.explain(pixels, classifier.labels[2]))
        strongest = classifier.positive_labels(prediction)[0]
        assert np.array_equal(classifier.explain(file), classifier.explain(file, classifier.labels[strongest]))
        assert classifier.explain(file, method="occlusion").shape == (SIZE, SIZE)
        assert prediction.image is not None
        several = classifier.heat(np.stack([prediction.image] * 3), [2, strongest, 2])
    expected = Mapper(load_network(run)).heat_maps(prediction.image[None], [2])[0]
    assert heat.shape == (SIZE, SIZE)
    assert heat.dtype == np.float32
    assert heat.max() <= 1
    assert np.abs(heat - expected).max() <= 1e-4
    assert np.abs(several[[0, 2]] - expected).max() <= 1e-4


def test_the_labels_an_image_is_positive_for_come_first_else_the_most_probable() -> None:
    classifier = still(Task("multilabel", ("a", "b", "c")))
    values = np.array([0.2, 0.9, 0.6])
    assert classifier.positive_labels(Prediction("", probabilities=values, positive=np.array([True, False, True]))) == [
        2,
        0,
    ]
    assert classifier.positive_labels(Prediction("", probabilities=values, positive=np.zeros(3, bool))) == [1]
    assert classifier.positive_labels(Prediction("", reason="missing file")) == []


def test_invalid_arguments_are_refused(run: Run, tmp_path: Path) -> None:
    with Classifier.open(run) as classifier:
        image = np.zeros((9, 9), np.uint8)
        with pytest.raises(UsageError, match=r"unknown label 'Effusio'. Did you mean 'Effusion'\?"):
            classifier.explain(image, "Effusio")
        with pytest.raises(UsageError, match="unknown method 'gradcan'"):
            classifier.explain(image, method="gradcan")
        with pytest.raises(DataError, match=r"nothing\.png: missing file"):
            classifier.explain("nothing.png")
        for bad in (image / 2, np.zeros((4, 9, 3), np.uint8), np.zeros((2, 9, 9, 1, 1), np.uint8)):
            with pytest.raises(UsageError, match="an image is a gray uint8 array"):
                classifier.predict(bad)
        with pytest.raises(UsageError, match="at least one image"):
            list(classifier.stream([image], 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda info: info.pop("thresholds"), "has no operating point yet"),
        (lambda info: info["thresholds"].pop("Effusion"), "has no threshold for Effusion"),
        (lambda info: info.update(calibration={"method": "platt"}), "not a calibration"),
        (lambda info: info.update(calibration=platt(Task("binary", ("x",))).to_dict()), "for other labels"),
    ],
)
def test_a_run_that_is_not_whole_says_what_it_lacks(run: Run, change: Any, message: str) -> None:
    info = run.info()
    change(info)
    (run.path / "run.json").write_text(json.dumps(info))
    with pytest.raises(ZooError, match=message):
        Classifier.open(run)


def test_a_run_without_a_network_is_an_error(run: Run) -> None:
    run.model_file.unlink()
    with pytest.raises(ZooError, match="has no trained network"):
        Classifier.open(run)
