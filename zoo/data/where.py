"""Applies a filter (`zoo.config.where`) to the table of records."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zoo.config.where import SYMBOLS, Filter, literal, pairs, parse_filter
from zoo.core.errors import UsageError, unknown

if TYPE_CHECKING:
    from zoo.core.records import Records

SHOWN = 6  # values of a column that an error names


@dataclass(frozen=True)
class Truth:
    """What is known of a condition, image by image: bool `(N,)` where it holds and where it does not; else it is unknown."""

    yes: np.ndarray
    no: np.ndarray


@dataclass(frozen=True)
class Column:
    """A column as conditions see it: float64 with NaN, or texts with None, for what is not known."""

    name: str
    values: np.ndarray

    @property
    def numeric(self) -> bool:
        return self.values.dtype.kind == "f"

    @property
    def known(self) -> np.ndarray:
        return ~np.isnan(self.values) if self.numeric else np.array([v is not None for v in self.values], bool)

    def words(self) -> str:
        """What stands in it, in a few words."""
        held = self.values[self.known]
        if not len(held):
            return f"{self.name} is nowhere known"
        if self.numeric:
            return f"{self.name} is {held.min():g} to {held.max():g}"
        names = sorted(set(held))
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        return f"{self.name} is {', '.join(names[:SHOWN])}{more}"


def columns_of(records: Records) -> dict[str, np.ndarray]:
    """Every column that a filter may name: metadata, findings, the normal class and whatever else the table keeps.

    The normal class is 1 where every finding is known to be absent, and 0 where one is present.
    """
    table = records.table
    found = {str(name): table[name].to_numpy() for name in table if name != "path"}
    if records.normal is not None and records.normal not in found:
        findings = table[list(records.labels)].to_numpy(dtype=np.float64)
        absent, present = (findings == 0).all(axis=1), (findings == 1).any(axis=1)
        found[records.normal] = np.where(absent, 1.0, np.where(present, 0.0, np.nan))
    return found


def filter_records(records: Records, text: str) -> Records:
    """The records whose images satisfy a condition; the number of the others is kept in `Records.filtered_out`.

    An unknown value satisfies no comparison, nor its contrary: `age >= 18` and `not (age >= 18)` both leave out the images
    without an age, and `known(age)` finds them.

    Raises:
        UsageError: the condition cannot be read, names a column that is not there, compares what cannot be compared, leaves
            no image, or none of the published test images.
    """
    read = parse_filter(text)
    there = columns_of(records)
    columns = {name: Column(name, _plain_values(there[_find(name, there)])) for name in read.names()}
    keep = np.flatnonzero(_Reading(read, columns).condition(read.tree).yes)
    if not len(keep):
        held = "; ".join(column.words() for column in columns.values())
        raise UsageError(f"the filter {text!r} leaves none of the {len(records):,} images. In them {held}.")
    kept = records.take(keep)
    _need_test(records, kept, text)
    note = f"Filter {text}: {len(kept):,} of {len(records):,} images kept"
    return replace(kept, notes=(*kept.notes, note), filtered_out=len(records) - len(kept))


def _need_test(records: Records, kept: Records, text: str) -> None:
    """A published test set must not be replaced by a drawn one in silence."""
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


def _plain_values(values: np.ndarray) -> np.ndarray:
    """float64 for numbers and truth values; else texts, None where there is none."""
    import pandas as pd

    if values.dtype.kind in "biuf":
        return values.astype(np.float64)
    texts = np.empty(len(values), dtype=object)
    texts[:] = [None if gone or str(v) == "" else str(v) for v, gone in zip(values, pd.isna(values), strict=True)]
    return texts


class _Reading:
    """One evaluation of a filter over columns."""

    def __init__(self, read: Filter, columns: Mapping[str, Column]) -> None:
        self.read, self.columns = read, columns

    def condition(self, node: ast.expr) -> Truth:
        """Kleene's logic: `and` holds where all hold and fails where one fails, whatever is unknown of the others."""
        if isinstance(node, ast.BoolOp):
            parts = [self.condition(each) for each in node.values]
            every, some = np.logical_and.reduce, np.logical_or.reduce
            if isinstance(node.op, ast.And):
                return Truth(every([p.yes for p in parts]), some([p.no for p in parts]))
            return Truth(some([p.yes for p in parts]), every([p.no for p in parts]))
        if isinstance(node, ast.UnaryOp):
            inner = self.condition(node.operand)
            return Truth(inner.no, inner.yes)
        if isinstance(node, ast.Call):
            known = self._column(node.args[0]).known
            return Truth(known, ~known)
        if isinstance(node, ast.Compare):
            parts = [self._pair(*pair) for pair in pairs(node)]
            return Truth(np.logical_and.reduce([p.yes for p in parts]), np.logical_or.reduce([p.no for p in parts]))
        return self._present(self._column(node))

    def _column(self, node: ast.expr) -> Column:
        assert isinstance(node, ast.Name)  # `_check` saw to it
        return self.columns[self.read.quoted.get(node.id, node.id)]

    def _present(self, column: Column) -> Truth:
        """A column of 1, 0 and unknown that stands alone."""
        values = _as_numbers(column)
        if values is None or not np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            raise UsageError(
                f"the filter {self.read.text!r} takes '{column.name}' for a condition, but it is not a column of 0 and 1 "
                f"({column.words()}): compare it with something."
            )
        return Truth(values == 1, values == 0)

    def _pair(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Truth:
        symbol = SYMBOLS[type(operator)]
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            found = [self._compared(left, "==", each) for each in right.elts]
            yes, no = np.logical_or.reduce([f.yes for f in found]), np.logical_and.reduce([f.no for f in found])
            return Truth(yes, no) if symbol == "in" else Truth(no, yes)
        return self._compared(left, symbol, right)

    def _compared(self, left: ast.expr, symbol: str, right: ast.expr) -> Truth:
        sides = [self._side(side) for side in (left, right)]
        texts = [isinstance(side, str) or (isinstance(side, Column) and not side.numeric) for side in sides]
        if texts[0] != texts[1]:  # a column of texts may hold numbers, as in a table where all cells are texts
            sides = [self._number(side, sides[1 - k]) if texts[k] else side for k, side in enumerate(sides)]
        length = next(len(side.values) for side in sides if isinstance(side, Column))
        known = np.logical_and.reduce([s.known if isinstance(s, Column) else np.ones(length, bool) for s in sides])
        a, b = (s.values[known] if isinstance(s, Column) else s for s in sides)
        yes, no = np.zeros(length, bool), np.zeros(length, bool)
        held = np.asarray(_OPERATIONS[symbol](a, b), dtype=bool)
        yes[known], no[known] = held, ~held
        return Truth(yes, no)

    def _side(self, node: ast.expr) -> Column | str | float:
        return self._column(node) if isinstance(node, ast.Name) else literal(node, self.read)

    def _number(self, side: Column | str | float, other: Column | str | float) -> Column:
        """A column of texts as numbers, to be compared with `other`, which is a number or a column of numbers."""
        if isinstance(side, Column):
            values = _as_numbers(side)
            if values is not None:
                return Column(side.name, values)
            what = f"the column '{other.name}', which is numbers" if isinstance(other, Column) else f"{other:g}"
            raise UsageError(
                f"the filter {self.read.text!r} compares texts with {what}: {side.words()}. Put a text in quotes."
            )
        assert isinstance(other, Column)  # two literals are refused before
        raise UsageError(
            f"the filter {self.read.text!r} compares numbers with the text '{side}': {other.words()}. A number has no quotes."
        )


_OPERATIONS: dict[str, np.ufunc] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def _as_numbers(column: Column) -> np.ndarray | None:
    """The column's values as float64; None where some are no numbers. 'true' and 'false' are 1 and 0."""
    if column.numeric:
        return column.values
    words = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
    try:
        return np.array([np.nan if v is None else float(words.get(v.lower(), v)) for v in column.values], np.float64)
    except ValueError:
        return None
