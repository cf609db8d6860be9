"""What zoo logs, kept for a test."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from zoo.core.logs import ROOT, Formatter


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.setFormatter(Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def log_lines() -> Iterator[list[str]]:
    """The messages of zoo from here on, as the lines a user would see; details (DEBUG) are left out."""
    handler, before = _Lines(), ROOT.level
    ROOT.addHandler(handler)
    ROOT.setLevel(logging.INFO)
    try:
        yield handler.lines
    finally:
        ROOT.removeHandler(handler)
        ROOT.setLevel(before)
