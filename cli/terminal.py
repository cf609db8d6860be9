"""A console that prints a table as lines where the terminal is too narrow for its columns, and no control characters."""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from zoo.core.text import printable

LEAST = 16  # columns of the terminal that a text keeps, which may be folded
UNLIMITED = 10_000


class TableConsole(Console):
    """Prints tables as they are where they fit; elsewhere each row is a heading with a line for every other cell."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(self._fitting(_printable(each)) for each in objects), **options)

    def _fitting(self, each: Any) -> Any:
        if not isinstance(each, Table) or len(each.columns) < 2 or _least_width(self, each) <= self.width:
            return each
        return _as_lines(self, each)


def _printable(each: Any) -> Any:
    """The same, with what would control the terminal escaped; line breaks too, save those that zoo makes (`Lines`)."""
    if isinstance(each, str):
        return printable(each)
    if isinstance(each, Text):
        each.plain = printable(each.plain, keep="\n" if "\n" in each.plain and _has_lines(each) else "")
    elif isinstance(each, Table):
        each.title, each.caption = _printable(each.title), _printable(each.caption)
        for column in each.columns:
            column.header = _printable(column.header)
            column._cells[:] = [_printable(cell) for cell in column._cells]
    return each


def _has_lines(text: Text) -> bool:
    from zoo.report.cells import Lines

    return isinstance(text, Lines)


def _least_width(console: Console, table: Table) -> int:
    """The width in which nothing that must stay whole is cut and no text is folded below `LEAST` columns."""
    widths = [max((cell_len(line) for line in _lines(console, column)), default=0) for column in table.columns]
    around = console.measure(table, options=console.options.update(width=UNLIMITED)).maximum - sum(widths)
    return around + sum(
        width if column.no_wrap else min(width, LEAST) for width, column in zip(widths, table.columns, strict=True)
    )


def _lines(console: Console, column: Column) -> list[str]:
    """The lines of all cells of a column, those of its head included."""
    return [line for cell in (column.header, *column.cells) for line in _text(console, cell).plain.split("\n")]


def _as_lines(console: Console, table: Table) -> RenderableType:
    heads = [_text(console, column.header).plain.strip() for column in table.columns]
    names = [head.split("\n")[0].strip() for head in heads]
    parts: list[RenderableType] = [] if table.title is None else [table.title]
    for head in heads[1:]:
        name, *more = (line.strip() for line in head.split("\n"))
        if more:  # such as the numbers of images below the name of a split
            parts.append(f"{name}: {', '.join(more)}")
    for first, *rest in zip(*(list(column.cells) for column in table.columns), strict=True):
        if (heading := _text(console, first)).plain.strip():
            parts.append(heading)
        for name, cell in zip(names[1:], rest, strict=True):
            text = _text(console, cell)
            if text.plain.strip():
                text.rstrip()
                parts.append(Padding(Text.assemble(f"{name} " if name else "", text), (0, 0, 0, 2), expand=False))
    return Group(*parts)


def _text(console: Console, cell: RenderableType) -> Text:
    return (
        console.render_str(cell)
        if isinstance(cell, str)
        else cell.copy()
        if isinstance(cell, Text)
        else Text(str(cell))
    )
