"""Cells of tables on a terminal."""

from __future__ import annotations

from rich.text import Text

from zoo.core.text import printable


class Lines(Text):
    """Text whose line breaks are zoo's own: what stands in it was made printable."""


def cell(text: str) -> Text:
    """A name as a cell, whatever characters it has."""
    return Text(printable(text))
