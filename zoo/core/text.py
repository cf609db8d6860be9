"""Wording that every layer shares: the notice on each output, counts, lists of names and durations."""

from __future__ import annotations

from collections.abc import Sequence

RESEARCH_ONLY = "For research and teaching only: not a medical device, not for clinical use."


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
