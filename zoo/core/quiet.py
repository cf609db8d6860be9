"""Loading libraries whatever the environment says, and without what native ones print."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def quiet_start() -> Iterator[None]:
    """Hold back what TensorFlow's C++ parts print while loading; it is shown after all if the start fails.

    They print before any log level counts, so only the file descriptor itself can be redirected.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(terminal, held.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


def import_matplotlib() -> Any:
    """Import matplotlib, also where MPLBACKEND names a backend that is not installed, as that of a notebook kernel elsewhere.

    zoo draws on canvases of its own (Agg), so another backend, which other code may want, is left alone.
    """
    before = "matplotlib" in sys.modules
    named = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if named is not None:
            os.environ["MPLBACKEND"] = named
    if named and not before:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = named  # as matplotlib does when it is imported
    return matplotlib
