"""Names of any characters through every table that zoo writes and reads again, and through those for people."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared import records_of

from zoo.config.resolve import check_root
from zoo.core.cells import csv_text
from zoo.core.contracts import DatasetInfo
from zoo.core.errors import DataError, UsageError
from zoo.core.listing import NO_USE, Faults, Listing
from zoo.core.records import ImageSource, Records
from zoo.core.tables import read_table
from zoo.core.tasks import Task
from zoo.core.text import is_unicode, printable
from zoo.data import archives
from zoo.data.images import FileSource
from zoo.data.journal import JOURNAL, Finished, PreparedImage, read
from zoo.data.listed_images import with_writable_listing
from zoo.data.pipeline import NOT_UNICODE, with_writable_names
from zoo.data.store import prepare
from zoo.evaluation import Predictions
from zoo.inference.output import TableFile

# bytes that a file system takes for a name, as Python gives them: what is not UTF-8 as lone surrogates
FILES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name and b"/" not in name).map(os.fsdecode)
NASTY = [
    "a\rb",
    "\r",
    "\n",
    '"',
    ",",
    " a ",
    "=HYPERLINK(1)",
    "-0.5",
    "NA",
    "nan",
    "None",
    "\x1b[31m",
    "\u202e",
    "x" * 5000,
    "'",
]
TEXTS = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
)
ANY = st.lists(FILES | TEXTS, min_size=1, max_size=6, unique=True)
UNICODE = st.lists(TEXTS, min_size=1, max_size=6, unique=True)
MANY = settings(max_examples=60, deadline=None)
BINARY = Task("binary", ("Mass",))


@dataclass(frozen=True)
class Drawn(ImageSource):
    """Pixels from the name alone."""

    def read(self, path: str) -> tuple[np.ndarray, str]:
        return np.full((4, 4), len(path) % 256, np.uint8), f"of {path}"

    def fingerprint(self, paths: Any) -> str:
        return "drawn"


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names")


@settings(max_examples=15, deadline=None)
@given(names=UNICODE)
def test_a_store_has_the_names_it_was_given(place: Path, names: list[str]) -> None:
    records = records_of(names, Drawn())
    for _ in range(2):  # made, then found
        store = prepare(records, 4, place / "cache")
        assert store.table["image"].tolist() == names
        assert store.table["note"].tolist() == [f"of {name}" for name in names]
        assert store.images[:, 0, 0].tolist() == [len(name) % 256 for name in names]
    written = pd.read_csv(store.path / "images.csv", dtype=str, keep_default_na=False)
    assert written["image"].tolist() == names


@MANY
@given(names=ANY)
def test_a_journal_has_the_notes_it_was_given(place: Path, names: list[str]) -> None:
    finished = Finished(0, 7, tuple(PreparedImage("d", name, name, name) for name in names))
    (place / JOURNAL).write_text(finished.line(), encoding="ascii")
    assert list(read(place)) == [finished]


@MANY
@given(names=UNICODE)
def test_predictions_have_the_names_they_were_given(place: Path, names: list[str]) -> None:
    table = pd.DataFrame({"image": names, "patient": names, "note": names}, dtype=object)
    made = Predictions(BINARY, table, np.zeros((len(names), 1)), np.zeros((len(names), 1), np.float32))
    made.save(place / "p.csv")
    found = Predictions.load(place / "p.csv", BINARY)
    assert found.table["image"].tolist() == found.table["patient"].tolist() == names
    assert found.digest == made.digest


@MANY
@given(names=UNICODE)
def test_a_manifest_has_the_paths_it_was_given(place: Path, names: list[str]) -> None:
    entries = {name: archives.Entry(name, number, "0", name) for number, name in enumerate(names)}
    archives.write_manifest(place, entries)
    assert archives.read_manifest(place) == entries


@MANY
@given(names=UNICODE)
def test_a_table_of_images_is_read_with_its_names_stripped(place: Path, names: list[str]) -> None:
    (place / "images.csv").write_text(csv_text(pd.DataFrame({"image": names, "label": "a"}, dtype=object)), newline="")
    table, _ = read_table(place / "images.csv")
    assert table["image"].tolist() == [name.strip() for name in names]


@MANY
@given(names=ANY)
def test_predictions_for_people_name_each_file_once_and_hold_no_formula(place: Path, names: list[str]) -> None:
    with TableFile(place / "out.csv") as table:
        table.begin(["file", "p"])
        for name in names:
            table.write({"file": name, "p": -0.5})
    rows = list(csv.reader(io.StringIO((place / "out.csv").read_bytes().decode(), newline="")))
    assert [row[1] for row in rows] == ["p", *["-0.5"] * len(names)]
    for row, name in zip(rows[1:], names, strict=True):
        escaped = name.encode("utf-8", "backslashreplace").decode()
        assert row[0] in (escaped, f"'{escaped}")
    for row in rows[1:]:
        assert row[0] == "-0.5" or row[0][:1] not in "=+-@\t\r\n"


@MANY
@given(names=ANY)
def test_names_that_no_table_can_hold_are_set_aside(names: list[str]) -> None:
    records = with_writable_names(records_of(names, Drawn()))
    assert records.table["image"].tolist() == [name for name in names if is_unicode(name)]
    gone = [printable(name) for name in names if not is_unicode(name)]
    assert records.set_aside.to_numpy().tolist() == [[name, NOT_UNICODE] for name in gone]
    faults = Faults()
    faults.add("no image file", names)
    listing = with_writable_listing(Listing(records_of(names, Drawn()), faults.table()))
    csv_text(listing.faults).encode()
    assert listing.records.table["image"].tolist() == records.table["image"].tolist()
    assert listing.faults.query(f"kind == '{NO_USE}'")["image"].tolist() == list(dict.fromkeys(gone))


def test_a_root_or_a_finding_that_is_not_unicode_is_refused_at_the_start() -> None:
    bad = os.fsdecode(b"\xff")
    with pytest.raises(UsageError, match=r"--root .*: the folder's name is not Unicode \(UTF-8\)"):
        check_root(DatasetInfo(name="csv", summary="", needs_root=True), bad)
    table = pd.DataFrame({"image": ["a"], "path": ["a"], "patient": ["a"], bad: [1.0]})
    with pytest.raises(DataError, match=r"the name of the finding .* is not Unicode \(UTF-8\): rename its folder"):
        with_writable_names(Records(table, (bad,), Drawn()))


def test_an_archive_with_a_name_that_is_not_unicode_is_refused(folder: Path) -> None:
    (folder / "in").mkdir()
    (folder / "in" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    with pytest.raises(DataError, match=r"in: the name of the member '.*' is not Unicode"):
        archives.unpack(folder / "in", folder / "out", lambda name: name)


@MANY
@given(names=FILES.filter(lambda name: name.strip(". ") != ""))
def test_a_file_of_any_name_is_found_below_its_root(folder_of_files: Path, names: str) -> None:
    file = folder_of_files / names
    try:
        file.write_bytes(b"x")
    except OSError:  # the file system does not take it
        return
    source = FileSource(str(folder_of_files))
    assert source.file(names) == file
    assert "missing" not in source.image_keys([names])
    file.unlink()


@pytest.fixture(scope="module")
def folder_of_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")
