"""CSV files that zoo writes: exact for those it reads again, guarded for those that people open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# what spreadsheets take for the start of a formula; behind apostrophes too, so that a guarded cell has one original
_FORMULA = re.compile("'*[=+\\-@\\t\\r\\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?(inf|nan)", re.IGNORECASE)


def guarded(value: Any) -> Any:
    """A cell as a spreadsheet shows it: text that would be a formula has an apostrophe before it; numbers stay numbers.

    Spreadsheets evaluate cells that begin with `=`, `+`, `-`, `@`, a tab or a line break, and names can begin so (CWE-1236).
    Bytes of a file's name that are not Unicode are shown escaped.
    """
    if not isinstance(value, str):
        return value
    text = value.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """A table as CSV without its index, that any reader of CSV gives back as it was: carriage returns in cells are quoted too,
    which pandas and Python's csv leave out where lines end in a newline alone. `options` are of `DataFrame.to_csv`."""
    return _unix(str(table.to_csv(index=False, lineterminator="\r\n", **options)))


def guarded_text(table: pd.DataFrame) -> str:
    """A table as CSV for people: as `csv_text`, with guarded cells and column names."""
    cells = {str(name): cells.map(guarded) for name, cells in table.items() if cells.dtype.kind not in "biufc"}
    return csv_text(table.assign(**cells).rename(columns=guarded))


def rows_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, header: bool = True) -> str:
    """Rows as CSV with these columns, as `csv_text`; what a row lacks is an empty cell."""
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\r\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return _unix(file.getvalue())


def _unix(text: str) -> str:
    """CSV with lines that end in a newline: outside of quotes, which hold every other carriage return."""
    parts = text.split('"')
    parts[::2] = [part.replace("\r\n", "\n") for part in parts[::2]]
    return '"'.join(parts)
