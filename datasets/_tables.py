"""Tables and names as published layouts have them: cells as text, ages, sexes and views, and the class that means normal."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from zoo import DataError, DatasetInfo
from zoo.core.errors import did_you_mean
from zoo.core.records import METADATA

NORMAL_NAMES = ("normal", "no finding", "no_finding", "no-finding", "negative", "healthy")
RESERVED = ("image", "path", "patient", "split", *METADATA)  # columns that records have beside the labels
SPLITS = {**{name: name for name in ("train", "val", "test", "train_val")}, "valid": "val", "validation": "val"}
BOX = ("image", "label", "x", "y", "width", "height")  # columns of `Records.boxes`
OWN_PATIENT = "each image counts as a patient of its own"
MAX_AGE = 120.0  # years
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def need_root(root: Path | None, info: DatasetInfo) -> Path:
    """The root as an existing directory, or a DataError that shows the layout expected there."""
    expected = f"The dataset '{info.name}' expects:\n{info.layout}"
    if root is None:
        raise DataError(f"no root folder was given. {expected}")
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"the root {root} {what}. {expected}")
    return root


def choose_file(root: Path, name: str, option: str, found: Sequence[Path], otherwise: str) -> Path:
    """The file `name` under `root` where the user named one with `option`, else the only one of `found`.

    Raises:
        DataError: it does not exist, none was found (`otherwise` says what is missing), or several were.
    """
    if name:
        file = root / name
        if not file.is_file():
            raise DataError(f"{file} does not exist (option {option})")
        return file
    if not found:
        raise DataError(f"{root} has no {otherwise}")
    if len(found) > 1:
        raise DataError(f"{root} has {', '.join(p.name for p in found)}: say which with the option {option}")
    return found[0]


def read_text_table(file: Path) -> pd.DataFrame:
    """Read a CSV (.gz too) with every cell as stripped text; an empty cell is "".

    Raises:
        DataError: the file is missing, empty, not text or not a table.
    """
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:  # pandas' own errors are ValueErrors
        raise DataError(f"{file} cannot be read as a CSV table: {error}") from None
    if not isinstance(
        frame.index, pd.RangeIndex
    ):  # rows longer than the header: pandas takes the first cells for an index
        cells, header = frame.reset_index(), list(frame.columns)
        if (cells.iloc[:, len(header) :].fillna("") != "").any(axis=None):
            raise DataError(f"{file}: the rows have more cells than the header; quote cells that contain a comma")
        frame = cells.iloc[:, : len(header)].set_axis(header, axis=1)
    frame.columns = frame.columns.str.strip()
    if frame.empty:
        raise DataError(f"{file} has no rows")
    return frame.apply(lambda cells: cells.fillna("").str.strip())


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
    """Which of the class names means normal: `wanted` where given, else the one in `NORMAL_NAMES`, else None.

    Raises:
        DataError: `wanted` is none of the names, or several names mean normal.
    """
    if wanted:
        found = [n for n in names if n == wanted] or [n for n in names if n.lower() == wanted.lower()]
        if not found:
            listed = f"Classes: {', '.join(names)}."
            raise DataError(f"{where} has no class '{wanted}' (option normal).{did_you_mean(wanted, names)} {listed}")
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


def names_in(text: str) -> list[str]:
    """The names of an option that takes several, separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def aside(rows: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Rows (image, reason) for `Records.set_aside`."""
    return pd.DataFrame(list(rows), columns=["image", "reason"], dtype=object)
