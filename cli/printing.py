"""What every command prints with: JSON, a console that shows text as it is, and a table with little around it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.environment import is_unicode
from zoo.core.text import json_escaped, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    click.echo(json_text(value, indent=2))


def json_text(value: Any, indent: int | None = None) -> str:
    """A value as JSON for standard output: other letters as they are where its encoding has them all, else as \\uXXXX."""
    ascii_only = not is_unicode(getattr(sys.stdout, "encoding", None))
    return json_escaped(json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=ascii_only))


def print_line(text: str) -> None:
    """Print a line on standard output: names in it cannot end it, nor control the terminal."""
    click.echo(printable(text))


def plain_console(*, stderr: bool = False) -> Console:
    """A console that neither colours numbers nor reads markup, prints tables as lines where they do not fit, and shows escaped
    what would control the terminal."""
    from zoo.cli.terminal import TableConsole

    return TableConsole(highlight=False, markup=False, stderr=stderr)


def bare_table(*texts: str, numbers: Sequence[str] = ()) -> Table:
    """A table with a line below its header: columns of text, then right-aligned columns of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title_justify="left", padding=(0, 0, 0, 1), show_edge=False)
    for title in texts:
        table.add_column(title, overflow="fold")
    for title in numbers:
        table.add_column(title, justify="right", no_wrap=True)
    return table
