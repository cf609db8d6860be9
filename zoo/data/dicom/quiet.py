"""Silence for the libraries that read DICOM: their warnings and log lines quote values of the file."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from zoo.data.silence import Shared, without_warnings

_FAMILIES = ("pydicom", "openjpeg", "gdcm")


@contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings, and what the DICOM libraries log; they are imported, so that their loggers are there."""
    import pydicom  # noqa: F401  # for its loggers

    with without_warnings(), _without_logs():
        yield


def _silence(restore: ExitStack) -> None:
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.split(".")[0] in _FAMILIES and isinstance(logger, logging.Logger) and not logger.disabled:
            logger.disabled = True
            restore.callback(setattr, logger, "disabled", False)


_without_logs = Shared(_silence)
