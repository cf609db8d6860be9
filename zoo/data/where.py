"""Applies a filter (`zoo.config.where`) to the table of records.

Columns are pandas' nullable arrays, whose `&`, `|` and `~` follow Kleene's logic: `and` fails where one part fails and holds
where all hold, whatever is unknown of the others.
"""

from __future__ import annotations

import ast
import functools
import operator
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from zoo.config.where import SYMBOLS, Filter, literal, pairs, parse_filter
from zoo.core.errors import UsageError, unknown
from zoo.core.records import Records

SHOWN = 6  # values of a column that an error names
OPERATIONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def columns_of(records: Records) -> dict[str, np.ndarray]:
    """Every column that a filter may name: metadata, findings, the normal class and whatever else the table keeps.

    The normal class is 1 where every pathology is known to be absent, and 0 where one is present.
    """
    table = records.table
    found = {str(name): table[name].to_numpy() for name in table if name != "path"}
    if records.normal is not None and records.normal not in found:
        findings = table[list(records.pathologies)].to_numpy(dtype=np.float64)
        absent, present = (findings == 0).all(axis=1), (findings == 1).any(axis=1)
        found[records.normal] = np.where(absent, 1.0, np.where(present, 0.0, np.nan))
    return found


def filter_records(records: Records, text: str) -> Records:
    """The records whose images satisfy a condition; the number of the others is kept in `Records.filtered_out`.

    An unknown value satisfies neither a comparison nor its opposite: `age >= 18` and `not (age >= 18)` both leave out the
    images without an age; `known(age)` finds them.

    Raises:
        UsageError: the condition cannot be read, names a column that is not there, compares what cannot be compared, leaves
            no image, or none of the published test images.
    """
    read = parse_filter(text)
    there = columns_of(records)
    columns = {name: _typed(name, there[_find(name, there)]) for name in read.names()}
    holds = _Evaluation(read, columns).condition(read.tree)
    keep = np.flatnonzero(holds.fillna(False).to_numpy(dtype=bool))
    if not len(keep):
        held = "; ".join(_summary(column) for column in columns.values())
        raise UsageError(f"the filter {text!r} leaves none of the {len(records):,} images. In them {held}.")
    kept = records.take(keep)
    _need_test(records, kept, text)
    note = f"Filter {text}: {len(kept):,} of {len(records):,} images kept"
    return replace(kept, notes=(*kept.notes, note), filtered_out=len(records) - len(kept))


def _need_test(records: Records, kept: Records, text: str) -> None:
    """A published test set must not be replaced silently by a drawn one."""
    if "split" not in records.table:
        return
    before, after = (int((each.table["split"] == "test").sum()) for each in (records, kept))
    if before and not after:
        raise UsageError(
            f"the filter {text!r} leaves none of the {before:,} published test images, so there would be nothing to test on. "
            "Let it keep some of them."
        )


def _find(name: str, columns: Mapping[str, object]) -> str:
    """The column of that name; an underscore also stands for a space or a dash."""
    if name in columns:
        return name
    alike = [each for each in columns if re.sub(r"[\s-]", "_", each) == name]
    if len(alike) == 1:
        return alike[0]
    raise unknown(
        "column", name, columns, "A name with spaces or dashes goes in `backticks`, or with _ in their place."
    )


def _typed(name: str, values: np.ndarray) -> pd.Series:
    """A column of Float64, for numbers and truth values, or of text; NA for what is not known."""
    if values.dtype.kind in "biuf":
        return pd.Series(values, name=name, dtype="Float64")
    texts = [None if gone or str(v) == "" else str(v) for v, gone in zip(values, pd.isna(values), strict=True)]
    return pd.Series(texts, name=name, dtype=pd.StringDtype("python"))


def _numeric(column: Any) -> bool:
    return not isinstance(column, str) and not (isinstance(column, pd.Series) and column.dtype == "string")


def _summary(column: pd.Series) -> str:
    """What a column holds, in a few words."""
    held = column.dropna()
    if held.empty:
        return f"{column.name} is nowhere known"
    if _numeric(column):
        return f"{column.name} is {held.min():g} to {held.max():g}"
    names = sorted(set(held))
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{column.name} is {', '.join(names[:SHOWN])}{more}"


class _Evaluation:
    """One evaluation of a filter over columns; conditions are nullable Boolean series, one value per image."""

    def __init__(self, read: Filter, columns: Mapping[str, pd.Series]) -> None:
        self.read, self.columns = read, columns

    def condition(self, node: ast.expr) -> pd.Series:
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return functools.reduce(join, [self.condition(each) for each in node.values])
        if isinstance(node, ast.UnaryOp):
            return ~self.condition(node.operand)
        if isinstance(node, ast.Call):
            return self._column(node.args[0]).notna().astype("boolean")
        if isinstance(node, ast.Compare):
            return functools.reduce(operator.and_, [self._pair(*pair) for pair in pairs(node)])
        return self._present(self._column(node))

    def _column(self, node: ast.expr) -> pd.Series:
        assert isinstance(node, ast.Name)  # `parse_filter` saw to it
        return self.columns[self.read.quoted.get(node.id, node.id)]

    def _present(self, column: pd.Series) -> pd.Series:
        """A column of 1, 0 and unknown that stands alone."""
        values = _as_numbers(column)
        if values is None or not values.dropna().isin([0.0, 1.0]).all():
            raise UsageError(
                f"the filter {self.read.text!r} takes '{column.name}' for a condition, but it is not a column of 0 and 1 "
                f"({_summary(column)}): compare it with something."
            )
        return values == 1

    def _pair(self, left: ast.expr, comparison: ast.cmpop, right: ast.expr) -> pd.Series:
        symbol = SYMBOLS[type(comparison)]
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            found = functools.reduce(operator.or_, [self._compared(left, "==", each) for each in right.elts])
            return found if symbol == "in" else ~found
        return self._compared(left, symbol, right)

    def _compared(self, left: ast.expr, symbol: str, right: ast.expr) -> pd.Series:
        sides = [
            self._column(side) if isinstance(side, ast.Name) else literal(side, self.read) for side in (left, right)
        ]
        if _numeric(sides[0]) != _numeric(sides[1]):  # a column of texts may hold numbers, where all cells are texts
            sides = [side if _numeric(side) else self._number(side, sides[1 - k]) for k, side in enumerate(sides)]
        return OPERATIONS[symbol](*sides)

    def _number(self, side: Any, other: Any) -> pd.Series:
        """A column of texts as numbers, to be compared with `other`, which is a number or a column of numbers."""
        if isinstance(side, pd.Series):
            values = _as_numbers(side)
            if values is not None:
                return values
            what = f"the column '{other.name}', which is numbers" if isinstance(other, pd.Series) else f"{other:g}"
            raise UsageError(
                f"the filter {self.read.text!r} compares texts with {what}: {_summary(side)}. Put a text in quotes."
            )
        raise UsageError(
            f"the filter {self.read.text!r} compares numbers with the text '{side}': {_summary(other)}. A number has no quotes."
        )


def _as_numbers(column: pd.Series) -> pd.Series | None:
    """The column as numbers; None where some values are no numbers. 'true' and 'false' are 1 and 0."""
    if _numeric(column):
        return column
    words = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
    try:
        numbers = [
            None if gone else float(words.get(v.lower(), v)) for v, gone in zip(column, column.isna(), strict=True)
        ]
    except ValueError:
        return None
    return pd.Series(numbers, name=column.name, dtype="Float64")
