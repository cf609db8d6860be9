"""Warnings off while images are decoded: libraries warn of large images and odd metadata, and quote what is in the file."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager


class Shared:
    """Something of the whole process that is switched by the first of all threads within, and back by the last one out."""

    def __init__(self, switch: Callable[[ExitStack], None]) -> None:
        self._switch, self._lock, self._restore, self._within = switch, threading.Lock(), ExitStack(), 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._within += 1
            if self._within == 1:
                self._switch(self._restore)
        try:
            yield
        finally:
            with self._lock:
                self._within -= 1
                if not self._within:
                    self._restore.close()


def _no_warnings(restore: ExitStack) -> None:
    restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


without_warnings = Shared(_no_warnings)
