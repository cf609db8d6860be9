"""Model cards as pages of the server."""

from __future__ import annotations

import os
import stat
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.core import limits
from zoo.report.card import CARD

if TYPE_CHECKING:
    from zoo.runs.run import Run


class Cards:
    """The model cards of runs: those that lie in them, else made once from their predictions. For one thread at a time."""

    def __init__(self) -> None:
        self._made: dict[Path, str] = {}

    def markdown(self, run: Run) -> str:
        """The card of a run.

        Raises:
            ZooError: it has none, and lacks what one is made from.
        """
        saved = _saved(run.path / CARD)
        if saved is not None:
            return saved
        if run.path not in self._made:
            self._made[run.path] = _make(run)
        return self._made[run.path]


def _saved(file: Path) -> str | None:
    """The card that lies in a run; None for a link, which would show another file, for what is no file, and for a huge one."""
    try:
        number = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return None
    try:
        largest = limits.value("card_bytes")
        if not stat.S_ISREG(os.fstat(number).st_mode) or os.fstat(number).st_size > largest:
            return None
        with open(number, "rb", closefd=False) as stream:
            return stream.read(largest).decode("utf-8", "replace")
    finally:
        os.close(number)


def _make(run: Run) -> str:
    from zoo.report.card import render
    from zoo.report.material import Material
    from zoo.runs.results import evaluate_run

    return render(Material.of(run, evaluate_run(run), pictures=False))


def page(name: str, markdown: str) -> str:
    """A card as an HTML page. HTML inside the card is shown as text, and no picture of it is loaded."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    body = parser.render(markdown)
    body = body.replace("<table>", '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>')
    body = body.replace("</table>", "</table></div>")
    frame = (resources.files("zoo.serve") / "page" / "card.html").read_text(encoding="utf-8")
    return frame.replace("{name}", escape(name)).replace("{card}", body)
