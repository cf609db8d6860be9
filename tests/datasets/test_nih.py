"""The NIH layout, built small in a temporary folder, and the published tables where they are at hand."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoo.core.contracts import NoOptions
from zoo.core.errors import DataError
from zoo.core.records import Records
from zoo.datasets.nih import FINDINGS, Nih, find_images, read_tables

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly|Emphysema,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,No Finding,1,1,58,M,AP,2682,2749,0.143,0.143",
    "00000002_000.png,Pleural_Thickening,0,2,411,F,PA,2682,2749,0.143,0.143",
)


def shared(name: str) -> Path:
    if not (SHARED / name).is_dir():
        pytest.skip(f"{SHARED / name} is not there")
    return SHARED / name


def build(root: Path, rows: tuple[str, ...] = ROWS, header: str = HEADER, table: str = "Data_Entry_2017.csv") -> Path:
    """A root with three images, official lists and one box."""
    (root / table).write_text("\n".join([header, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("00000001_000.png\n00000001_001.png\n")
    (root / "test_list.txt").write_text("00000002_000.png")
    (root / "BBox_List_2017.csv").write_text(
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000002_000.png,Infiltrate,256,512,128.0,64,,,\n"
    )
    (root / "images").mkdir()
    for row in rows:
        write_image(root / "images" / row.split(",")[0])
    return root


def write_image(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file)


def read(root: Path | None) -> Records:
    return Nih().read(root, NoOptions())


def test_labels_metadata_split_and_boxes(tmp_path: Path) -> None:
    records = read(build(tmp_path))
    table = records.table
    assert table["image"].tolist() == ["00000001_000.png", "00000001_001.png", "00000002_000.png"]
    assert table["path"].tolist() == [f"images/{name}" for name in table["image"]]
    assert table["patient"].tolist() == ["1", "1", "2"]
    assert records.labels == FINDINGS
    assert len(FINDINGS) == 14
    present = [[f for f in FINDINGS if row[f] == 1] for _, row in table.iterrows()]
    assert present == [["Cardiomegaly", "Emphysema"], [], ["Pleural_Thickening"]]
    assert table[list(FINDINGS)].isin([0.0, 1.0]).all(axis=None)
    assert table["split"].tolist() == ["train_val", "train_val", "test"]
    assert table["view"].tolist() == ["PA", "AP", "PA"]
    assert table["sex"].tolist() == ["M", "M", "F"]
    assert table["follow_up"].tolist() == [0, 1, 0]
    np.testing.assert_array_equal(table["age"], [57, 58, np.nan])
    assert any("1 ages over 120 years, up to 411" in note for note in records.notes)
    assert (records.normal, records.official_split, records.patients_known) == ("No Finding", True, True)
    assert records.boxes.to_dict("records") == [
        {"image": "00000002_000.png", "label": "Infiltration", "x": 0.25, "y": 0.5, "width": 0.125, "height": 0.0625}
    ]
    assert records.set_aside.empty
    assert records.source.read(table["path"][0])[0].shape == (8, 8)


def test_the_first_header_ends_with_a_comma_and_ages_have_units(tmp_path: Path) -> None:
    rows = ROWS[0].replace(",57,", ",058Y,"), ROWS[1].replace(",58,", ",018M,"), ROWS[2].replace(",411,", ",073D,")
    for number, header in enumerate((HEADER, HEADER + ",")):
        root = tmp_path / str(number)
        root.mkdir()
        table = read(build(root, tuple(row + "," for row in rows), header)).table
        np.testing.assert_allclose(table["age"], [58, 1.5, 73 / 365.25])
        assert table["patient"].tolist() == ["1", "1", "2"]


def test_the_2020_table_zipped_with_patient_sex_is_preferred(tmp_path: Path) -> None:
    root = build(tmp_path)
    text = "\n".join([HEADER.replace("Gender", "Sex"), *ROWS]).replace(",411,", ",41,")
    (root / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(text.encode()))
    records = read(root)
    assert records.table["age"].tolist() == [57, 58, 41]
    assert records.table["sex"].tolist() == ["M", "M", "F"]
    assert records.notes == ("Data_Entry_2017_v2020.csv.gz is read, Data_Entry_2017.csv beside it is not",)


def test_images_in_the_twelve_published_folders(tmp_path: Path) -> None:
    root = build(tmp_path)
    (root / "images" / "00000001_001.png").rename(root / "moved.png")
    write_image(root / "images_001" / "images" / "00000001_001.png")
    (root / "images" / "00000002_000.png").unlink()
    write_image(root / "images_012" / "00000002_000.png")
    assert find_images(root) == {
        "00000001_000.png": "images/00000001_000.png",
        "00000001_001.png": "images_001/images/00000001_001.png",
        "00000002_000.png": "images_012/00000002_000.png",
    }
    assert len(read(root)) == 3


def test_the_sample_of_kaggle_is_read_as_it_lies_there(tmp_path: Path) -> None:
    header = HEADER.replace("[Width,Height]", "Width,OriginalImageHeight").replace("[x,y]", "_x,Spacing_y")
    text = "\n".join([header, *ROWS]).replace(",57,", ",057Y,").replace(",411,", ",041Y,") + "\n"
    for folder in (tmp_path, tmp_path / "sample"):
        for row in ROWS:
            write_image(folder / "sample" / "images" / row.split(",")[0])
        (folder / "sample_labels.csv").write_text(text)
    records = read(tmp_path)
    assert records.table["path"].tolist() == [f"sample/images/{row.split(',')[0]}" for row in ROWS]
    assert records.table["age"].tolist() == [57, 58, 41]
    assert not records.official_split
    assert not any("beside it" in note for note in records.notes)
    (tmp_path / "sample_labels.csv").unlink()  # as where only the inner folder was copied
    assert len(read(tmp_path)) == 3


def test_members_of_the_published_archives_have_their_places() -> None:
    places = {
        "images/00000001_000.png": "images/00000001_000.png",  # of images_001.tar.gz
        "images_012/images/00030805_000.png": "images/00030805_000.png",  # of Kaggle's archive
        "sample/images/00000013_005.png": "images/00000013_005.png",
        "sample/sample_labels.csv": "sample_labels.csv",
        "Data_Entry_2017_v2020.csv": "Data_Entry_2017_v2020.csv",
        "test_list.txt": "test_list.txt",
        "__MACOSX/images/._00000001_000.png": None,
        "README_CHESTXRAY.pdf": None,
    }
    assert {name: Nih().destination(name) for name in places} == places


def test_images_without_file_and_files_without_row_are_reported(tmp_path: Path) -> None:
    root = build(tmp_path)
    (root / "images" / "00000002_000.png").unlink()
    write_image(root / "images" / "99999999_000.png")
    records = read(root)
    assert len(records) == 2
    assert records.set_aside.to_dict("records") == [{"image": "00000002_000.png", "reason": "no image file"}]
    assert records.boxes.empty
    assert any("1 of 3 images of Data_Entry_2017.csv have no image file" in note for note in records.notes)
    assert any("1 image files have no row" in note for note in records.notes)


def test_lists_and_tables_saved_on_windows_lose_no_image(tmp_path: Path) -> None:
    root = build(tmp_path)
    expected = read(root)
    for name in ("train_val_list.txt", "test_list.txt", "Data_Entry_2017.csv", "BBox_List_2017.csv"):
        text = (root / name).read_text()
        (root / name).write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    found = read(root)
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert (len(found.boxes), len(found.set_aside)) == (len(expected.boxes), 0)


def test_images_in_neither_list_are_set_aside(tmp_path: Path) -> None:
    root = build(tmp_path)
    (root / "train_val_list.txt").write_text("00000001_000.png\r\n\r\n77777777_000.png\r\n")
    records = read(root)
    assert records.table["image"].tolist() == ["00000001_000.png", "00000002_000.png"]
    reason = "in neither train_val_list.txt nor test_list.txt"
    assert records.set_aside.to_dict("records") == [{"image": "00000001_001.png", "reason": reason}]
    assert any(note.startswith("1 images are in neither") for note in records.notes)
    assert any("name 1 images that the table does not have" in note for note in records.notes)
    assert not any("no row" in note for note in records.notes)


def test_without_both_lists_there_is_no_official_split(tmp_path: Path) -> None:
    root = build(tmp_path)
    (root / "test_list.txt").unlink()
    records = read(root)
    assert not records.official_split
    assert "split" not in records.table.columns
    assert any("has no test_list.txt: there is no official split" in note for note in records.notes)
    assert len(records) == 3


def test_boxes_are_optional(tmp_path: Path) -> None:
    root = build(tmp_path)
    (root / "BBox_List_2017.csv").unlink()
    boxes = read(root).boxes
    assert boxes.empty
    assert list(boxes.columns) == ["image", "label", "x", "y", "width", "height"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Cardiomegaly|", "Cardiomegally|", r"line 2: unknown finding 'Cardiomegally'. Did you mean 'Cardiomegaly'"),
        ("Emphysema", "Zebra|Okapi", r"unknown finding 'Okapi', 'Zebra'.* Valid: Atelectasis, .*No Finding"),
        ("No Finding", "No Finding|Mass", r"line 3: 'No Finding\|Mass' says 'No Finding' and a finding"),
        ("No Finding", "", r"line 3: no finding in the column 'Finding Labels'"),
        ("00000001_001.png", "00000001_000.png", r"line 3: the image '00000001_000.png' has a row already"),
        ("0,1,57", "0,,57", r"line 2: the column 'Patient ID' is empty"),
        (
            "Finding Labels",
            "Findings",
            r"no column 'Finding Labels'. Did you mean 'Findings'\? Its columns: Image Index",
        ),
    ],
)
def test_errors_of_the_table_say_where_and_what(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = build(tmp_path)
    file = root / "Data_Entry_2017.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        read(root)
    assert str(file) in str(caught.value)


def test_errors_of_lists_and_boxes(tmp_path: Path) -> None:
    root = build(tmp_path)
    (root / "BBox_List_2017.csv").write_text("Image Index,Finding Label,x,y,w,h\n00000002_000.png,Spot,1,2,3,4\n")
    with pytest.raises(DataError, match=r"BBox_List_2017\.csv, line 2: unknown finding 'Spot'"):
        read(root)
    (root / "BBox_List_2017.csv").write_text("Image Index,Finding Label,x,y,w,h\n00000002_000.png,Mass,1,2,3,wide\n")
    with pytest.raises(DataError, match="line 2: the box is not four numbers"):
        read(root)
    (root / "BBox_List_2017.csv").write_text("Image Index,Finding Label\n00000002_000.png,Mass\n")
    with pytest.raises(DataError, match="has 2 columns; it needs"):
        read(root)
    (root / "test_list.txt").write_text("00000001_000.png\n")
    with pytest.raises(DataError, match=r"'00000001_000\.png' is in both lists"):
        read(root)
    for name in ("train_val_list.txt", "test_list.txt"):
        (root / name).write_text("other.png\n" if name.startswith("test") else "")
    with pytest.raises(DataError, match=r"no image of .* is in train_val_list.txt or test_list.txt"):
        read(root)


def test_missing_root_table_or_images_show_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no root folder was given") as caught:
        read(None)
    assert "ROOT/Data_Entry_2017_v2020.csv" in str(caught.value)
    with pytest.raises(DataError, match="absent does not exist"):
        read(tmp_path / "absent")
    with pytest.raises(DataError, match=r"has no Data_Entry_2017\.csv"):
        read(tmp_path)
    root = build(tmp_path)
    for file in (root / "images").iterdir():
        file.rename(file.with_name("x" + file.name))
    with pytest.raises(DataError, match=r"none of the images of .* was found, '00000001_000.png' for one"):
        read(root)
    for file in (root / "images").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="there are no images") as caught:
        read(root)
    assert str(root / "images_012" / "images") in str(caught.value)


def test_the_published_tables_at_full_size() -> None:
    root = shared("nih-metadata")
    tables = read_tables(root)
    table = tables.table
    assert len(table) == 112_120
    assert table["split"].value_counts().to_dict() == {"train_val": 86_524, "test": 25_596}
    assert table["patient"].nunique() == 30_805
    sides = table.groupby("patient")["split"].nunique()
    assert (sides == 1).all()
    assert len(tables.boxes) == 984
    assert set(tables.boxes["label"]) <= set(FINDINGS)
    assert tables.boxes[["x", "y", "width", "height"]].to_numpy().max() < 1
    assert table["age"].notna().all()
    raw = pd.read_csv(next(root.glob("Data_Entry*")), usecols=["Finding Labels"])["Finding Labels"]
    for finding in FINDINGS:
        np.testing.assert_array_equal(table[finding], raw.str.contains(finding, regex=False), err_msg=finding)
    assert int((table[list(FINDINGS)].sum(axis=1) == 0).sum()) == 60_361
    with pytest.raises(DataError, match="there are no images"):
        read(root)


def test_real_images_in_the_published_layout() -> None:
    records = read(shared("nih"))
    assert len(records) == 3249
    assert records.table["split"].value_counts().to_dict() == {"train_val": 2461, "test": 788}
    assert (records.table.groupby("patient")["split"].nunique() == 1).all()
    assert len(records.boxes) == 94
    assert records.set_aside.empty
    pixels, note = records.source.read(records.table["path"][0])
    assert (pixels.shape, note) == ((256, 256), "")


def test_real_originals_with_colour_are_normalised() -> None:
    records = read(shared("nih-originals"))
    assert not records.official_split
    assert len(records) == 140
    colour = []
    for path in records.table["path"]:
        with Image.open(shared("nih-originals") / path) as image:
            colour += [path] if image.mode == "RGBA" else []
    assert len(colour) == 12
    pixels, note = records.source.read(colour[0])
    assert (pixels.shape, pixels.dtype, note) == ((1024, 1024), np.uint8, "RGBA, converted to gray")
