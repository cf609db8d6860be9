"""Silence while images are decoded: libraries warn of large images and odd metadata, and quote what is in the file."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_DICOM_LOGGERS = ("pydicom", "openjpeg", "gdcm")


class _Shared:
    """A context of the whole process: the first of all threads to enter switches it on, the last to leave switches it off."""

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


def _ignore_warnings(restore: ExitStack) -> None:
    restore.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")


def _disable_dicom_loggers(restore: ExitStack) -> None:
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.split(".")[0] in _DICOM_LOGGERS and isinstance(logger, logging.Logger) and not logger.disabled:
            logger.disabled = True
            restore.callback(setattr, logger, "disabled", False)


without_warnings = _Shared(_ignore_warnings)
_without_dicom_logs = _Shared(_disable_dicom_loggers)


@contextmanager
def silent_dicom() -> Iterator[None]:
    """Drop warnings, and what the DICOM libraries log; both would quote values of the file."""
    import pydicom  # noqa: F401  # creates its loggers

    with without_warnings(), _without_dicom_logs():
        yield
