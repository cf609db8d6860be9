"""Locks between processes that fall with the process that holds them, however it ends."""

from __future__ import annotations


def flock(handle: int, *, wait: bool) -> bool:
    """Take the lock of an open file; False where another process has it and `wait` is false.

    True without a lock where the system or the file system knows none.
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
