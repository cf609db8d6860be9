"""Errors that users can act on. The command line prints the message alone and sets the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """An error that users can act on: a file, a network connection, a device. Exit code 1.

    The message is one line: line breaks in it, as names may hold them, are shown escaped. Further lines, such as the layout that
    a dataset expects, are further arguments.
    """

    exit_code = 1

    def __str__(self) -> str:
        return "\n".join(str(each) for each in self.args if each != "")


class UsageError(ZooError):
    """A name, option or combination is not valid. Exit code 2."""

    exit_code = 2


class DataError(ZooError):
    """The files are not what the chosen dataset or task needs. Exit code 1."""


class UnwritableRun(ZooError):
    """The run folder cannot be written: the disk is full, read-only or gone. Exit code 1."""


def closest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name closest to `name`, or None."""
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
    """The error for a name that is not in `valid`: the name, the closest match, the valid ones, the next command."""
    names = sorted(valid)
    message = f"unknown {what} '{name}'.{did_you_mean(name, names)}"
    message += f" Valid: {', '.join(names)}." if names else " There is none to choose from."
    return UsageError(f"{message} {then}".strip())
