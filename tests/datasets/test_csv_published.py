"""Tables as they are published and as other programs write them: lists in cells, class numbers, usual names, studies."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from zoo.core.errors import DataError, UsageError
from zoo.core.records import Records
from zoo.data.targets import make_targets
from zoo.data.where import columns_of
from zoo.datasets._tables import parts_of, view_in
from zoo.datasets.csv import Csv, CsvOptions


def read(root: Path, text: str, name: str = "table.csv", **options: str) -> Records:
    """The records of a table; every image it could name is there (empty)."""
    (root / name).write_text(text)
    for image in ("a.png", "b.png", "c.png", "d.png"):
        (root / image).touch()
    return Csv().read(root, CsvOptions(**options))


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ("['a', 'b c']", ["a", "b c"]),
        ("['a' 'b']", ["a", "b"]),
        ('["it\'s", "b"]', ["it's", "b"]),
        (r"['it\'s', ' stray ']", ["it's", "stray"]),
        ("[a, b c]", ["a", "b c"]),
        ("['a, b', nan]", ["a, b", "nan"]),
        ("[]", []),
        ("a|b", ["a", "b"]),
        ("[a]|[b]", ["[a]", "[b]"]),
        ("", []),
    ],
)
def test_cells_of_classes(cell: str, parts: list[str]) -> None:
    assert parts_of(cell, "|") == parts


def test_written_lists_are_lists_of_classes(tmp_path: Path) -> None:
    cells = ("['normal']", "['cardiomegaly', ' pleural effusion']", "['pleural effusion', 'cardiomegaly']", "[]")
    text = "image,label\n" + "".join(f'{n}.png,"{cell}"\n' for n, cell in zip("abcd", cells, strict=True))
    for separator in ("|", ","):
        records = read(tmp_path, text, separator=separator)
        assert (records.labels, records.normal) == (("cardiomegaly", "pleural effusion"), "normal")
        assert records.table[list(records.labels)].to_numpy().tolist() == [[0, 0], [1, 1], [1, 1]]
        assert records.set_aside.to_numpy().tolist() == [["d.png", "no label"]]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_class_numbers_are_classes_wherever_they_begin(tmp_path: Path, first: int) -> None:
    numbers = [str(first + k) for k in range(3)]
    text = "image,label\n" + "".join(f"{n}.png,{c}\n" for n, c in zip("abcd", [*numbers, "-1"], strict=True))
    plain = read(tmp_path, text)
    assert (plain.labels, plain.normal) == (tuple(numbers), None)
    assert any(f"class numbers, {numbers[0]}, {numbers[1]} and {numbers[2]}" in note for note in plain.notes)
    assert plain.set_aside["image"].tolist() == ["d.png"]
    named = read(tmp_path, text, names="clear, viral,bacterial", normal="clear")
    assert (named.labels, named.normal) == (("viral", "bacterial"), "clear")
    assert named.table[["viral", "bacterial"]].to_numpy().tolist() == [[0, 0], [1, 0], [0, 1]]
    assert not any("class numbers" in note for note in named.notes)
    pairs = f"{first + 2}=bacterial,{first}=Normal,9=never,{first + 1}=viral"
    assert read(tmp_path, text.replace(",0", ",0.0"), names=pairs).labels == ("viral", "bacterial")
    assert make_targets(named, "multiclass").task.labels == ("clear", "viral", "bacterial")


def test_numbers_in_lists_and_names_for_zero_and_one(tmp_path: Path) -> None:
    records = read(tmp_path, 'image,label\na.png,[10]\nb.png,"[10, 2]"\nc.png,[2]\n')
    assert records.labels == ("2", "10")
    assert records.table[["2", "10"]].to_numpy().tolist() == [[0, 1], [1, 1], [1, 0]]
    named = read(tmp_path, "image,label\na.png,0\nb.png,1\n", names="normal,pneumonia")
    assert (named.labels, named.normal) == (("pneumonia",), "normal")


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        (("2", "3"), {"names": "a,b,c"}, r"3 names, and the column 'label' has the class numbers 2, 3.*2=NAME,3=NAME"),
        (("2", "3"), {"names": "2=a"}, r"no name for 3; the column 'label' has the class numbers 2, 3"),
        (('"[0, 1, 0]"', '"[1, 0, 0]"'), {}, "vectors of 0 and 1; write one column of 0 and 1 per label"),
        (("x", "y"), {"names": "2=a"}, None),
    ],
)
def test_names_that_do_not_fit_the_numbers(
    tmp_path: Path, cells: tuple[str, str], options: dict[str, str], message: str | None
) -> None:
    text = f"image,label\na.png,{cells[0]}\nb.png,{cells[1]}\n"
    with pytest.raises((DataError, UsageError), match=message or "option names"):
        read(tmp_path, text, **options)


COLUMNS = "No Finding,Cardiomegaly,Support Devices"
CHEXPERT = f"""Path,Sex,Age,{COLUMNS}
train/patient00001/study1/view1_frontal.jpg,Male,50,1.0,,1.0
train/patient00001/study2/view1_frontal.jpg,Male,50,,1.0,1.0
train/patient00002/study1/view1_frontal.jpg,Female,60,1.0,,
train/patient00003/study1/view1_frontal.jpg,Female,60,,-1.0,
train/patient00004/study1/view1_frontal.jpg,Male,70,1.0,,0.0
"""


def chexpert(root: Path, text: str = CHEXPERT, **options: str) -> Records:
    (root / "train/patient00001/study1").mkdir(parents=True, exist_ok=True)
    (root / "train/patient00001/study1/view1_frontal.jpg").touch()
    return read(root, text, **{"labels": COLUMNS, "patient_pattern": r"patient(\d+)/", **options})


def test_devices_beside_no_finding_as_chexpert_has_them(tmp_path: Path) -> None:
    records = chexpert(tmp_path)
    assert (records.labels, records.normal) == (("Cardiomegaly", "Support Devices"), "No Finding")
    assert (records.no_pathology, records.pathologies) == (("Support Devices",), ("Cardiomegaly",))
    nan = np.nan  # what No Finding says nothing of stays unknown
    np.testing.assert_array_equal(records.table[list(records.labels)], [[0, 1], [1, 1], [0, nan], [nan, nan], [0, 0]])
    assert records.table["patient"].tolist() == ["00001", "00001", "00002", "00003", "00004"]
    assert records.patients_known
    assert records.table[["age", "sex"]].to_numpy().tolist() == [[50, "M"], [50, "M"], [60, "F"], [60, "F"], [70, "M"]]
    np.testing.assert_array_equal(columns_of(records)["No Finding"], [1, 0, 1, nan, 1])


def test_devices_do_not_make_an_image_abnormal_unless_they_are_asked_for(tmp_path: Path) -> None:
    records = chexpert(tmp_path)
    np.testing.assert_array_equal(make_targets(records, "binary").labels[:, 0], [0, 1, 0, np.nan, 0])
    assert make_targets(records, "multiclass").task.labels == ("No Finding", "Cardiomegaly")
    asked = make_targets(records, "binary", findings=("Support Devices",))
    np.testing.assert_array_equal(asked.labels[:, 0], [1, 1, np.nan, np.nan, 0])
    assert make_targets(records, "multilabel").task.labels == ("Cardiomegaly", "Support Devices")


def test_what_else_is_no_pathology_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"'No Finding' and 'Support Devices' are both 1 \(1 such row\)\. .*option no_pathology"
    ):
        chexpert(tmp_path, no_pathology="")
    text = CHEXPERT.replace("Devices", "Apparatus")
    with pytest.raises(DataError, match=r"line 2.*name 'Support Apparatus' with the option no_pathology"):
        chexpert(tmp_path, text, labels=COLUMNS.replace("Devices", "Apparatus"))
    other = {"labels": COLUMNS.replace("Devices", "Apparatus"), "no_pathology": "support apparatus"}
    assert chexpert(tmp_path, text, **other).no_pathology == ("Support Apparatus",)
    with pytest.raises(
        DataError, match=r"no label 'Suport Devices' \(option no_pathology\).*Did you mean 'Support Devices'"
    ):
        chexpert(tmp_path, no_pathology="Suport Devices")
    classes = "image,label\na.png,normal|tube\nb.png,mass|tube\nc.png,mass\n"
    with pytest.raises(DataError, match=r"says 'normal' and a finding.*name 'tube'"):
        read(tmp_path, classes)
    assert read(tmp_path, classes, contradictions="finding").table["tube"].tolist() == [1, 1, 0]
    aside = read(tmp_path, classes, contradictions="aside").set_aside
    assert aside.to_numpy().tolist() == [["a.png", "normal and a finding"]]
    columns = "image,Normal,Mass\na.png,1,1\nb.png,1,0\nc.png,0,1\n"
    kept = {"labels": "Normal,Mass", "contradictions": "finding"}
    assert read(tmp_path, columns, **kept).table["Mass"].tolist() == [1, 0, 1]
    assert read(tmp_path, columns, **{**kept, "contradictions": "aside"}).table["Mass"].tolist() == [0, 1]
    assert read(tmp_path, classes, no_pathology="tube").table["tube"].tolist() == [1, 1, 0]


@pytest.mark.parametrize("key", ["PatientID", "patient_id", "Subject ID", "subject_id", "PATIENT"])
def test_columns_are_found_by_their_usual_names_and_said_in_one_line(tmp_path: Path, key: str) -> None:
    text = (
        f"Image Index,Finding Labels,{key},Patient Age,Gender,ViewPosition\na.png,x,p,7,M,PA\nb.png,normal,p,8,M,AP\n"
    )
    records = read(tmp_path, text)
    assert records.patients_known
    assert set(records.table.columns) >= {"patient", "age", "sex", "view"}
    said = [note for note in records.notes if "usual names" in note]
    assert len(said) == 1
    for part in (
        "image from 'Image Index'",
        "label from 'Finding Labels'",
        f"patient from '{key}'",
        "sex from 'Gender'",
    ):
        assert part in said[0]


def test_columns_that_are_not_clear_are_suggested(tmp_path: Path) -> None:
    records = read(tmp_path, "image,label,patient_id,subject_id\na.png,x,1,2\nb.png,normal,1,2\n")
    assert not records.patients_known
    assert any(
        "'patient_id' and 'subject_id' could each be the patient: say which with the option patient" in n
        for n in records.notes
    )
    with pytest.raises(DataError, match=r"Columns of 0 and 1: --set data.labels='Edema,Mass'"):
        read(tmp_path, "image,age,Edema,Mass\na.png,7,0,1\nb.png,8,1,\n")
    with pytest.raises(DataError, match=r"Where each row is a study, .*--set data.image=file,image_path"):
        read(tmp_path, "file,image_path,label\na.png,b.png,x\nc.png,d.png,normal\n")
    # what a name was given to is not taken for anything else
    assert not read(tmp_path, "patient_id,label\na.png,x\nb.png,normal\n", image="patient_id").patients_known


def test_the_images_of_a_study_stay_together(tmp_path: Path) -> None:
    text = "frontal,lateral_path,Mass,Edema\na.png,b.png,1,0\nc.png,,0,1\nd.png,d.png,0,1\n"
    with pytest.raises(DataError, match=r"line 4: the image 'd.png' has a row already"):
        read(tmp_path, text, image="frontal,lateral_path", labels="Mass,Edema")
    records = read(tmp_path, text.replace("d.png,d.png", "d.png,"), image="frontal, lateral_path", labels="Mass,Edema")
    table = records.table
    assert table["image"].tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert table["Mass"].tolist() == [1, 1, 0, 0]
    assert table["patient"].tolist() == ["a.png", "a.png", "c.png", "d.png"]
    assert table["view"].fillna("?").tolist() == ["?", "LATERAL", "?", "?"]
    assert not records.patients_known
    with pytest.raises(DataError, match="line 3: the columns frontal and lateral_path are all empty"):
        read(tmp_path, "frontal,lateral_path,label\na.png,,x\n,,normal\n", image="frontal,lateral_path")
    assert [view_in(name) for name in ("PA image", "ap_path", "paper", "Lateral")] == ["pa", "ap", "", "lateral"]


def test_compressed_tables_windows_paths_and_other_delimiters(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).touch()
    text = "image;Patient;label\r\nimages\\a.png;p;x\r\nimages\\b.png;q;normal\r\n"
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode("utf-8-sig")))
    records = Csv().read(tmp_path, CsvOptions())
    assert records.table["image"].tolist() == ["images/a.png", "images/b.png"]
    assert records.table["path"].tolist() == ["images/a.png", "images/b.png"]
    assert records.patients_known
    assert "t.csv.gz: its cells are separated by semicolons" in records.notes
    (tmp_path / "t.csv").write_text(text)  # the unpacked one is the same table
    assert Csv().read(tmp_path, CsvOptions()).labels == ("x",)
    (tmp_path / "t.csv").unlink()
    (tmp_path / "t.csv.gz").rename(tmp_path / "T.TSV.GZ")
    assert Csv().read(tmp_path, CsvOptions()).labels == ("x",)
