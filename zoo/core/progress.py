"""Progress of long work: a live bar with rate and time left on a terminal, otherwise a log message now and then."""

from __future__ import annotations

import logging
import time
from types import TracebackType
from typing import TYPE_CHECKING

from zoo.core import logs
from zoo.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

logger = logging.getLogger(__name__)

LINE_EVERY_S = 20.0
ROOM_FOR_BAR = 70  # columns of the terminal; a narrower one shows the numbers alone


class Progress:
    """Counts `total` items of one piece of work, None where it is not known. Use as a context manager.

    The bar stands where `zoo.core.logs.shown` shows messages of the level INFO on a terminal. `bar=False` leaves it out, and
    the messages with it.
    """

    _live = False  # whether a bar stands on the terminal: there is room for one

    def __init__(self, what: str, total: int | None, unit: str = "images", *, bar: bool = True) -> None:
        self.what, self.total, self.unit = printable(what), total, unit
        self.done = 0
        self._quiet = not bar
        self._start = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Progress:
        self._start = self._last_line = time.monotonic()
        console = None if self._quiet or not logger.isEnabledFor(logging.INFO) else logs.console()
        if console is not None and not Progress._live:
            Progress._live = True
            self._bar = self._make_bar(console, self.total is not None)
            self._task = self._bar.add_task(self.what, total=self.total, rate="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            Progress._live = False

    @property
    def seconds(self) -> float:
        """Seconds since the work began."""
        return time.monotonic() - self._start

    @property
    def rate(self) -> float:
        """Items per second so far."""
        return self.done / max(self.seconds, 1e-9)

    def advance(self, count: int) -> None:
        """Count items as done."""
        self.done += count
        if self._bar is not None and self._task is not None:
            rate = f"{self.rate:,.0f} {self.unit}/s"
            self._bar.update(self._task, completed=self.done, rate=rate)
        elif not self._quiet and time.monotonic() - self._last_line >= LINE_EVERY_S and self.done != self.total:
            self._last_line = time.monotonic()
            of, left = "", ""
            if self.total is not None:
                of, left = f"/{self.total:,}", f", {(self.total - self.done) / max(self.rate, 1e-9):.0f} s left"
            logger.info(f"{self.what}: {self.done:,}{of} {self.unit}, {self.rate:,.0f}/s{left}")

    @staticmethod
    def _make_bar(console: Console, total_known: bool) -> RichProgress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("{task.description}", markup=False),
            *([BarColumn(bar_width=20)] if console.width >= ROOM_FOR_BAR else []),
            TextColumn("{task.completed:,}/{task.total:,}" if total_known else "{task.completed:,}"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            redirect_stdout=False,  # results, which may go into a pipe
        )
