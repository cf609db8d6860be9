"""Exported files: they predict as zoo does without it, hold their metadata, and are refused where they do not agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import exported
import numpy as np
import pytest
from exported import CLASSES, SIZE

from zoo.core.errors import UsageError, ZooError
from zoo.core.registry import registry
from zoo.data.resize import square
from zoo.evaluation import metrics
from zoo.export import formats
from zoo.export.export import Exported, Options, check_options, export
from zoo.runs.run import Run

RNG = np.random.default_rng(5)
IMAGES = [
    square(RNG.integers(0, 256, shape, dtype=np.uint8), SIZE) for shape in ((50, 50), (97, 61), (13, 20), (300, 311))
]
# of other sizes, smooth enough for one filter to do about what another does
OTHERS = [square(IMAGES[0], 300)[:height, :width].copy() for height, width in ((300, 300), (97, 61), (280, 299))]
WAYS = [
    ("keras", None, "platt"),
    pytest.param("savedmodel", None, "softmax", marks=pytest.mark.slow),
    pytest.param("litert", None, "isotonic", marks=pytest.mark.slow),
    pytest.param("onnx", None, "temperature", marks=pytest.mark.slow),
    ("onnx", None, "isotonic"),
]


def write(run: Run, **options: Any) -> Exported:
    return export(run, Options(**{"images": 6, **options}), registry())


def expected(run: Run, images: list[np.ndarray], name: str | None) -> np.ndarray:
    """Independently of the export: Pillow, the run's network, NumPy."""
    import keras

    network = keras.saving.load_model(run.model_file, compile=False)
    logits = np.asarray(network(np.stack([square(image, SIZE) for image in images])[..., None]))
    return (
        metrics.probabilities(run.task(), logits) if name is None else exported.calibration(name).probabilities(logits)
    )


@pytest.mark.parametrize(("form", "quantize", "calibration"), WAYS)
def test_a_file_predicts_as_zoo_does_where_there_is_no_zoo(
    form: str, quantize: str | None, calibration: str, tmp_path: Path
) -> None:
    fitted = exported.calibration(calibration)
    run = exported.make_run(tmp_path / "first", fitted.task, fitted)
    result = write(run, format=form, quantize=quantize)
    assert result.file == run.path / "exports" / f"first{formats.FORMATS[form].suffix}"
    assert result.parity.prepared.largest <= 1e-5
    assert (result.parity.images, result.parity.prepared.flipped) == (6, 0)
    asked = [image[None, ..., None] for image in IMAGES] + [np.stack(IMAGES[:2])[..., None]]
    if form in ("keras", "savedmodel"):
        asked.append(IMAGES[0][None, ..., None].astype(np.float32))
    others = [image[None, ..., None] for image in OTHERS]
    predicted = exported.predict_elsewhere(form, result.file, asked + others, tmp_path)
    exact, resized = predicted[: len(asked)], predicted[len(asked) :]
    assert [each.shape for each in exact[:5]] == [(1, fitted.task.outputs)] * 4 + [(2, fitted.task.outputs)]
    want = expected(run, [*IMAGES, *IMAGES[:2], IMAGES[0]], calibration)
    found = np.concatenate(exact)
    np.testing.assert_allclose(found, want[: len(found)], atol=1e-5)
    assert np.ptp(want[:4], axis=0).max() > 0.01  # images that all get one prediction would prove nothing
    np.testing.assert_allclose(np.concatenate(resized), expected(run, OTHERS, calibration), atol=0.05)
    check_metadata(run, result, calibration)


def check_metadata(run: Run, result: Exported, calibration: str) -> None:
    import json

    found = formats.read_metadata(result.file)
    if result.file.suffix == ".onnx":
        kept = ("name", "model", "task", "decision", "input", "output", "licence_text", "research_only", "precision")
        texts = (*kept, "zoo_version", "calibration")
        found = {key: value if key in texts else json.loads(value) for key, value in found.items()}
    task = run.task()
    assert found["labels"] == list(task.labels)
    assert found["data"]["fingerprint"] == "0123abcd"
    assert (found["model"], found["image_size"]) == ("tiny-cnn", SIZE)
    assert found["licences"] == {"model": "Apache-2.0", "dataset": "Apache-2.0"}
    assert "Apache License" in found["licence_text"]
    assert "not a medical device" in found["research_only"]
    assert "(N, H, W, 1)" in found["input"]
    assert found["calibration"] == exported.calibration(calibration).method
    assert found["parity"]["prepared"]["largest"] == result.parity.prepared.largest
    if task.exclusive:
        assert found["thresholds"] is None
    else:
        raw = np.array([run.info()["thresholds"][label] for label in task.labels])
        carried = exported.calibration(calibration).probabilities(np.log(raw / (1 - raw))[None])[0]
        np.testing.assert_allclose([found["thresholds"][label] for label in task.labels], carried)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "quantize"), [("litert", "float16"), ("litert", "int8"), ("onnx", "float16"), ("onnx", "int8")]
)
def test_a_quantised_file_is_smaller_and_says_what_it_costs(form: str, quantize: str, tmp_path: Path) -> None:
    run = exported.make_run(tmp_path / "first", exported.SEVERAL, width=24)
    result = write(run, format=form, quantize=quantize, images=60, tolerance=1.0)
    plain = write(run, format=form)
    assert result.file.name == f"first-{quantize}{formats.FORMATS[form].suffix}"
    assert result.size < plain.size
    assert 1e-6 < result.parity.prepared.largest < 0.2
    assert [each.label for each in result.parity.changes] == ["", *exported.SEVERAL.labels]
    for change in result.parity.changes:
        assert change.change == pytest.approx(change.file - change.zoo)
        assert change.low <= change.change <= change.high
    predicted = exported.predict_elsewhere(form, result.file, [image[None, ..., None] for image in IMAGES], tmp_path)
    np.testing.assert_allclose(np.concatenate(predicted), expected(run, IMAGES, None), atol=0.2)
    assert len(np.unique(np.concatenate(predicted)[:, 0])) == len(IMAGES)  # the head is not in steps of 1/256


def test_a_file_that_differs_is_refused_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = exported.make_run(tmp_path / "first", exported.BINARY)
    right = formats.keras_resizing
    monkeypatch.setattr(formats, "keras_resizing", lambda pixels, size: right(pixels, size) * 0.9)
    out = tmp_path / "model.keras"
    with pytest.raises(ZooError, match=r"differ from zoo's by up to .* more than 0\.0001 .*--force"):
        write(run, format="keras", out=out)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["first"]
    kept = write(run, format="keras", out=out, force=True)
    assert out.exists()
    assert "Kept by --force." in kept.notes[-1]
    assert write(run, format="keras", out=out, tolerance=1.0).notes == ()


@pytest.mark.slow
def test_a_quantised_file_that_loses_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from zoo.export import export as module

    run = exported.make_run(tmp_path / "first", exported.BINARY)
    make_separable(run)
    monkeypatch.setattr(
        module.formats, "open_file", lambda form, file: lambda image: np.array([float(image[0, 0]) / 255 % 0.01])
    )
    with pytest.raises(ZooError, match=r"loses 0\.\d+ in AUROC .*95% interval .*more than 0\.01"):
        write(run, format="onnx", quantize="float16", images=60)
    assert not (run.path / "exports").exists() or not list((run.path / "exports").iterdir())


def make_separable(run: Run) -> None:
    """Give the images the labels that the run's network finds, so that zoo's AUROC is 1."""
    import pandas as pd

    from zoo.engine.load import load_network
    from zoo.export.parity import zoo_probabilities
    from zoo.export.trial_images import prepared, run_images
    from zoo.inference.operating_point import OperatingPoint

    images = run_images(run, ["train", "val", "test"], None, registry())
    assert images is not None
    found = zoo_probabilities(load_network(run), OperatingPoint.of(run), prepared(images.pixels, SIZE))
    table = pd.read_csv(run.path / "images.csv")
    assert len(table) == len(images)
    table["label:Abnormal"] = (found[:, 0] > np.median(found)).astype(float)
    table.to_csv(run.path / "images.csv", index=False)


@pytest.mark.slow
def test_without_labels_a_quantised_file_cannot_be_checked(tmp_path: Path) -> None:
    from PIL import Image

    run = exported.make_run(tmp_path / "first", exported.BINARY)
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(IMAGES[:3]):
        Image.fromarray(image).save(folder / f"{number}.png")
    with pytest.raises(ZooError, match="cannot be measured"):
        write(run, format="onnx", quantize="float16", images=folder)
    result = write(run, format="keras", images=folder)
    assert (result.parity.images, result.parity.where) == (3, f"images of {folder}")


@pytest.mark.slow
def test_drawn_images_stand_in_where_the_run_s_own_are_gone(tmp_path: Path) -> None:
    run = exported.make_run(tmp_path / "first", CLASSES)
    config = run.config() | {"data": {"name": "nih", "root": str(tmp_path / "gone")}}
    run.write_json("config.yaml", config)  # JSON is YAML
    result = write(run, format="keras")
    assert not result.parity.real
    assert "drawn images" in result.notes[0]
    with pytest.raises(ZooError, match=r"int8 needs at least 10 images to take its ranges from, not 0"):
        write(run, format="onnx", quantize="int8")


@pytest.mark.parametrize(("form", "quantize"), [("keras", "int8"), ("savedmodel", "float16")])
def test_formats_that_cannot_be_quantised_say_which_can(form: str, quantize: str) -> None:
    with pytest.raises(UsageError, match=r"Valid: litert \(float16, int8\), onnx \(float16, int8\)"):
        formats.check_format(form, quantize)


def test_a_format_whose_extra_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ZooError, match=r"needs ai_edge_litert.*pip install 'cxr-zoo\[litert\]'"):
        formats.check_format("litert", None)


@pytest.mark.slow
def test_an_export_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path: Path) -> None:
    run = exported.make_run(tmp_path / "first", exported.BINARY)
    out = tmp_path / "chest.savedmodel"
    for _ in range(2):
        write(run, format="savedmodel", out=out)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["chest.savedmodel", "first"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep me")
    with pytest.raises(UsageError, match="is no SavedModel"):
        write(run, format="savedmodel", out=mine)
    with pytest.raises(UsageError, match=r"ends in \.onnx"):
        write(run, format="onnx", out=tmp_path / "model.bin")
    with pytest.raises(UsageError, match="is a folder"):
        write(run, format="keras", out=mine)
    assert (mine / "notes.txt").read_text() == "keep me"


def test_a_writer_that_fails_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = formats.FORMATS["savedmodel"]
    folder = tmp_path / "a.savedmodel"
    folder.mkdir()
    (folder / "saved_model.pb").write_text("old")

    def fail() -> None:
        with formats.replacing_export(folder, form) as partial:
            partial.mkdir()
            (partial / "saved_model.pb").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["a.savedmodel"]
    assert (folder / "saved_model.pb").read_text() == "old"


def test_a_run_without_a_network_and_numbers_without_sense_are_refused(tmp_path: Path) -> None:
    run = exported.make_run(tmp_path / "first", exported.BINARY)
    run.model_file.unlink()
    with pytest.raises(ZooError, match="no trained network"):
        write(run, format="keras")
    for wrong in ({"tolerance": -1.0}, {"images": 0}):
        with pytest.raises(UsageError):
            check_options(Options("keras", **wrong))
