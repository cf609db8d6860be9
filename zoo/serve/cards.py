"""Model cards as pages of the server."""

from __future__ import annotations

import threading
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.report.card import CARD

if TYPE_CHECKING:
    from zoo.runs.run import Run


class Cards:
    """The model cards of runs: those that lie in them, else made once from their predictions."""

    def __init__(self) -> None:
        self._made: dict[Path, str] = {}
        self._lock = threading.Lock()  # making one takes seconds: nobody does it twice at once

    def markdown(self, run: Run) -> str:
        """The card of a run.

        Raises:
            ZooError: it has none, and lacks what one is made from.
        """
        file = run.path / CARD
        if file.is_file():
            return file.read_text(encoding="utf-8")
        with self._lock:
            if run.path not in self._made:
                self._made[run.path] = _make(run)
            return self._made[run.path]


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
