"""One process at a time in a folder that is being made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.locks import flock

LOCK = "lock"


@contextmanager
def locked(folder: Path, waiting: Callable[[], None], block: bool = True) -> Iterator[bool]:
    """Hold the lock of `folder`, which is made where it is missing; yields whether it is held.

    The lock is flock's on a file in the folder, so it falls with the process that holds it, however that ends. The folder may be
    renamed under the lock: whoever waited for it then gets that of a new, empty folder. Where the system has no flock
    nothing is locked.

    Args:
        folder: what is being made.
        waiting: called once if another process holds the lock.
        block: False gives up instead of waiting, and yields False.
    """
    told = False
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # renamed since
            continue
        try:
            free = flock(handle, wait=False)
            if not free and not block:
                yield False
                return
            if not free:
                if not told:
                    waiting()
                told = True
                flock(handle, wait=True)
            if not _is(folder / LOCK, handle):
                continue
            yield True
            return
        finally:
            os.close(handle)


def _is(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(handle))
    except FileNotFoundError:
        return False
