"""Labels of the csv reader: 0/1 columns or one column of classes, to one float column per finding."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zoo import DataError, Faults
from zoo.core.errors import closest
from zoo.core.listing import NORMAL_AND_FINDING
from zoo.datasets._tables import NORMAL_NAMES, find_normal, line_of, need_column, need_distinct

VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("", "-1", "-1.0"), np.nan),
}
SPLITS = {
    **{name: name for name in ("train", "val", "test", "train_val")},
    "valid": "val",
    "validation": "val",
}
NO_LABEL = "no label"
NOT_NORMAL = "marked as not normal, but with none of the labels"


@dataclass(frozen=True)
class Labels:
    """One float column per finding by name; `unusable` is the reason per row why it cannot be used, "" where it can."""

    table: dict[str, pd.Series]
    normal: str | None
    unusable: pd.Series
    notes: tuple[str, ...] = ()


def read_labels(
    raw: pd.DataFrame,
    columns: str,
    separator: str,
    normal: str,
    file: Path,
    noted: tuple[pd.Series, Faults] | None = None,
    *,
    blank: float = np.nan,
) -> Labels:
    """Read the label columns named in `columns`.

    `noted`, the names of the images and where faults are collected, takes an image that is normal and has a finding as one with
    the finding, and notes it; without it that is an error.

    One column without any 0, 1, true, false, yes or no in it holds classes; otherwise every column is one label, and `blank`
    is what an empty cell of a finding means: NaN for unknown, or 0. -1 is always unknown; a row without any other value is
    kept for the policies on uncertain labels, one of empty cells alone is unusable.

    Raises:
        DataError: a column is missing, a value is not valid, or there is nothing to tell apart.
    """
    wanted = [name.strip() for name in columns.split(",") if name.strip()]
    if not wanted:
        raise DataError(f"the option labels names no column of {file}")
    names = [need_column(raw, name, file, "labels") for name in wanted]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"the option labels names the column '{twice[0]}' of {file} twice")
    if len(names) == 1 and not raw[names[0]].str.lower().isin([v for v in VALUES if v]).any():
        labels = _from_classes(raw[names[0]], separator, normal, file, noted)
    else:
        labels = _from_columns(raw[names], normal, file, blank, noted)
    _need_both_values(labels, file)
    return labels


def _from_classes(
    cells: pd.Series, separator: str, normal: str, file: Path, noted: tuple[pd.Series, Faults] | None
) -> Labels:
    """One text column: each cell one class, or several with the separator between them."""
    codes, combinations = pd.factorize(cells)
    sets = [
        {part.strip() for part in (c.split(separator) if separator else [c])} - {""} for c in map(str, combinations)
    ]
    classes = sorted(set().union(*sets))
    if not classes:
        raise DataError(f"{file}: the column '{cells.name}' is empty")
    need_distinct(classes, f"{file}, column '{cells.name}'")
    none = find_normal(classes, normal, f"{file}, column '{cells.name}',")
    for number, names in enumerate(sets):
        if none in names and len(names) > 1:
            if noted is not None:
                noted[1].add(NORMAL_AND_FINDING, noted[0][codes == number], str(combinations[number]))
                continue
            line = int((codes == number).argmax()) + 2
            raise DataError(f"{file}, line {line}: '{combinations[number]}' says '{none}' and a finding")
    findings = [c for c in classes if c != none]
    table = {
        name: pd.Series(np.array([float(name in s) if s else np.nan for s in sets])[codes], index=cells.index)
        for name in findings
    }
    return Labels(table, none, (cells == "").map({True: NO_LABEL, False: ""}))


def _from_columns(
    cells: pd.DataFrame, normal: str, file: Path, blank: float, noted: tuple[pd.Series, Faults] | None
) -> Labels:
    """One 0/1 column per label. A column that means normal is no label: where it is 1 the unknown labels are 0."""
    need_distinct(map(str, cells.columns), f"{file}, label columns")
    table = {str(name): _numbers(cells[name], file) for name in cells.columns}
    if normal and normal.lower() not in [name.lower() for name in table]:
        none = None  # the table has no such column, so the option only names the images without a finding
    else:
        none = find_normal(list(table), normal, f"{file}, label columns")
    marked = table.pop(none) if none else pd.Series(np.nan, index=cells.index)
    if not table:
        raise DataError(f"{file}: '{none}' means normal; the option labels must name a finding too")
    findings = pd.DataFrame(table)
    empty = cells[list(table)] == ""
    findings = findings.mask(empty & findings.isna(), blank)
    contrary = (marked == 1) & (findings == 1).any(axis=1)
    if contrary.any() and noted is not None:
        noted[1].add(NORMAL_AND_FINDING, noted[0][contrary], f"the column '{none}' and a finding are both 1")
        marked = marked.mask(contrary, 0.0)
    elif contrary.any():
        which = findings.columns[(findings[contrary].iloc[0] == 1).to_numpy()][0]
        raise DataError(f"{file}, line {line_of(contrary)}: '{none}' and '{which}' are both 1")
    findings = findings.mask(findings.isna() & (marked == 1).to_numpy()[:, None], 0.0)
    unusable = pd.Series("", index=cells.index)
    unusable[(marked == 0) & (findings == 0).all(axis=1)] = NOT_NORMAL
    unusable[findings.isna().all(axis=1) & empty.all(axis=1)] = NO_LABEL
    if none is None and ((findings == 0).all(axis=1) & (unusable == "")).any():
        none = normal or "No Finding"
    return Labels({str(name): findings[name] for name in findings.columns}, none, unusable)


def _numbers(cells: pd.Series, file: Path) -> pd.Series:
    lowered = cells.str.lower()
    strange = ~lowered.isin(list(VALUES))
    if strange.any():
        value = cells[strange].iloc[0]
        raise DataError(
            f"{file}, line {line_of(strange)}: the label '{cells.name}' has the value '{value}'; valid are 0, 1, true, "
            "false, yes, no, and blank or -1 for unknown"
        )
    return lowered.map(VALUES).astype(float)


def _need_both_values(labels: Labels, file: Path) -> None:
    """Every label must be positive somewhere, and a single one negative somewhere, or nothing can be learnt."""
    for name, values in labels.table.items():
        if not (values == 1).any():
            raise DataError(
                f"{file}: no image has the label '{name}' (it is never 1); leave it out of the option labels"
            )
    if len(labels.table) < 2 and not any((values == 0).any() for values in labels.table.values()):
        names = ", ".join(f"'{name}'" for name in (*labels.table, *([labels.normal] if labels.normal else [])))
        hint = f" Classes recognised as normal: {', '.join(NORMAL_NAMES)}." if not labels.table else ""
        raise DataError(f"{file}: every image has the same class, {names}; there is nothing to tell apart.{hint}")


def read_split(cells: pd.Series, file: Path) -> pd.Series:
    """ "train", "val", "test" or "train_val" per row, in any case; "valid" and "validation" are "val"."""
    lowered = cells.str.lower()
    strange = ~lowered.isin(list(SPLITS))
    if strange.any():
        value = cells[strange].iloc[0]
        near = closest(value, SPLITS)
        hint = f" Did you mean '{SPLITS[near]}'?" if near else ""
        raise DataError(
            f"{file}, line {line_of(strange)}: the column '{cells.name}' has the value '{value}'.{hint} "
            "Valid: train, val, test, train_val."
        )
    return lowered.map(SPLITS)
