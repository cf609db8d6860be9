"""What a report is made of: sections of paragraphs, tables, figures and pictures, ready for a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` is "plain", "good", "bad" or "note"."""

    text: str
    tone: str = "plain"
    kind: str = "text"


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    lines: tuple[str, ...]
    kind: str = "points"


@dataclass(frozen=True)
class Cards:
    """The few numbers that stand on top: (name, value, remark)."""

    cards: tuple[tuple[str, str, str], ...]
    kind: str = "cards"


@dataclass(frozen=True)
class Table:
    """A table of text cells, the first column naming the row; `folded` hides it until it is opened."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    marked: frozenset[int] = frozenset()  # rows to be read with care
    kind: str = "table"


@dataclass(frozen=True)
class Figure:
    """An SVG drawing: `label` describes it for readers who cannot see it."""

    svg: str
    label: str
    caption: str = ""


@dataclass(frozen=True)
class Panels:
    """Figures side by side under one caption; `large` for those with small letters in them."""

    caption: str
    figures: tuple[Figure, ...]
    large: bool = False
    kind: str = "panels"


@dataclass(frozen=True)
class Picture:
    """An image or an overlay: a data URI, or None where there are no pixels, and lines of text below it."""

    source: str | None
    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side under one caption; `large` for those with small letters in them."""

    caption: str
    pictures: tuple[Picture, ...]
    large: bool = False
    kind: str = "pictures"


@dataclass(frozen=True)
class Code:
    """Text shown as it is: a command or a configuration."""

    caption: str
    text: str
    kind: str = "code"


Block = Text | Points | Cards | Table | Panels | Pictures | Code


@dataclass(frozen=True)
class Section:
    """A part of the page with its heading; one without blocks is left out."""

    key: str
    title: str
    blocks: tuple[Block, ...]


def section(key: str, title: str, *blocks: Block | Sequence[Block] | None) -> Section | None:
    """A section of those blocks that hold something, None where nothing is left."""
    flat: list[Block] = []
    for each in blocks:
        if each is None:
            continue
        flat += [each] if not isinstance(each, Sequence) else list(each)
    return Section(key, title, tuple(flat)) if flat else None
