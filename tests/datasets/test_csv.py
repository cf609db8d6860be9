"""Any table of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.core.errors import DataError, UsageError
from zoo.core.records import Records
from zoo.datasets.csv import Csv, CsvOptions


def build(root: Path, text: str, name: str = "images.csv") -> Path:
    (root / name).write_text(text)
    for image in ("a", "b", "c", "d"):
        Image.fromarray(np.full((4, 4), 9, np.uint8)).save(root / f"{image}.png")
    return root


def read(root: Path | None, **options: str) -> Records:
    return Csv().read(root, CsvOptions(**options))


def test_a_column_of_classes(tmp_path: Path) -> None:
    text = "image,patient,label\na.png,p1,Edema|Mass\nb.png,p1,No Finding\nc.png,p2,Mass\nd.png,p3,\n"
    records = read(build(tmp_path, text))
    assert (records.labels, records.normal) == (("Edema", "Mass"), "No Finding")
    assert records.table[["Edema", "Mass"]].to_numpy().tolist() == [[1, 1], [0, 0], [0, 1]]
    assert records.table["patient"].tolist() == ["p1", "p1", "p2"]
    assert (records.patients_known, records.official_split) == (True, False)
    assert records.set_aside.to_dict("records") == [{"image": "d.png", "reason": "no label"}]
    assert any("1 rows of images.csv have no usable label" in note for note in records.notes)
    assert records.source.read("a.png")[0].shape == (4, 4)


def test_other_separators_and_normal_names(tmp_path: Path) -> None:
    build(tmp_path, "image,label\na.png,Edema; Mass\nb.png,clear\nc.png,Mass\n")
    records = read(tmp_path, separator=";", normal="clear")
    assert (records.labels, records.normal) == (("Edema", "Mass"), "clear")
    assert records.table["Mass"].tolist() == [1, 0, 1]
    assert read(tmp_path).labels == ("Edema; Mass", "Mass", "clear")
    assert read(tmp_path).normal is None


def test_label_columns_in_every_spelling_of_the_values(tmp_path: Path) -> None:
    text = "image,Edema,Mass,Nodule\na.png,1.0,0,\nb.png,TRUE,no,-1\nc.png,False,Yes,0.0\nd.png,0,0,-1.0\n"
    text = text.replace("d.png,0,0,-1.0", "d.png,0,0,1")
    records = read(build(tmp_path, text), labels="Edema, mass,Nodule")
    assert records.labels == ("Edema", "Mass", "Nodule")
    np.testing.assert_array_equal(
        records.table[["Edema", "Mass", "Nodule"]], [[1, 0, np.nan], [1, 0, np.nan], [0, 1, 0], [0, 0, 1]]
    )
    assert records.normal is None
    assert not records.patients_known
    assert records.table["patient"].tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert any("each image counts as a patient" in note for note in records.notes)


def test_one_column_of_zeros_and_ones(tmp_path: Path) -> None:
    records = read(build(tmp_path, "image,label\na.png,1\nb.png,0\nc.png,\n"))
    assert (records.labels, records.normal) == (("label",), "No Finding")
    assert records.table["label"].tolist() == [1, 0]
    assert read(tmp_path, normal="clear").normal == "clear"


def test_a_column_that_means_normal_is_no_label(tmp_path: Path) -> None:
    text = "image,No Finding,Edema,Mass\na.png,1,,\nb.png,0,1,\nc.png,0,0,0\nd.png,,0,1\n"
    records = read(build(tmp_path, text), labels="No Finding,Edema,Mass")
    assert (records.labels, records.normal) == (("Edema", "Mass"), "No Finding")
    np.testing.assert_array_equal(records.table[["Edema", "Mass"]], [[0, 0], [1, np.nan], [0, 1]])
    assert records.set_aside["image"].tolist() == ["c.png"]
    assert "not normal" in records.set_aside["reason"][0]
    build(tmp_path, text.replace("b.png,0", "b.png,1"))
    with pytest.raises(DataError, match="line 3: 'No Finding' and 'Edema' are both 1"):
        read(tmp_path, labels="No Finding,Edema,Mass")


def test_metadata_columns_are_used_where_they_are(tmp_path: Path) -> None:
    text = (
        "image,label,Split,View,AGE,gender\n"
        "a.png,x,train,pa,60,Female\nb.png,normal,Valid,lat,061Y,m\nc.png,x,test,,old,U\nd.png,x,train_val,AP,130,\n"
    )
    records = read(build(tmp_path, text), sex="gender")
    table = records.table
    assert table["split"].tolist() == ["train", "val", "test", "train_val"]
    assert table["view"].fillna("?").tolist() == ["PA", "LATERAL", "?", "AP"]
    np.testing.assert_array_equal(table["age"], [60, 61, np.nan, np.nan])
    assert table["sex"].fillna("?").tolist() == ["F", "M", "?", "?"]
    assert records.official_split
    notes = " ".join(records.notes)
    for part in ("1 ages cannot be read, such as 'old'", "1 ages over 120", "neither M nor F, such as 'U'"):
        assert part in notes
    usual = read(tmp_path)
    assert usual.table["sex"].fillna("?").tolist() == ["F", "M", "?", "?"]
    assert (
        "columns found by their usual names: split from 'Split', view from 'View', age from 'AGE', sex from 'gender'"
        in (usual.notes)
    )


def test_further_columns_are_kept_on_request(tmp_path: Path) -> None:
    build(tmp_path, "image,label,hospital,scanner\na.png,Mass,north,A\nb.png,No Finding,south,B\n")
    assert "hospital" not in read(tmp_path).table
    kept = read(tmp_path, keep="hospital, scanner").table
    assert kept[["hospital", "scanner"]].to_numpy().tolist() == [["north", "A"], ["south", "B"]]
    with pytest.raises(DataError, match=r"no column 'hopital'\. Did you mean 'hospital'"):
        read(tmp_path, keep="hopital")
    with pytest.raises(UsageError, match="'image' is in use"):
        read(tmp_path, keep="image")


def test_a_split_without_test_is_not_official(tmp_path: Path) -> None:
    records = read(build(tmp_path, "image,label,split\na.png,x,train\nb.png,normal,val\n"))
    assert not records.official_split
    assert any("no image is marked test" in note for note in records.notes)


def test_the_table_and_columns_can_be_named(tmp_path: Path) -> None:
    build(tmp_path, "file,id,finding\na.png,7,x\nb.png,8,normal\n")
    build(tmp_path, "image,label\na.png,q\nb.png,normal\n", "other.csv")
    with pytest.raises(DataError, match=r"has images.csv, other.csv: say which with the option table"):
        read(tmp_path)
    named = {"image": "file", "patient": "id", "labels": "finding"}
    for table in ("images.csv", str(tmp_path / "images.csv")):
        records = read(tmp_path, table=table, **named)
        assert records.table["patient"].tolist() == ["7", "8"]
        assert records.labels == ("x",)
    with pytest.raises(DataError, match=r"absent.csv does not exist \(option table\)"):
        read(tmp_path, table="absent.csv")


GOOD = "image,patient,Edema,Mass,split,sex\na.png,p,1,0,train,M\nb.png,q,0,1,test,F\n"


@pytest.mark.parametrize(
    ("old", "new", "options", "message"),
    [
        (
            "image,",
            "images,",
            {},
            r"no column 'image'. Did you mean 'images'\? Its columns: images, patient, .*option image",
        ),
        ("", "", {"labels": "Edma"}, r"no column 'Edma'. Did you mean 'Edema'\?.*option labels"),
        ("", "", {"patient": "person"}, r"no column 'person'.*option patient"),
        ("", "", {"view": "projection"}, r"no column 'projection'.*option view"),
        ("", "", {"labels": "Edema,Edema"}, r"names the column 'Edema' of .* twice"),
        ("", "", {"labels": " , "}, r"the option labels names no column"),
        ("q,0,1", "q,0,maybe", {}, r"line 3: the label 'Mass' has the value 'maybe'; valid are 0, 1"),
        ("q,0,1", "q,2,1", {}, r"line 3: the label 'Edema' has the value '2'"),
        ("q,0,1", "q,0,0", {}, r"no image has the label 'Mass' \(it is never 1\)"),
        ("b.png", "a.png", {}, r"line 3: the image 'a.png' has a row already"),
        ("b.png", "", {}, r"line 3: the column 'image' is empty"),
        (",q,", ",,", {}, r"line 3: the column 'patient' is empty"),
        ("train", "trian", {}, r"line 2: the column 'split' has the value 'trian'. Did you mean 'train'\?"),
        (".png", ".jpg", {}, r"none of the 2 images in the column 'image' .* is under"),
        ("", "", {"labels": "Edema,patient"}, r"a class cannot be called 'patient'"),
        ("p,1,0", "p,1,0,9,9,9", {}, r"cannot be read as a CSV table|more cells than the header"),
    ],
)
def test_errors_name_file_column_row_and_value(
    tmp_path: Path, old: str, new: str, options: dict[str, str], message: str
) -> None:
    assert old in GOOD
    root = build(tmp_path, GOOD.replace(old, new) if old else GOOD)
    with pytest.raises(DataError, match=message) as caught:
        read(root, **{"labels": "Edema,Mass", **options})
    assert "images.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na.png,x\nb.png,x\n", "every image has the same class, 'x'"),
        ("image,label\na.png,normal\nb.png,normal\n", "every image has the same class, 'normal'"),
        ("image,label\na.png,1\nb.png,1\n", "every image has the same class, 'label'"),
        ("image,label\na.png,\nb.png,\n", "the column 'label' is empty"),
        ("image,label\na.png,Mass\nb.png,mass\n", "'Mass' and 'mass' differ only in case"),
        ("image,label\na.png,normal|Mass\nb.png,normal\n", r"line 2: 'normal\|Mass' says 'normal' and a finding"),
        ("image,label\na.png,1\nb.png,maybe\n", "line 3: the label 'label' has the value 'maybe'"),
        ("image,label,age\na.png,age,1\nb.png,normal,2\n", "a class cannot be called 'age'"),
        ("image,label\n", "has no rows"),
        ("", "cannot be read as a CSV table"),
    ],
)
def test_tables_that_teach_nothing(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read(build(tmp_path, text))


def test_no_table_shows_an_example(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no \*\.csv") as caught:
        read(tmp_path)
    assert "image,patient,label" in str(caught.value)
    with pytest.raises(DataError, match="no root folder was given"):
        read(None)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01\x80")
    with pytest.raises(DataError, match=r"binary\.csv"):
        read(tmp_path)


NAMES = st.text("bcdfh", min_size=2, max_size=4)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sets=st.lists(st.sets(NAMES, max_size=3), min_size=2, max_size=8))
def test_classes_survive_the_way_through_the_table(tmp_path: Path, sets: list[set[str]]) -> None:
    if not any(sets) or (len(set().union(*sets)) < 2 and all(sets)):
        return
    rows = [f"{i}.png,{'|'.join(sorted(s)) or 'normal'}" for i, s in enumerate(sets)]
    build(tmp_path, "\n".join(["image,label", *rows]))
    (tmp_path / "0.png").touch()
    records = read(tmp_path)
    assert records.labels == tuple(sorted(set().union(*sets)))
    found = [{name for name in records.labels if row[name] == 1} for _, row in records.table.iterrows()]
    assert found == sets
