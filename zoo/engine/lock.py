"""One process per run: a lock that the system itself releases, however the process ends."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zoo.core.errors import ZooError
from zoo.core.locks import flock

NAME = ".lock"


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run directory. On systems or file systems that know no such locks nothing is held.

    Raises:
        ZooError: another process holds it, or the directory cannot be written.
    """
    try:
        descriptor = os.open(run / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ZooError(f"cannot write the run directory {run}: {error.strerror}.") from error
    try:
        if not flock(descriptor, wait=False):
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            raise ZooError(f"the run {run} is being trained by {holder}. Wait for it, or end it first.")
        with suppress(OSError):  # the name is for the message alone: a full disk must not keep a run from going on
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
        yield
    finally:
        os.close(descriptor)  # releases it
