"""Tables and lists as other programs write them."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from zoo.core.errors import DataError
from zoo.core.tables import column_key, read_list, read_table, stream_names, with_slashes

TEXT = 'image,label,report\r\na.png,Œdème|Mass,"one, two; three"\r\nb.png,NA,\r\n'
CELLS = [["a.png", "Œdème|Mass", "one, two; three"], ["b.png", "NA", ""]]


def zipped(data: bytes, *names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "unusual"),
    [
        (TEXT.encode(), ""),
        (codecs.BOM_UTF8 + TEXT.encode(), ""),
        (TEXT.encode("utf-16"), "UTF-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "UTF-16"),
        (TEXT.encode("cp1252"), "Windows-1252"),
        (gzip.compress(TEXT.encode()), ""),
        (bz2.compress(TEXT.encode()), ""),
        (lzma.compress(codecs.BOM_UTF8 + TEXT.encode()), ""),
        (zipped(TEXT.encode(), "table.csv"), ""),
        (zipped(TEXT.encode(), "table.csv", "__MACOSX/._table.csv"), ""),
    ],
)
def test_marks_encodings_and_compression(tmp_path: Path, data: bytes, unusual: str) -> None:
    file = tmp_path / "table.csv"  # whatever its name says
    file.write_bytes(data)
    frame, note = read_table(file)
    assert list(frame.columns) == ["image", "label", "report"]
    assert frame.to_numpy().tolist() == CELLS
    assert unusual in note
    assert bool(unusual) == bool(note)


@pytest.mark.parametrize(("delimiter", "note"), [(",", ""), (";", "semicolons"), ("\t", "tabs")])
@pytest.mark.parametrize(
    "rows",
    [
        [["image", "label"], ["a.png", "Mass"]],
        [["image", "Age; years", "label, as read"], ["a; b.png", "1,5", "x\ty"]],
        [["image", "a,b,c,d", "label"], ["a.png", "1,2", "x"]],
    ],
)
def test_the_delimiter_is_told_from_the_rows(tmp_path: Path, rows: list[list[str]], delimiter: str, note: str) -> None:
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    (tmp_path / "t.csv").write_text("\n".join(delimiter.join(row) for row in quoted) + "\n")
    frame, unusual = read_table(tmp_path / "t.csv")
    assert [list(frame.columns), *frame.to_numpy().tolist()] == rows
    assert note in unusual
    assert bool(note) == bool(unusual)


def test_a_trailing_delimiter_and_a_single_column(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image;label\na.png;x;\nb.png;y;\n")
    assert read_table(tmp_path / "t.csv")[0].to_numpy().tolist() == [["a.png", "x"], ["b.png", "y"]]
    (tmp_path / "t.csv").write_text("image\na.png\n")
    assert read_table(tmp_path / "t.csv")[0].to_numpy().tolist() == [["a.png"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(b"a,b\n1,2\n", "a.csv", "b.csv"), "holds 2 files; unpack it"),
        (zipped(b"", "xl/workbook.xml", "xl/sheet1.xml"), "an Excel workbook; save its sheet as CSV"),
        (b"\x00\x01binary\x00", "cannot be read as a CSV table: it is not text"),
        (gzip.compress(TEXT.encode())[:20], "cannot be read as a CSV table"),
        (b"image,label\na,b,c,d\n", "more cells than the header|cannot be read"),
        (b"image,label\n", "has no rows"),
        (b"", "cannot be read as a CSV table"),
    ],
)
def test_what_is_no_table_says_why(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_table(tmp_path / "t.csv")
    assert "t.csv" in str(caught.value)


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_lists_and_streams_lose_no_name(tmp_path: Path, mark: bytes) -> None:
    data = mark + "a é.png\r\n\r\nb.png\n".encode()
    (tmp_path / "list.txt").write_bytes(data)
    assert read_list(tmp_path / "list.txt") == ["a é.png", "b.png"]
    assert list(stream_names(io.BytesIO(data))) == ["a é.png", "b.png"]


def test_lists_in_utf_16() -> None:
    assert list(stream_names(io.BytesIO("a é.png\r\nb.png\r\n".encode("utf-16")))) == ["a é.png", "b.png"]


def test_a_stream_yields_names_as_they_come_in_any_bytes() -> None:
    names = stream_names(io.BytesIO(b"\xff.png\nb.png"))
    assert next(names) == "\udcff.png"
    assert next(names) == "b.png"


def test_backslashes_are_read_unless_a_file_has_them(tmp_path: Path) -> None:
    assert with_slashes(r"images\a.png", str(tmp_path)) == "images/a.png"
    (tmp_path / r"images\a.png").touch()
    assert with_slashes(r"images\a.png", str(tmp_path)) == r"images\a.png"
    assert with_slashes("images/a.png") == "images/a.png"


def test_column_keys() -> None:
    assert column_key("Patient_ID") == column_key("patient id") == column_key("PatientID") == "patientid"
