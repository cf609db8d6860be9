"""Tables and names as published layouts have them: cells as text, ages, sexes and views, and the class that means normal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from zoo import DataError, DatasetInfo, UsageError
from zoo.core.errors import did_you_mean
from zoo.core.records import METADATA

NORMAL_NAMES = ("normal", "no finding", "no_finding", "no-finding", "negative", "healthy")
RESERVED = ("image", "path", "patient", "split", *METADATA)  # columns that records have beside the labels
SPLITS = {**{name: name for name in ("train", "val", "test", "train_val")}, "valid": "val", "validation": "val"}
# what columns are usually called, as `column_key` writes it, beside the name of the option
USUAL = {
    "image": (
        *(
            "imagepath",
            "imagefile",
            "imagename",
            "imageid",
            "imageindex",
            "img",
            "imgpath",
            "imgname",
            "file",
            "filename",
        ),
        *("filepath", "path", "pathtoimage", "pngpath", "dicompath"),
    ),
    "label": (
        "labels",
        "finding",
        "findings",
        "findinglabels",
        "class",
        "classname",
        "category",
        "target",
        "diagnosis",
    ),
    "patient": ("patientid", "patientnumber", "subject", "subjectid", "subjectnumber", "deidpatientid", "mrn"),
    "view": ("viewposition", "projection"),
    "age": ("patientage", "ageyears", "ageinyears", "ageatstudy"),
    "sex": ("gender", "patientsex", "patientgender", "patientsexdicom"),
}
PACKED = (".gz", ".zip")
TABLE_ENDINGS = tuple(f"{kind}{packed}" for kind in (".csv", ".tsv") for packed in ("", *PACKED))
BOX = ("image", "label", "x", "y", "width", "height")  # columns of `Records.boxes`
OWN_PATIENT = "each image counts as a patient of its own"
MAX_AGE = 120.0  # years
NO_PATHOLOGY = "Support Devices"  # the default of the readers' option
_ITEM = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s,'"][^,'"]*)""")
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}


def need_root(root: Path | None, info: DatasetInfo) -> Path:
    """The root as an existing directory, or a DataError that shows the layout expected there."""
    expected = f"The dataset '{info.name}' expects:"
    if root is None:
        raise DataError(f"no root folder was given. {expected}", info.layout)
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"the root {root} {what}. {expected}", info.layout)
    return root


def choose_file(root: Path, name: str, option: str, found: Sequence[Path], otherwise: str, layout: str) -> Path:
    """The file `name` under `root` where the user named one with `option`, else the only one of `found`.

    Raises:
        DataError: it does not exist, none was found (`otherwise` says what is missing, `layout` what is expected), or several were.
    """
    if name:
        file = root / name
        if not file.is_file():
            raise DataError(f"{file} does not exist (option {option})")
        return file
    if not found:
        raise DataError(f"{root} has no {otherwise}", layout)
    if len(found) > 1:
        raise DataError(f"{root} has {', '.join(p.name for p in found)}: say which with the option {option}")
    return found[0]


def find_tables(root: Path) -> list[Path]:
    """The tables in `root` by their endings, in any case; without a packed one that is there unpacked too."""
    found = sorted(p for p in root.iterdir() if p.name.lower().endswith(TABLE_ENDINGS) and p.is_file())
    return [p for p in found if p.suffix.lower() not in PACKED or p.with_suffix("") not in found]


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


def view_in(column: str) -> str:
    """The view that the name of a column of images tells ("lateral_path", "PA image"); "" where it tells none."""
    words = re.split(r"[\W_]+", column.lower())
    return next((view for view in ("lateral", "pa", "ap") if view in words), "")


def parts_of(cell: str, separator: str) -> list[str]:
    """The names in one cell of classes: between separators, or in a written list ("['a', 'b']", "[a, b]", "['a' 'b']")."""
    inside = cell[1:-1]
    if cell.startswith("[") and cell.endswith("]") and not set(inside) & set("[]"):
        found = [next(filter(None, match.groups()), "") for match in _ITEM.finditer(inside)]
        parts = [re.sub(r"\\(.)", r"\1", each) for each in found]
    else:
        parts = cell.split(separator) if separator else [cell]
    return [part.strip() for part in parts if part.strip()]


def patients_in(paths: Sequence[str], pattern: str) -> list[str]:
    """The patient of each image: the first group of `pattern` in its path, or in all file names where paths do not match.

    Raises:
        UsageError: the pattern is not a regular expression or has no group.
        DataError: an image has no match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"the option patient_pattern '{pattern}' is not a regular expression: {error}") from None
    if not compiled.groups:
        raise UsageError(rf"the option patient_pattern '{pattern}' has no group; write the patient's part as '(\d+)'")
    ways = [[compiled.search(text) for text in texts] for texts in (paths, [p.rpartition("/")[2] for p in paths])]
    found = max(ways, key=lambda matches: sum(bool(match and match[1]) for match in matches))
    unmatched = [path for path, match in zip(paths, found, strict=True) if not match or not match[1]]
    if unmatched:
        raise DataError(
            f"the option patient_pattern '{pattern}' finds no patient in {len(unmatched):,} of {len(paths):,} paths, "
            f"'{unmatched[0]}' for one; it must match every image"
        )
    return [match[1] for match in found if match]


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
