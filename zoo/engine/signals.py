"""SIGINT and SIGTERM: a training finishes its step and saves a checkpoint before it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

CAUGHT = (signal.SIGINT, signal.SIGTERM)
NOTICE = b"\nStopping: the step is finished and saved first. Once more to end at once.\n"


class Interrupted(KeyboardInterrupt):
    """The user or the system asked to stop. `exit_code` is what shells report for the signal: 130, 143."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Caught(ABC):
    """Hands SIGINT and SIGTERM to `handle` while used as a context manager; `received` is the last one that was noted.

    Outside the main thread, where Python takes no handlers, nothing is changed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    @abstractmethod
    def handle(self, number: int, frame: FrameType | None) -> None:
        """What to do with a signal."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # what is ignored stays so: nohup and shells' background jobs mean it
            self._before = {n: signal.getsignal(n) for n in CAUGHT if signal.getsignal(n) is not signal.SIG_IGN}
            for number in self._before:
                signal.signal(number, self.handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Forwarding(Caught):
    """Passes SIGINT and SIGTERM on to a child, which saves itself; a second one makes it end at once."""

    def __init__(self) -> None:
        super().__init__()
        self._child: subprocess.Popen[bytes] | None = None

    @contextmanager
    def forwarding(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Pass signals on to this child, and the one that came before it was there."""
        self._child = child
        try:
            if self.received is not None:
                child.send_signal(self.received)
            yield
        finally:
            self._child = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self._child is not None:
            self._child.send_signal(number)


class Signals(Caught):
    """Turns SIGINT and SIGTERM into `Interrupted` while used as a context manager.

    Inside `deferred` the first one is only noted in `received`, for the loop to act on between two steps; a second one
    raises at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._deferring = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Note the first signal instead of raising."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def check(self) -> None:
        """Raise `Interrupted` where a signal was noted."""
        if self.received is not None:
            raise Interrupted(self.received)

    def handle(self, number: int, frame: FrameType | None) -> None:
        if not self._deferring or self.received is not None:
            raise Interrupted(number)
        self.received = number
        with suppress(OSError):  # not print(): the signal may have come amid one
            os.write(2, NOTICE)
