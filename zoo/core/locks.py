"""Locks between processes. The system releases them when the process that holds them ends, however it ends."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.core.errors import ZooError

LOCK = "lock"  # the lock file of a folder that is being made
ATTEMPTS = 1000  # to lock a file that others rename or remove meanwhile


@contextmanager
def locked(file: Path, *, waiting: Callable[[], None] | None = None, busy: str = "") -> Iterator[None]:
    """Hold an exclusive lock on `file`, which is created, with its folder, where it is missing.

    The folder may be renamed while the lock is held: a process that waits then gets the lock of a new, empty folder. On systems and
    file systems without flock nothing is locked.

    Args:
        file: the lock file; it holds the name of the process for the error message.
        waiting: called once before waiting for another process.
        busy: raise instead of waiting; the start of the message, such as "the run runs/a is being trained".

    Raises:
        ZooError: `busy` was given, and another process holds the lock or the file cannot be written; or the file was never the
            same one after it was locked.
        OSError: the file cannot be written.
    """
    for _ in range(ATTEMPTS):
        try:
            handle = _open(file)
        except OSError as error:
            if busy:
                raise ZooError(f"cannot write the folder {file.parent}: {error.strerror}.") from error
            raise
        try:
            if not flock(handle, wait=False):
                if busy:
                    holder = os.read(handle, 200).decode(errors="replace").strip() or "another process"
                    raise ZooError(f"{busy} by {holder}. Wait for it, or end it first.")
                if waiting is not None:
                    waiting()
                    waiting = None
                flock(handle, wait=True)
            if not _is(file, handle):
                continue
            with suppress(OSError):  # the name is for the message alone: a full disk must not stop the work
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
            yield
            return
        finally:
            os.close(handle)  # releases the lock
    raise ZooError(
        f"{file} cannot be locked: it was another file after each of {ATTEMPTS} attempts. Use a folder on a local disk."
    )


def flock(handle: int, *, wait: bool) -> bool:
    """Lock an open file; False where another process has the lock and `wait` is false.

    True without a lock where the system or the file system has none.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _open(file: Path) -> int:
    for _ in range(ATTEMPTS):
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the folder was renamed since
            return os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))  # such as a link that leads nowhere


def _is(file: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(file), os.fstat(handle))
    except FileNotFoundError:
        return False
