"""Labels from a table: 0/1 columns, or one column of class names, to one float column per finding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo import DataError
from zoo.core.errors import did_you_mean
from zoo.datasets._builder import RecordBuilder
from zoo.datasets._tables import NORMAL_NAMES, find_normal, names_in, need_distinct

VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("", "-1", "-1.0"), np.nan),
}
NO_LABEL = "no label"
NOT_NORMAL = "marked as not normal, but with none of the labels"


def add_named(builder: RecordBuilder, options: Any, *, blank: float = np.nan) -> None:
    """Add labels, patients, split, views, ages and sexes by the names that a reader's options give them.

    The options are labels, separator and normal; and patient, split, view, age and sex, used if there is such a column.
    """
    add_labels(builder, options.labels, options.separator, options.normal, blank=blank)
    patient, split, view, age, sex = (
        builder.chosen(name, getattr(options, name)) for name in ("patient", "split", "view", "age", "sex")
    )
    builder.add_patients(patient)
    if split is not None:
        builder.add_split(split)
    builder.add_metadata(view, age, sex)


def add_labels(builder: RecordBuilder, columns: str, separator: str, normal: str, *, blank: float = np.nan) -> None:
    """Add the labels of the columns named in `columns`, separated by commas.

    One column without any 0, 1, true, false, yes or no in it holds class names; otherwise every column is one label, and
    `blank` is what an empty cell means: NaN for unknown, or 0. -1 is always unknown. A row of empty cells alone is set
    aside; one with a -1 is kept for the policies on uncertain labels.

    Raises:
        DataError: a column is missing, a value is not valid, or all images have the same labels.
    """
    cells = [builder.need(name, "labels") for name in names_in(columns)]
    if not cells:
        raise DataError(f"the option labels names no {builder.term} of {builder.file}")
    names = [str(each.name) for each in cells]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"the option labels names the {builder.term} '{twice[0]}' of {builder.file} twice")
    if len(cells) == 1 and not cells[0].str.lower().isin([value for value in VALUES if value]).any():
        add_classes(builder, cells[0], separator, normal)
    else:
        _add_columns(builder, pd.concat(cells, axis=1), normal, blank)
    _need_both_values(builder)
    count = int((builder.reasons != "").sum())
    if count:
        builder.notes.append(f"{count:,} rows of {builder.file.name} have no usable label: set aside")


def add_classes(
    builder: RecordBuilder, cells: pd.Series, separator: str, normal: str, vocabulary: Sequence[str] = ()
) -> None:
    """Add the labels of a column of class names: each cell one, or several with the separator between them.

    With a `vocabulary` these are the findings, `normal` is the class without any, and every cell must name one. Else the
    findings are the names there are, and rows without any are set aside.

    Raises:
        DataError: a name is not in the vocabulary, or two names differ only in case; names the place.
    """
    where = f"{builder.file}, {builder.term} '{cells.name}'"
    codes, combinations = pd.factorize(cells)  # few combinations recur: each is split once
    sets = [{part.strip() for part in (c.split(separator) if separator else [c])} - {""} for c in combinations]
    names = sorted(set().union(*sets))
    if vocabulary:
        _need_known(builder, cells, codes, sets, [*vocabulary, normal])
        none: str | None = normal
    elif not names:
        raise DataError(f"{builder.file}: the {builder.term} '{cells.name}' is empty")
    else:
        need_distinct(names, where)
        none = find_normal(names, normal, f"{where},")
    for number, found in enumerate(sets):
        if none in found and len(found) > 1:
            builder.contradict(codes == number, f"'{combinations[number]}' says '{none}' and a finding")
    findings = [*vocabulary] or [name for name in names if name != none]
    rows = [[float(name in found) if found else np.nan for name in findings] for found in sets]
    builder.labels, builder.normal = pd.DataFrame(np.array(rows)[codes], columns=findings), none
    builder.set_aside(cells == "", NO_LABEL)


def _need_known(
    builder: RecordBuilder, cells: pd.Series, codes: np.ndarray, sets: Sequence[set[str]], valid: Sequence[str]
) -> None:
    for number, found in enumerate(sets):
        strange = sorted(found - set(valid))
        if not found:
            message = f"no finding in the {builder.term} '{cells.name}'; a normal image says '{valid[-1]}'"
            raise builder.error(codes == number, message)
        if strange:
            listed = ", ".join(f"'{name}'" for name in strange)
            message = f"unknown finding {listed}.{did_you_mean(strange[0], valid)} Valid: {', '.join(valid)}."
            raise builder.error(codes == number, message)


def _add_columns(builder: RecordBuilder, cells: pd.DataFrame, normal: str, blank: float) -> None:
    """One 0/1 column per label. A column that means normal is no label: where it is 1 the unknown labels are 0."""
    where = f"{builder.file}, label {builder.term}s"
    names = [str(name) for name in cells]
    need_distinct(names, where)
    only_a_name = normal and normal.lower() not in [name.lower() for name in names]  # of the images without a finding
    none = None if only_a_name else find_normal(names, normal, where)
    values = pd.DataFrame({name: _numbers(builder, cells[name]) for name in names})
    marked = values.pop(none) if none else pd.Series(np.nan, index=cells.index)
    if values.empty:
        raise DataError(f"{builder.file}: '{none}' means normal; the option labels must name a finding too")
    empty = cells[list(values)] == ""
    values = values.mask(empty & values.isna(), blank)
    contrary = (marked == 1) & (values == 1).any(axis=1)
    if contrary.any():
        which = values.columns[(values[contrary].iloc[0] == 1).to_numpy()][0]
        builder.contradict(contrary, f"'{none}' and '{which}' are both 1")
        marked = marked.mask(contrary, 0.0)
    values = values.mask(values.isna() & (marked == 1).to_numpy()[:, None], 0.0)
    builder.set_aside((marked == 0) & (values == 0).all(axis=1), NOT_NORMAL)
    builder.set_aside(values.isna().all(axis=1) & empty.all(axis=1), NO_LABEL)
    if none is None and ((values == 0).all(axis=1) & (builder.reasons == "")).any():
        none = normal or "No Finding"
    builder.labels, builder.normal = values, none


def _numbers(builder: RecordBuilder, cells: pd.Series) -> pd.Series:
    lowered = cells.str.lower()
    strange = ~lowered.isin(list(VALUES))
    if strange.any():
        value = cells[strange].iloc[0]
        raise builder.error(
            strange,
            f"the label '{cells.name}' has the value '{value}'; valid are 0, 1, true, false, yes, no, and blank or -1 for "
            "unknown",
        )
    return lowered.map(VALUES).astype(float)


def _need_both_values(builder: RecordBuilder) -> None:
    """Every label must be positive somewhere, and a single one negative somewhere, or there is nothing to learn."""
    labels = builder.labels
    for name in labels:
        if not (labels[name] == 1).any():
            raise DataError(
                f"{builder.file}: no image has the label '{name}' (it is never 1); leave it out of the option labels"
            )
    if labels.shape[1] < 2 and not (labels == 0).any(axis=None):
        names = ", ".join(f"'{name}'" for name in (*labels, *([builder.normal] if builder.normal else [])))
        hint = "" if labels.shape[1] else f" Classes recognised as normal: {', '.join(NORMAL_NAMES)}."
        raise DataError(f"{builder.file}: every image has the same class, {names}; there is nothing to learn.{hint}")
