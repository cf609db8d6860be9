"""Other reference labels: how their file is read, and the comparison against scikit-learn."""

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
from zoo.evaluation import Predictions
from zoo.evaluation.reference import compare_reference, read_reference

BINARY = Task("binary", ("Abnormal",))
MULTILABEL = Task("multilabel", ("Mass", "Pleural_Thickening"))
MULTICLASS = Task("multiclass", ("No Finding", "Mass", "Edema"))
EXPERTS = Path(__file__).parents[2].parent / "shared" / "data" / "nih" / "expert_labels.csv"
FOURTEEN = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax")
FOURTEEN += ("Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")


def write(folder: Path, text: str) -> Path:
    path = folder / "panel.csv"
    path.write_text(text, encoding="utf-8")
    return path


def make_images(task: Task, number: int = 200, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    table = pd.DataFrame(
        {"image": [f"{i:03}.png" for i in range(number)], "patient": [str(p) for p in rng.integers(0, 60, number)]}
    )
    return Predictions(task, table, labels, labels + rng.normal(size=labels.shape))


def panel(
    folder: Path, predictions: Predictions, flip: float = 0.2, seed: int = 9, extra: int = 5
) -> tuple[Path, np.ndarray]:
    """A reference that differs from the run's labels on some images; the first 20 images are not in it."""
    rng = np.random.default_rng(seed)
    other = np.where(rng.random(predictions.labels.shape) < flip, 1 - predictions.labels, predictions.labels)
    frame = pd.DataFrame(
        {"Image ID": predictions.table["image"]}
        | {
            name.replace("_", " "): np.where(other[:, k] == 1, "YES", "NO")
            for k, name in enumerate(predictions.task.labels)
        }
    ).iloc[20:]
    more = frame.iloc[:extra].assign(**{"Image ID": [f"other-{i}.png" for i in range(extra)]})
    path = folder / "panel.csv"
    pd.concat([frame, more]).sample(frac=1, random_state=0).to_csv(path, index=False)
    return path, other


def test_values_and_names_are_read_in_every_spelling(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "image_id,MASS,pleural-thickening,age\na.png,YES,0,50\nb.png,no,1,\nc.png,True,-1,60\nd.png,false,,7\ne.png,1.0,0.0,\n",
    )
    table = read_reference(path, MULTILABEL)
    assert list(table) == ["image", "Mass", "Pleural_Thickening"]
    assert table["image"].tolist() == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    np.testing.assert_array_equal(table["Mass"], [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(table["Pleural_Thickening"], [0, 1, np.nan, np.nan, 0])


@pytest.mark.parametrize(
    "name", ["image", "Image ID", "Image Index", "image_id", "IMAGE-ID", "filename", "File Name", "path"]
)
def test_every_accepted_name_of_the_image_column(tmp_path: Path, name: str) -> None:
    assert read_reference(write(tmp_path, f"Mass,{name}\n1,7.png\n"), MULTILABEL)["image"].tolist() == ["7.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,Mass\na.png,1\nb.png,maybe\n", r"line 3: the column 'Mass' has the value 'maybe'; valid are yes, no"),
        (
            "scan,Mass\na.png,1\n",
            r"no column that names the images. Accepted: image, Image ID, .*Its columns: scan, Mass",
        ),
        ("image,Nodule\na.png,1\n", r"none of the labels Mass, Pleural_Thickening. Its columns: image, Nodule"),
        ("image,Mass\na.png,1\nb.png,0\na.png,1\n", r"line 4: .* names an image a second time \('a.png'\)"),
        ("image,Mass\na.png,1\n,0\n", r"line 3: .* names no image"),
        ("image,Mass,mass\na.png,1,0\n", r"columns 'Mass' and 'mass' have the same name but for its spelling"),
        ("image,Mass\n", r"has no rows"),
        ("image,Mass\na.png,1,0\n", r"more cells than the header"),
        ("", r"cannot be read as a CSV table"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_reference(write(tmp_path, text), MULTILABEL)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*nowhere\.csv"):
        read_reference(tmp_path / "nowhere.csv", BINARY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image,Abnormal,Mass\na,1,0\nb,0,1\n", [1, 0]),  # the column itself counts
        ("image,Patient ID,Mass,Edema,age\na,1,0,1,5\nb,0,0,0,1\nc,1,0,,6\nd,1,1,,7\n", [1, 0, np.nan, 1]),
        ("image,No Finding,Mass\na,1,\nb,0,1\nc,0,0\n", [0, 1, 0]),
        ("image,normal\na,1\nb,0\nc,\n", [0, 1, np.nan]),
    ],
)
def test_abnormal_is_its_column_or_any_finding(tmp_path: Path, text: str, expected: list[float]) -> None:
    table = read_reference(write(tmp_path, text), BINARY)
    np.testing.assert_array_equal(table["Abnormal"], expected)


def test_a_binary_label_of_another_name_needs_its_column(tmp_path: Path) -> None:
    path = write(tmp_path, "image,Mass\na,1\n")
    with pytest.raises(DataError, match="none of the labels pneumonia"):
        read_reference(path, Task("binary", ("pneumonia",)))


def test_the_normal_class_comes_from_abnormal_or_from_the_others(tmp_path: Path) -> None:
    table = read_reference(write(tmp_path, "image,Abnormal,Mass,Edema\na,0,0,0\nb,1,0,0\nc,1,1,0\n"), MULTICLASS)
    np.testing.assert_array_equal(table["No Finding"], [1, 0, 0])
    table = read_reference(write(tmp_path, "image,Mass,Edema\na,0,0\nb,1,0\nc,0,\n"), MULTICLASS)
    np.testing.assert_array_equal(table["No Finding"], [1, 0, np.nan])


@pytest.mark.parametrize("task", [BINARY, MULTILABEL])
def test_both_references_are_measured_on_the_same_images(tmp_path: Path, task: Task) -> None:
    predictions = make_images(task)
    path, other = panel(tmp_path, predictions)
    found = compare_reference(path, predictions, dict.fromkeys(task.labels, 0.5), split="test", replicates=30, seed=2)
    assert (found.source, found.images, found.without, found.absent) == ("panel.csv", 180, 20, ())
    assert found.patients == predictions.table["patient"][20:].nunique()
    for k, label in enumerate(task.labels):
        own, theirs, scores = predictions.labels[20:, k], other[20:, k], predictions.logits[20:, k]
        assert found.own.per_label[label]["auroc"].value == pytest.approx(sk.roc_auc_score(own, scores))
        assert found.other.per_label[label]["auroc"].value == pytest.approx(sk.roc_auc_score(theirs, scores))
        agreement = found.agreement[label]
        assert agreement["kappa"] == pytest.approx(sk.cohen_kappa_score(own, theirs))
        assert agreement["agree"] == pytest.approx((own == theirs).mean())
        assert (agreement["own_positive"], agreement["other_positive"]) == (own.sum(), theirs.sum())
        assert (agreement["both"], agreement["images"]) == ((own * theirs).sum(), 180)
    assert found.kappas == {label: found.agreement[label]["kappa"] for label in task.labels}
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (
        plain["other"]["per_label"][task.labels[0]]["auroc"]["value"]
        == found.other.per_label[task.labels[0]]["auroc"].value
    )


def test_a_label_unknown_to_one_reference_is_left_out_of_both(tmp_path: Path) -> None:
    predictions = make_images(MULTILABEL)
    predictions.labels[30:60, 0] = np.nan
    table = pd.DataFrame({"image": predictions.table["image"], "Mass": np.where(np.arange(200) % 3, "1", "")})
    path = tmp_path / "panel.csv"
    table.assign(Mass=table["Mass"].mask(np.arange(200) % 3 == 2, "0")).to_csv(path, index=False)
    found = compare_reference(path, predictions, dict.fromkeys(MULTILABEL.labels, 0.5), replicates=5)
    both = int((~np.isnan(predictions.labels[:, 0]) & (np.arange(200) % 3 > 0)).sum())
    assert found.images == found.own.known["Mass"] == found.other.known["Mass"] == both
    assert found.own.known["Pleural_Thickening"] == found.other.known["Pleural_Thickening"] == 0
    assert found.absent == ("Pleural_Thickening",)
    assert math.isnan(found.agreement["Pleural_Thickening"]["kappa"])
    assert list(found.kappas) == ["Mass"]


def test_multiclass_leaves_out_images_without_exactly_one_class(tmp_path: Path) -> None:
    predictions = make_images(MULTICLASS)
    values = predictions.labels.astype(int).copy()
    values[:4] = [[0, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 0]]
    frame = pd.DataFrame({"image": predictions.table["image"]} | dict(zip(MULTICLASS.labels, values.T, strict=True)))
    path = tmp_path / "panel.csv"
    frame.to_csv(path, index=False)
    found = compare_reference(path, predictions, {}, replicates=5)
    assert (found.images, found.left_out) == (196, 4)
    assert found.agreement["Mass"]["kappa"] == pytest.approx(1)


def test_kappa_is_undefined_where_chance_agrees_fully(tmp_path: Path) -> None:
    predictions = make_images(BINARY)
    predictions.labels[:] = 1
    path, _ = panel(tmp_path, predictions, flip=0)
    found = compare_reference(path, predictions, {"Abnormal": 0.5}, replicates=5)
    assert math.isnan(found.agreement["Abnormal"]["kappa"])
    assert found.agreement["Abnormal"]["agree"] == 1


def test_images_are_matched_by_stem_where_no_full_name_fits(tmp_path: Path) -> None:
    predictions = make_images(BINARY)
    rows = "".join(f"scans\\{i:03}.dcm,{int(predictions.labels[i, 0])}\n" for i in range(50))
    found = compare_reference(write(tmp_path, "path,Abnormal\n" + rows), predictions, {"Abnormal": 0.5}, replicates=5)
    assert found.images == 50
    assert found.agreement["Abnormal"]["agree"] == 1
    with pytest.raises(
        DataError, match=r"none of the 200 images. It has names such as 'x.png', the run such as '000.png'"
    ):
        compare_reference(write(tmp_path, "image,Abnormal\nx.png,1\n"), predictions, {"Abnormal": 0.5})
    with pytest.raises(DataError, match="not unique"):
        compare_reference(write(tmp_path, "image,Abnormal\na/000.jpg,1\nb/000.jpg,1\n"), predictions, {"Abnormal": 0.5})
    with pytest.raises(DataError, match="no image with a known label in common"):
        compare_reference(write(tmp_path, "image,Abnormal\n000.png,\n"), predictions, {"Abnormal": 0.5})


@pytest.mark.skipif(not EXPERTS.exists(), reason="the expert labels lie in ../shared, which is not there")
def test_the_published_expert_labels_are_understood() -> None:
    table = read_reference(EXPERTS, Task("multilabel", FOURTEEN))
    assert list(table) == ["image", *FOURTEEN]
    assert len(table) == 386
    assert int(table["Pleural_Thickening"].sum()) == 20
    abnormal = read_reference(EXPERTS, BINARY)["Abnormal"]
    assert (int(abnormal.sum()), int((abnormal == 0).sum())) == (270, 116)
