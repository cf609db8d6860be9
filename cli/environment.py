"""What the command line sets for its own process, so that it works alike wherever it was started."""

from __future__ import annotations

import codecs
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

SPELLED = "zoo.spelled"  # the error handler of streams: what an encoding lacks is spelled out
SPELLINGS = {
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "×": "x",
    "±": "+-",
    "·": "-",
    "−": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "→": "->",
    "’": "'",
    "‘": "'",
    "“": '"',
    "”": '"',
    "…": "...",
    "²": "2",
    "σ": "sd",
    "\N{NO-BREAK SPACE}": " ",
}


def prepare() -> None:
    """Set up this process for the command line, and the processes that it starts."""
    os.environ["MPLBACKEND"] = (
        "agg"  # files alone are drawn; a notebook kernel passes its own on to the commands it starts
    )
    codecs.register_error(SPELLED, _spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=SPELLED)
    _show_warnings_instead_of_raising()


def is_unicode(encoding: str | None) -> bool:
    """Whether an encoding has every character."""
    return encoding is None or codecs.lookup(encoding).name.startswith("utf")


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLINGS.get(each, "?") for each in error.object[error.start : error.end]), error.end


def _show_warnings_instead_of_raising() -> None:
    """PYTHONWARNINGS=error makes errors of what libraries warn of, amid a training; the command line shows these warnings."""
    if not any(action == "error" for action, *_ in warnings.filters):
        return
    filters: Any = warnings.filters
    filters[:] = [("default", *rest) if action == "error" else (action, *rest) for action, *rest in warnings.filters]
    if given := os.environ.get("PYTHONWARNINGS"):
        os.environ["PYTHONWARNINGS"] = ",".join(_shown(each.split(":")) for each in given.split(","))


def _shown(parts: Sequence[str]) -> str:
    action, *rest = parts
    return ":".join(["default" if action and "error".startswith(action.strip()) else action, *rest])
