"""Showing zoo's log messages on standard error, as the command line does.

A message is one line, whatever the names in it hold; lines of its own below it are its `extra={LINES: [...]}`.
As a library zoo configures nothing: its modules log to children of the logger "zoo", and the caller decides what is shown.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

ROOT = logging.getLogger("zoo")
LINES = "zoo_lines"
_STYLES = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class Formatter(logging.Formatter):
    """The message alone; behind `Warning: ` or `Error: ` where it is one, and behind the time where that is asked for."""

    def __init__(self, times: bool = False) -> None:
        super().__init__()
        self._times = times

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.capitalize()}: " if record.levelno >= logging.WARNING else ""
        time = f"{self.formatTime(record, '%H:%M:%S')} " if self._times else ""
        return f"{time}{level}{super().format(record)}"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        return printable(record.message) + "".join(f"\n{printable(line)}" for line in getattr(record, LINES, ()))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return printable(super().formatException(ei), keep="\n")


class TerminalHandler(logging.Handler):
    """Prints to a rich console, which progress bars share so that messages appear above them."""

    @cached_property
    def console(self) -> Console:
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.console.print(self.format(record), style=_STYLES.get(record.levelno), markup=False)
        except Exception:
            self.handleError(record)


@contextmanager
def shown(level: int = logging.INFO) -> Iterator[None]:
    """Show messages of at least `level` on standard error: plain lines, on a terminal coloured and with live progress bars."""
    handler = TerminalHandler() if sys.stderr.isatty() else logging.StreamHandler()
    handler.setFormatter(Formatter())
    before = ROOT.level, ROOT.propagate
    ROOT.addHandler(handler)
    ROOT.setLevel(level)
    ROOT.propagate = False  # libraries such as absl add handlers to the root logger
    try:
        yield
    finally:
        ROOT.removeHandler(handler)
        ROOT.setLevel(before[0])
        ROOT.propagate = before[1]


def show_times() -> None:
    """Put the time before each message, where messages are shown: for a server's log."""
    for handler in ROOT.handlers:
        handler.setFormatter(Formatter(times=True))


@contextmanager
def only_warnings() -> Iterator[None]:
    """Show nothing below a warning meanwhile."""
    before = ROOT.level
    ROOT.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        ROOT.setLevel(before)


def console() -> Console | None:
    """The terminal's console where messages are shown on one, for a live display."""
    return next((each.console for each in ROOT.handlers if isinstance(each, TerminalHandler)), None)
