"""Errors that a user can act on. The command line prints their message and sets the exit code; nothing else is shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """Something failed that is not a bug in zoo: a file, a network, a device. Exit code 1."""

    exit_code = 1


class UsageError(ZooError):
    """The user asked for something that does not exist or cannot be. Exit code 2."""

    exit_code = 2


class DataError(ZooError):
    """The data on disk are not what the chosen dataset or task needs. Exit code 1."""


class UnwritableRun(ZooError):
    """What a run has to save cannot be written: the disk is full, read-only or gone. Exit code 1."""

    exit_code = 1


def closest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name nearest to `name`, or None where nothing is near."""
    lowered = {v.lower(): v for v in valid}
    key = name.lower()
    prefixed = sorted((v for v in lowered if key and (v.startswith(key) or key.startswith(v))), key=len)
    matches = difflib.get_close_matches(key, lowered, n=1, cutoff=0.5) or prefixed[:1]
    return lowered[matches[0]] if matches else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """ " Did you mean 'X'?" with the nearest valid name, to go behind a sentence; "" where nothing is near."""
    near = closest(name, valid)
    return f" Did you mean '{near}'?" if near else ""


def unknown(what: str, name: str, valid: Iterable[str], then: str = "") -> UsageError:
    """Build the error for a name that is not in `valid`: what was received, the closest match, the list, the next command."""
    names = sorted(valid)
    message = f"unknown {what} '{name}'.{did_you_mean(name, names)}"
    message += f" Valid: {', '.join(names)}." if names else " There is none to choose from."
    return UsageError(f"{message} {then}".strip())
