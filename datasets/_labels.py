"""Labels from a table: 0/1 columns, or one column of class names, to one float column per finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zoo import DataError, UsageError
from zoo.core.errors import did_you_mean
from zoo.core.tables import column_key
from zoo.datasets._builder import RecordBuilder
from zoo.datasets._class_numbers import class_names, is_numbered
from zoo.datasets._tables import NO_PATHOLOGY, NORMAL_NAMES, find_normal, names_in, need_distinct, parts_of

VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "yes"), 1.0),
    **dict.fromkeys(("0", "0.0", "false", "no"), 0.0),
    **dict.fromkeys(("", "-1", "-1.0"), np.nan),
}
NO_LABEL = "no label"
NOT_NORMAL = "marked as not normal, but with none of the labels"


def add_named(builder: RecordBuilder, options: Any, *, blank: float = np.nan) -> None:
    """Add labels, patients, split, views, ages and sexes by the names that a reader's options give them.

    The options are labels, names, separator, normal, no_pathology, contradictions and patient_pattern; and patient, split, view,
    age and sex, used if there is such a column.
    """
    asked = [name for name in ("patient", "split", "view", "age", "sex") if getattr(options, name) not in ("", name)]
    for name in asked:  # before columns are found by their usual names
        builder.need(getattr(options, name), name)
    add_labels(builder, options, blank=blank)
    patient, split, view, age, sex = (
        builder.chosen(name, getattr(options, name)) if name != "patient" or not options.patient_pattern else None
        for name in ("patient", "split", "view", "age", "sex")
    )
    builder.add_patients(patient, options.patient_pattern)
    if split is not None:
        builder.add_split(split)
    builder.add_metadata(view, age, sex)


def add_labels(builder: RecordBuilder, options: Any, *, blank: float = np.nan) -> None:
    """Add the labels of the columns that `options.labels` names, separated by commas.

    One column without any 0, 1, true, false, yes or no in it holds class names, one of other whole numbers, or with
    `options.names`, class numbers; otherwise every column is one label, and `blank` is what an empty cell means: NaN for
    unknown, or 0. -1 is always unknown. A row of empty cells alone is set aside; one with a -1 is kept for the policies on
    uncertain labels.

    Raises:
        DataError: a column is missing, a value is not valid, or all images have the same labels.
    """
    cells = _label_cells(builder, options.labels)
    builder.no_pathology, builder.contradictions = tuple(names_in(options.no_pathology)), options.contradictions
    if len(cells) == 1 and is_numbered(cells[0], options.separator, options.names):
        rename = class_names(builder, cells[0], options.separator, options.names)
        add_classes(builder, cells[0], options.separator, options.normal, rename=rename)
    elif options.names:
        raise UsageError("the option names is for one column of class numbers, not for columns of labels: leave it out")
    elif len(cells) == 1 and not cells[0].str.lower().isin([value for value in VALUES if value]).any():
        add_classes(builder, cells[0], options.separator, options.normal)
    else:
        _add_columns(builder, pd.concat(cells, axis=1), options.normal, blank)
    _need_both_values(builder)
    count = int((builder.reasons != "").sum())
    if count:
        builder.notes.append(f"{count:,} rows of {builder.file.name} have no usable label: set aside")


def _label_cells(builder: RecordBuilder, columns: str) -> list[pd.Series]:
    """The columns of an option, each once; those of the default may have another usual name."""
    if columns == "label":
        found = builder.usual("label")
        if found is None:
            yes_no = [str(c) for c in builder.cells if builder.cells[c].str.lower().isin(list(VALUES)).all()]
            hint = f" Columns of 0 and 1: --set data.labels='{','.join(yes_no)}'." if yes_no else ""
            raise builder.missing("label", "labels", hint)
        return [found]
    cells = [builder.need(name, "labels") for name in names_in(columns)]
    if not cells:
        raise DataError(f"the option labels names no {builder.term} of {builder.file}")
    names = [str(each.name) for each in cells]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"the option labels names the {builder.term} '{twice[0]}' of {builder.file} twice")
    return cells


def _spell_no_pathologies(builder: RecordBuilder, names: Sequence[str]) -> None:
    """Take the labels that are no pathology as `names` spells them; refuse one that the user gave in vain."""
    spelt = {column_key(name): name for name in names}
    vain = [name for name in builder.no_pathology if column_key(name) not in spelt]
    if vain and builder.no_pathology != (NO_PATHOLOGY,):
        raise DataError(f"{builder.file} has no label '{vain[0]}' (option no_pathology).{did_you_mean(vain[0], names)}")
    builder.no_pathology = tuple(spelt[column_key(name)] for name in builder.no_pathology if name not in vain)


def add_classes(
    builder: RecordBuilder,
    cells: pd.Series,
    separator: str,
    normal: str,
    vocabulary: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> None:
    """Add the labels of a column of class names: each cell one, or several with the separator between them or in a list.

    With a `vocabulary` these are the findings, `normal` is the class without any, and every cell must name one. Else the
    findings are the names there are, and rows without any are set aside. `rename` has the name of each class as the cells
    write it, "" for unknown, in the order of the classes.

    Raises:
        DataError: a name is not in the vocabulary, or two names differ only in case; names the place.
    """
    where = f"{builder.file}, {builder.term} '{cells.name}'"
    codes, combinations = pd.factorize(cells)  # few combinations recur: each is split once
    named = rename or {}
    sets = [{named.get(part, part) for part in parts_of(c, separator)} - {""} for c in combinations]
    found_names = set().union(*sets)
    names = sorted(found_names) if rename is None else [n for n in dict.fromkeys(rename.values()) if n in found_names]
    if vocabulary:
        _need_known(builder, cells, codes, sets, [*vocabulary, normal])
        none: str | None = normal
    elif not names:
        raise DataError(f"{builder.file}: the {builder.term} '{cells.name}' is empty")
    else:
        need_distinct(names, where)
        none = find_normal(names, normal, f"{where},")
    _spell_no_pathologies(builder, names)
    beside = {none, *builder.no_pathology}
    for number, found in enumerate(sets):
        if none in found and found - beside:
            message = f"'{combinations[number]}' says '{none}' and a finding"
            builder.contradict(codes == number, message, sorted(found - beside)[0])
    findings = [*vocabulary] or [name for name in names if name != none]
    rows = [[float(name in found) if found else np.nan for name in findings] for found in sets]
    builder.labels, builder.normal = pd.DataFrame(np.array(rows)[codes], columns=findings), none
    builder.set_aside(np.array([not found for found in sets])[codes], NO_LABEL)


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
    """One 0/1 column per label. A column that means normal is no label: where it is 1 the unknown pathologies are 0."""
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
    findings = [str(name) for name in values]
    _spell_no_pathologies(builder, findings)
    sick = [name for name in findings if name not in builder.no_pathology] or findings
    contrary = (marked == 1) & (values[sick] == 1).any(axis=1)
    if contrary.any():
        which = next(name for name in sick if values[name][contrary].iloc[0] == 1)
        builder.contradict(contrary, f"'{none}' and '{which}' are both 1", which)
        marked = marked.mask(contrary, 0.0)
    values[sick] = values[sick].mask(values[sick].isna() & (marked == 1).to_numpy()[:, None], 0.0)
    builder.set_aside((marked == 0) & (values[sick] == 0).all(axis=1), NOT_NORMAL)
    builder.set_aside(values.isna().all(axis=1) & empty.all(axis=1), NO_LABEL)
    if none is None and ((values[sick] == 0).all(axis=1) & (builder.reasons == "")).any():
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
