"""Columns of class numbers: which they are, and the names of the classes."""

from __future__ import annotations

import re

import pandas as pd

from zoo import DataError, UsageError
from zoo.core.text import listed
from zoo.datasets._builder import RecordBuilder
from zoo.datasets._tables import names_in, parts_of

_NUMBER = re.compile(r"(-?\d+)(?:\.0*)?")
_UNKNOWN = -1


def is_numbered(cells: pd.Series, separator: str, names: str) -> bool:
    """Whether a column holds class numbers: whole numbers alone and not only 0, 1 and -1, unless the classes have `names`."""
    numbers = [_number(part) for cell in cells.unique() for part in parts_of(cell, separator)]
    listed_cells = cells.str.startswith("[").any()
    return None not in numbers and bool(numbers) and (bool(names or listed_cells) or not {*numbers} <= {0, 1, _UNKNOWN})


def class_names(builder: RecordBuilder, cells: pd.Series, separator: str, names: str) -> dict[str, str]:
    """The name of each class as the cells write it, in the order of the numbers; "" for -1, which is unknown.

    Args:
        builder: of the records; gets a note where the classes are called by their numbers.
        cells: class numbers, several in a cell with the separator between them or as a list.
        separator: between several.
        names: NAME,NAME for every number there is, in their order, or NUMBER=NAME,NUMBER=NAME; "" for none.

    Raises:
        UsageError: the names do not fit the numbers; lists these.
        DataError: the cells are vectors of 0 and 1.
    """
    parts = {cell: parts_of(cell, separator) for cell in cells.unique()}
    written = {part: int(_number(part) or 0) for each in parts.values() for part in each}
    numbers = sorted({*written.values()} - {_UNKNOWN})
    if any(len(each) != len({*each}) for each in parts.values()) and {*numbers} <= {0, 1}:
        where = f"{builder.file}: the {builder.term} '{cells.name}'"
        raise DataError(f"{where} holds vectors of 0 and 1; write one {builder.term} of 0 and 1 per label instead")
    named = _names(numbers, names, str(cells.name))
    if not names:
        builder.notes.append(
            f"the {builder.term} '{cells.name}' holds class numbers, {listed([str(n) for n in numbers])}: the classes are called "
            f"by them; option names (NAME,NAME or {numbers[0]}=NAME) names them, option normal says which is normal"
        )
    return {part: named.get(number, "") for part, number in sorted(written.items(), key=lambda item: item[1])}


def _names(numbers: list[int], names: str, column: str) -> dict[int, str]:
    given = names_in(names)
    if not given:
        return {number: str(number) for number in numbers}
    there = f"the column '{column}' has the class numbers {', '.join(map(str, numbers))}"
    pairs = [name.partition("=") for name in given]
    if all(sign and _number(number.strip()) is not None for number, sign, _ in pairs):
        found = {int(number): name.strip() for number, _, name in pairs}
        missing = [str(number) for number in numbers if not found.get(number)]
        if missing:
            raise UsageError(f"the option names has no name for {listed(missing)}; {there}")
        return {number: found[number] for number in numbers}
    if len(given) != len(numbers):
        example = ",".join(f"{number}=NAME" for number in numbers[:3])
        raise UsageError(f"the option names has {len(given)} names, and {there}: give each its name, such as {example}")
    return dict(zip(numbers, given, strict=True))


def _number(text: str) -> int | None:
    """A whole number as tables write it, 2 or 2.0; None for anything else."""
    match = _NUMBER.fullmatch(text)
    return int(match[1]) if match else None
