"""What the readers share: tables as text, columns by name, ages, sexes, views, and the class that means normal."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from zoo import DataError, Faults
from zoo.core.errors import closest
from zoo.core.listing import LISTED_TWICE
from zoo.core.records import METADATA

NORMAL_NAMES = ("normal", "no finding", "no_finding", "no-finding", "negative", "healthy")
RESERVED = ("image", "path", "patient", "split", *METADATA)  # columns that records have beside the labels
MAX_AGE = 120.0  # years; nobody has been a patient at more
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def need_root(root: Path | None, dataset: str, layout: str) -> Path:
    """The root as an existing directory, or a DataError that shows the layout expected there."""
    expected = f"The dataset '{dataset}' expects:\n{layout}"
    if root is None:
        raise DataError(f"no root folder was given. {expected}")
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"the root {root} {what}. {expected}")
    return root


def read_text_table(file: Path) -> pd.DataFrame:
    """Read a CSV (.gz too) with every cell as stripped text; an empty cell is "".

    Raises:
        DataError: the file is missing, empty, no text or not a table.
    """
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{file} cannot be read as a CSV table: {error}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        frame = _without_surplus(frame, file)
    frame.columns = frame.columns.str.strip()
    if frame.empty:
        raise DataError(f"{file} has no rows")
    return frame.apply(lambda cells: cells.fillna("").str.strip())


def _without_surplus(frame: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Undo that pandas takes the first cells for an index where every row is longer than the header."""
    cells = frame.reset_index()
    if (cells.iloc[:, len(frame.columns) :].fillna("") != "").any(axis=None):
        raise DataError(f"{file}: the rows have more cells than the header; quote cells that contain a comma")
    return cells.iloc[:, : len(frame.columns)].set_axis(list(frame.columns), axis=1)


def line_of(wrong: pd.Series) -> int:
    """Line of the file, counted from 1 with the header, of the first row where `wrong` holds."""
    return int(np.argmax(wrong.to_numpy())) + 2


def find_column(frame: pd.DataFrame, name: str) -> str | None:
    """The column of that name, in any case; None where there is none."""
    if name in frame.columns:
        return name
    return next((str(c) for c in frame.columns if str(c).lower() == name.lower()), None)


def need_column(frame: pd.DataFrame, name: str, file: Path, option: str = "") -> str:
    """As `find_column`, but a DataError that lists the columns and names the closest one."""
    found = find_column(frame, name)
    if found is not None:
        return found
    columns = [str(c) for c in frame.columns]
    near = closest(name, columns)
    message = f"{file} has no column '{name}'."
    if near:
        message += f" Did you mean '{near}'?"
    message += f" Its columns: {', '.join(columns)}."
    raise DataError(message + (f" Name the right one with the option {option}." if option else ""))


def need_unique_images(images: pd.Series, file: Path) -> None:
    """Refuse a table with an empty image cell, or with two rows for one image."""
    need_filled(images, file)
    twice = images.duplicated()
    if twice.any():
        count = f" ({int(twice.sum()):,} such rows)" if twice.sum() > 1 else ""
        name = images[twice].iloc[0]
        raise DataError(
            f"{file}, line {line_of(twice)}: the image '{name}' has a row already{count}; one row per image"
        )


def unique_images(raw: pd.DataFrame, column: str, file: Path, faults: Faults | None) -> pd.DataFrame:
    """The rows of a table with one row per image: where faults are collected the first of each, else an error for two."""
    images = raw[column]
    if faults is None:
        need_unique_images(images, file)
        return raw
    need_filled(images, file)
    twice = images.duplicated()
    faults.add(LISTED_TWICE, images[twice], f"{file.name} has a row of it before")
    return raw[~twice].reset_index(drop=True)


def need_filled(cells: pd.Series, file: Path) -> None:
    """Refuse a column with an empty cell."""
    empty = cells == ""
    if empty.any():
        raise DataError(f"{file}, line {line_of(empty)}: the column '{cells.name}' is empty")


def parse_ages(text: pd.Series) -> tuple[pd.Series, list[str]]:
    """Ages in years from "58", "058Y", "013M", "004W" or "021D"; empty is NaN.

    Returns:
        Floats with NaN for what is no age or over 120 years, and a note for each kind of error found.
    """
    parts = text.str.extract(r"^(\d+(?:\.\d+)?)\s*([YMWD]?)$", flags=re.IGNORECASE)
    years = parts[0].astype(float) * parts[1].str.upper().map(_YEARS).astype(float)
    notes = []
    unreadable = years.isna() & (text != "")
    if unreadable.any():
        example = text[unreadable].iloc[0]
        notes.append(f"{int(unreadable.sum()):,} ages cannot be read, such as '{example}': taken as unknown")
    impossible = years > MAX_AGE
    if impossible.any():
        notes.append(
            f"{int(impossible.sum()):,} ages over {MAX_AGE:.0f} years, up to {years.max():.0f}: taken as unknown"
        )
    return years.mask(impossible), notes


def parse_sexes(text: pd.Series) -> tuple[pd.Series, list[str]]:
    """ "M" or "F" from m, male, f, female in any case; NaN else, with a note where that was not an empty cell."""
    sexes = text.str.lower().map({"m": "M", "male": "M", "f": "F", "female": "F"})
    other = sexes.isna() & (text != "")
    if not other.any():
        return sexes, []
    return sexes, [f"{int(other.sum()):,} values of sex are neither M nor F, such as '{text[other].iloc[0]}': unknown"]


def parse_views(text: pd.Series) -> pd.Series:
    """Upper-case views, the short forms of the lateral one written out; empty is NaN."""
    upper = text.str.upper()
    return upper.replace({"L": "LATERAL", "LL": "LATERAL", "LAT": "LATERAL"}).mask(upper == "")


def find_normal(names: Sequence[str], wanted: str, where: str) -> str | None:
    """Which of the class names means normal: `wanted` where given, else the one that `NORMAL_NAMES` has, else None.

    Raises:
        DataError: `wanted` is none of the names, or several names mean normal.
    """
    if wanted:
        found = [n for n in names if n == wanted] or [n for n in names if n.lower() == wanted.lower()]
        if not found:
            near = closest(wanted, names)
            hint = f" Did you mean '{near}'?" if near else ""
            raise DataError(f"{where} has no class '{wanted}' (option normal).{hint} Classes: {', '.join(names)}.")
        return found[0]
    found = [n for n in names if n.lower() in NORMAL_NAMES]
    if len(found) > 1:
        which = " and ".join(f"'{n}'" for n in found)
        raise DataError(f"{where}: {which} could each mean normal; say which with the option normal")
    return found[0] if found else None


def need_distinct(names: Iterable[str], where: str) -> None:
    """Refuse class names that differ only in case (one class spelt twice) or that records use for another column."""
    seen: dict[str, str] = {}
    for name in names:
        if name in RESERVED:
            raise DataError(
                f"{where}: a class cannot be called '{name}', a column of every table of records; rename it"
            )
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise DataError(f"{where}: the classes '{other}' and '{name}' differ only in case; rename one")


def aside(images: Sequence[str], reason: str | Sequence[str]) -> pd.DataFrame:
    """Rows for `Records.set_aside`."""
    reasons = [reason] * len(images) if isinstance(reason, str) else list(reason)
    return pd.DataFrame({"image": list(images), "reason": reasons}, dtype=object)
