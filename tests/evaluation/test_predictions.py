"""The predictions table: saved, loaded and refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, softmax

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import Predictions

TWO = Task("multilabel", ("Mass", "Pleural_Thickening"))


def predictions(task: Task = TWO, number: int = 4) -> Predictions:
    rng = np.random.default_rng(0)
    labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    table = pd.DataFrame(
        {
            "image": ["NA", "007.png", 'a "b", c.png', "ü.png", *(f"{i}.png" for i in range(number))][:number],
            "patient": ["0012", "null", "12", "12", *map(str, range(number))][:number],
            "view": ["PA", None, "AP", "PA", *["PA"] * number][:number],
            "age": [61.0, np.nan, 3.0, 90.0, *[50.0] * number][:number],
        }
    )
    return Predictions(task, table, labels, rng.normal(size=labels.shape) * 30)


def test_round_trip_keeps_names_and_every_bit(tmp_path: Path) -> None:
    saved = predictions()
    saved.labels[1, 0] = np.nan
    saved.save(tmp_path / "new" / "test.csv")
    loaded = Predictions.load(tmp_path / "new" / "test.csv", TWO)
    assert loaded.logits.dtype == loaded.labels.dtype == np.float32
    np.testing.assert_array_equal(loaded.logits, saved.logits)
    np.testing.assert_array_equal(loaded.labels, saved.labels)
    assert loaded.table["image"].tolist() == saved.table["image"].tolist()
    assert loaded.table["patient"].tolist() == ["0012", "null", "12", "12"]
    assert loaded.table["view"].isna().tolist() == [False, True, False, False]
    np.testing.assert_array_equal(loaded.table["age"], saved.table["age"])
    assert os.listdir(tmp_path / "new") == ["test.csv"]


@settings(max_examples=30, deadline=None)
@given(arrays(np.float32, (3, 2), elements=st.floats(width=32, allow_nan=True, allow_infinity=True)))
def test_any_float32_is_read_back_exactly(tmp_path_factory: pytest.TempPathFactory, logits: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("round") / "p.csv"
    table = pd.DataFrame({"image": list("abc"), "patient": list("abc")})
    Predictions(TWO, table, np.zeros((3, 2)), logits).save(path)
    loaded = Predictions.load(path, TWO)
    np.testing.assert_array_equal(loaded.logits, logits)
    loaded.save(path)
    assert Predictions.load(path, TWO).digest == loaded.digest


def test_the_digest_is_of_the_contents_and_not_of_their_order() -> None:
    whole = predictions()
    order = [2, 0, 3, 1]
    table = whole.table.iloc[order].reset_index(drop=True)
    assert Predictions(TWO, table, whole.labels[order], whole.logits[order]).digest == whole.digest
    digests = {whole.digest}
    for name, row in (("image", 1), ("patient", 0)):
        digests.add(replace(whole, table=whole.table.assign(**{name: [*whole.table[name][:3], f"other-{row}"]})).digest)
    digests.add(replace(whole, logits=np.nextafter(whole.logits, np.float32(np.inf))).digest)
    digests.add(replace(whole, labels=np.where([[True, False]], np.nan, whole.labels)).digest)
    digests.add(replace(whole, logits=whole.logits[order]).digest)
    digests.add(replace(whole, task=Task("multilabel", ("Mass", "Hernia"))).digest)
    digests.add(whole.where(np.arange(4) < 3).digest)
    assert len(digests) == 8


def test_columns_and_probabilities_of_the_file(tmp_path: Path) -> None:
    saved = predictions()
    saved.save(tmp_path / "p.csv")
    found = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    per_label = [f"{what}:{label}" for label in TWO.labels for what in ("label", "logit", "probability")]
    assert list(found.columns) == ["image", "patient", "view", "age", *per_label]
    np.testing.assert_allclose(found["probability:Mass"], expit(saved.logits[:, 0].astype(float)), rtol=1e-8)


def test_probabilities_follow_the_task() -> None:
    np.testing.assert_allclose(predictions().probabilities, expit(predictions().logits.astype(float)))
    several = predictions(Task("multiclass", ("a", "b", "c")))
    np.testing.assert_allclose(several.probabilities, softmax(several.logits.astype(float), axis=1))


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.csv"
    predictions().save(path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        predictions(number=3).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["p.csv"]


def test_load_names_missing_columns_and_files(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    with pytest.raises(DataError, match=r"no table of images at .*p\.csv"):
        Predictions.load(path, TWO)
    path.write_text("")
    with pytest.raises(DataError, match="not a table of images"):
        Predictions.load(path, TWO)
    predictions().save(path)
    with pytest.raises(DataError, match=r"p\.csv lacks the columns label:Edema, logit:Edema"):
        Predictions.load(path, Task("binary", ("Edema",)))


def test_load_refuses_another_kind_of_task(tmp_path: Path) -> None:
    predictions().save(tmp_path / "p.csv")
    with pytest.raises(DataError, match="not the softmax of the logits"):
        Predictions.load(tmp_path / "p.csv", Task("multiclass", TWO.labels))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("logit:Mass", "high", "'high', which is not a number"), ("label:Mass", "2", "1, 0 or nothing")],
)
def test_load_refuses_what_is_no_number_or_label(tmp_path: Path, column: str, value: str, message: str) -> None:
    path = tmp_path / "p.csv"
    predictions().save(path)
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[1, column] = value
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=message):
        Predictions.load(path, TWO)


def test_images_named_twice_are_refused(tmp_path: Path) -> None:
    saved = predictions()
    saved.table.loc[2, "image"] = "NA"
    saved.save(tmp_path / "p.csv")
    with pytest.raises(DataError, match="1 images are named more than once, the first is 'NA'"):
        Predictions.load(tmp_path / "p.csv", TWO)


def test_shapes_and_values_are_checked() -> None:
    table = predictions().table
    with pytest.raises(ValueError, match=r"logits have the shape \(4, 1\)"):
        Predictions(TWO, table, np.zeros((4, 2)), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="1, 0 or NaN"):
        Predictions(TWO, table, np.full((4, 2), 0.5), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="patient"):
        Predictions(TWO, table[["image"]], np.zeros((4, 2)), np.zeros((4, 2)))


def test_where_chooses_images() -> None:
    chosen = predictions().where(predictions().table["view"].to_numpy() == "PA")
    assert chosen.table["image"].tolist() == ["NA", "ü.png"]
    np.testing.assert_array_equal(chosen.logits, predictions().logits[[0, 3]])
