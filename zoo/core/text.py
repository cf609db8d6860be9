"""Wording that every layer shares: the notice on each output, counts, lists of names and durations; names made printable."""

from __future__ import annotations

import re
from collections.abc import Sequence

RESEARCH_ONLY = "For research and teaching only: not a medical device, not for clinical use."

# C0, DEL, C1, line separators, what turns the direction of text, and the halves of letters that undecodable bytes become
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str, keep: str = "") -> str:
    """Text from outside as a terminal, a log or a page can take it: characters that control one are shown escaped.

    A file's, column's or plugin's name may hold escape sequences, line breaks that would forge a message, and overrides of the
    direction of text: they become `\\x1b`, `\\n` and `\\u202e`. Bytes that are not Unicode become `\\udcff` and the like.

    Args:
        text: anything.
        keep: characters that stay, such as the line breaks of a text whose lines were made printable one by one.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def is_unicode(text: str) -> bool:
    """Whether text can be written as UTF-8; names of files that are other bytes cannot."""
    return not _SURROGATE.search(text)


def json_escaped(text: str) -> str:
    """JSON with the same characters in its strings escaped: what is read from it stays exactly the same.

    The line breaks between its values stay; within a string JSON itself escapes them.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text)


def _escape(character: str) -> str:
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")


def count_of(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 image", "2,048 images"; `plural` where an "s" does not make it."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names as a sentence lists them: "a, b and c"; beyond `most` the rest is counted."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def duration(seconds: float) -> str:
    """A time as people say it: 4.2 s, 42 s, 3 min 45 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
