"""CSV that zoo writes: read back as it was by any reader, and harmless in a spreadsheet where it is for people."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zoo.core.cells import csv_text, guarded, guarded_text, rows_text

NASTY = [
    "\r",
    "\n",
    "\r\n",
    "a\rb",
    '"',
    '""',
    ",",
    " a ",
    "=1+1",
    "-0.5",
    "'",
    "'=x",
    "\0",
    "\x1b[31m",
    "\u202e",
    "NA",
    "\ufeff",
]
CELLS = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=("Cs",)), max_size=12))
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def by_pandas(text: str, folder: Path) -> list[list[str]]:
    (folder / "t.csv").write_bytes(text.encode())
    table = pd.read_csv(folder / "t.csv", dtype=str, keep_default_na=False)
    return [[*table.columns], *table.to_numpy().tolist()]


def by_csv(text: str, folder: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("read", [by_pandas, by_csv])
@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=5))
@example(rows=[["a\rb", "c\r\nd"], ["\r", ""], ['"\r"', "\n"]])
def test_what_is_written_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, read: Any, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    table = pd.DataFrame(rows, columns=["image", "patient"], dtype=object)
    for text in (csv_text(table), rows_text(table.to_dict("records"), list(table.columns))):
        assert read(text, folder) == [["image", "patient"], *rows]


def test_usual_tables_are_written_as_before(tmp_path: Path) -> None:
    table = pd.DataFrame({"image": ["a.png", 'b,"c"', None], "age": [1.5, np.nan, 1 / 3], "n": [1, 2, 3]})
    assert csv_text(table, float_format="%.9g") == table.to_csv(index=False, float_format="%.9g", lineterminator="\n")


@given(CELLS | st.text("'=+-@\t\r\n＝x0.", max_size=6))
def test_a_guarded_cell_is_no_formula_and_has_one_original(text: str) -> None:
    shown = guarded(text)
    if shown == text:
        number = text.strip("\r\n") == text and is_number(text)
        assert number or not text.startswith(FORMULA)
        assert not text.lstrip("'").startswith(FORMULA) or number
    else:
        assert shown == f"'{text}"
        assert text.lstrip("'").startswith(FORMULA)


def is_number(text: str) -> bool:
    try:
        return float(text) is not None and "_" not in text
    except ValueError:
        return False


@pytest.mark.parametrize(
    "value", [-0.5, np.float64(-1), "-0.5", "+3", "-1e-9", "-.5", "-inf", "-2.", None, True, "a=b", "–", ""]
)
def test_numbers_and_plain_text_stay(value: Any) -> None:
    assert guarded(value) is value or guarded(value) == value


@pytest.mark.parametrize(
    "text", ["=HYPERLINK(1)", "+49 170", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "-", "＝1", "--1", "-0x1"]
)
def test_formulas_get_an_apostrophe(text: str) -> None:
    assert guarded(text) == f"'{text}"


def test_a_table_for_people_guards_cells_and_names_and_keeps_numbers() -> None:
    table = pd.DataFrame({"=name": ["=1", "a\udcff"], "change": [-0.5, 2.0], "kind": pd.Categorical(["@", "b"])})
    assert guarded_text(table) == "'=name,change,kind\n'=1,-0.5,'@\na\\udcff,2.0,b\n"
