"""What a report is made of: sections of paragraphs, tables, figures and pictures, ready for a template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from zoo.evaluation.interval import Interval

_STEPS = tuple(factor * 10.0**power for power in range(-4, 4) for factor in (1, 2, 5))  # between the ticks of an axis


@dataclass(frozen=True)
class Text:
    """A paragraph; `tone` is "plain", "good", "bad" or "note"."""

    text: str
    tone: str = "plain"
    kind: str = "text"


@dataclass(frozen=True)
class Lead:
    """What stands on top in a box: the worst statement, and the next ones (tone, text) below it.

    Tones: "alarm", "bad", "caution", "good", "note".
    """

    tone: str
    text: str
    lines: tuple[tuple[str, str], ...]
    kind: str = "lead"


@dataclass(frozen=True)
class Points:
    """A list of sentences; with a `folded` summary it is hidden until that is opened."""

    lines: tuple[str, ...]
    folded: str = ""
    kind: str = "points"


@dataclass(frozen=True)
class Intervals:
    """Values with their intervals as a chart of one row each: (name, value, tone), tone "", "strong" or "small" (hollow).

    `line` is drawn dashed through all rows, none where it is NaN. `limits` are the ends of the axis; without them it holds
    all values and the line.
    """

    caption: str
    rows: tuple[tuple[str, Interval, str], ...]
    line: float
    limits: tuple[float, float] | None = None
    kind: str = "intervals"

    @property
    def axis(self) -> tuple[float, float]:
        """The ends of the axis."""
        if self.limits is not None:
            return self.limits
        known = [v for _, i, _ in self.rows for v in (i.value, i.low, i.high, self.line) if not math.isnan(v)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        margin = 0.05 * (high - low) or 0.5
        return low - margin, high + margin

    @property
    def ticks(self) -> tuple[float, ...]:
        """Two to seven round numbers on the axis."""
        low, high = self.axis
        step = next(s for s in _STEPS if high - low <= 6 * s)
        return tuple(step * n for n in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1))

    def place(self, value: float) -> str:
        """Where a value stands along the axis, in percent, its ends being the ends of the chart."""
        low, high = self.axis
        return f"{min(100.0, max(0.0, 100 * (value - low) / (high - low))):.2f}%"


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
    """Figures side by side under one caption; `large` for those with small letters in them, `narrow` for one that is not to
    be enlarged."""

    caption: str
    figures: tuple[Figure, ...]
    large: bool = False
    narrow: bool = False
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


@dataclass(frozen=True)
class Checklist:
    """The items of a reporting standard, folded: (number, name, value, key and heading of a section or "", open), `open`
    where the authors have to write it."""

    caption: str
    rows: tuple[tuple[str, str, str, str, str, bool], ...]
    kind: str = "checklist"


Block = Text | Lead | Points | Cards | Intervals | Table | Panels | Pictures | Code | Checklist


@dataclass(frozen=True)
class Section:
    """A part of the page with its heading; one without blocks is left out. `folded`: only its heading is seen at first."""

    key: str
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


def section(key: str, title: str, *blocks: Block | Sequence[Block] | None) -> Section | None:
    """A section of those blocks that hold something, None where nothing is left."""
    flat: list[Block] = []
    for each in blocks:
        if each is None:
            continue
        flat += [each] if not isinstance(each, Sequence) else list(each)
    return Section(key, title, tuple(flat)) if flat else None
