"""`zoo list`: what can be chosen, and which plugin it comes from."""

from __future__ import annotations

import fnmatch
import os
import shutil
import sys
from collections.abc import Sequence

import click

from zoo.cli import catalogue
from zoo.cli.entries import count_text, failure_record, origin_text, readable, tasks_text
from zoo.cli.printing import print_json
from zoo.core.errors import UsageError, closest
from zoo.core.registry import KINDS, PLURALS, Entry, kind_of, registry
from zoo.core.text import printable

UNLIMITED = 100_000  # the width where the output is a file or a pipe: one line per entry, for grep


@click.command("list")
@click.argument("kind", required=False)
@click.argument("pattern", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything, failures included, as one JSON object.")
def list_(kind: str | None, pattern: str | None, as_json: bool) -> None:
    """List what you can choose from, and the plugin each entry comes from.

    KIND is models, losses, augmenters, datasets, recipes or trackers; without it all are shown. PATTERN keeps the entries whose
    name or one-line description contains it; with *, ? or [ it is matched as a whole against the name.

    \b
    zoo list models
    zoo list 'dense*'
    zoo list losses focal
    """
    kind, pattern = _split(kind, pattern)
    entries = [e for e in registry().entries(kind) if pattern is None or _matches(e, pattern)]
    catalogue.warn()
    if pattern is not None and not entries:
        raise _no_match(kind, pattern)
    if as_json:
        records, unreadable = readable(entries)
        failures = [failure_record(f) for f in (*catalogue.failures(), *unreadable)]
        print_json({"entries": records, "failures": failures})
        return
    sections = [s for each in ([kind] if kind else KINDS) if (s := _section(each, entries, shown=kind is not None))]
    if catalogue.failures():
        broken = [
            f"{click.style(printable(str(f.origin)), bold=True)}: {printable(str(f.cause))}"
            for f in catalogue.failures()
        ]
        sections.append("\n".join([_heading("Could not be loaded"), *broken]))
    click.echo("\n\n".join(sections))


def _split(kind: str | None, pattern: str | None) -> tuple[str | None, str | None]:
    """Tell `zoo list models` from `zoo list PATTERN`: a first word that is no kind is the pattern."""
    if kind is None:
        return None, None
    try:
        return kind_of(kind), pattern
    except UsageError:
        if pattern is not None:
            raise
        return None, kind


def _matches(entry: Entry, pattern: str) -> bool:
    lowered, name = pattern.lower(), entry.name.lower()
    if any(sign in pattern for sign in "*?["):
        return fnmatch.fnmatchcase(name, lowered)
    return lowered in name or lowered in entry.strategy.info.summary.lower()


def _no_match(kind: str | None, pattern: str) -> UsageError:
    names = {e.name for e in registry().entries(kind)} | (set() if kind else set(PLURALS.values()))
    near = closest(pattern, names)
    message = f"no {PLURALS[kind] if kind else 'entries'} match '{pattern}'."
    if near:
        message += f" Did you mean '{near}'?"
    elif names:
        message += f" Valid: {', '.join(sorted(names))}."
    return UsageError(f"{message} See 'zoo list'.")


def _section(kind: str, entries: Sequence[Entry], shown: bool) -> str:
    """One kind as text: a heading and its table; empty where there is nothing and the kind was not asked for."""
    rows = [(_facts(e), printable(e.strategy.info.summary)) for e in entries if e.kind == kind]
    if not rows:
        return f"{_heading(PLURALS[kind].capitalize())}\nnone" if shown else ""
    title = ("name", "parameters", "input", "tasks", "from") if kind == "model" else ("name", "tasks", "from")
    widths = [max(len(cells[i]) for cells in (title, *(facts for facts, _ in rows))) for i in range(len(title))]
    width = sum(widths) + 2 * len(widths)
    beside = width + max(len(summary) for _, summary in rows) <= _terminal_width()
    lines = [_heading(PLURALS[kind].capitalize())]
    if width > _terminal_width():
        return "\n".join([*lines, *(_paragraph(facts, summary) for facts, summary in rows)])
    lines.append(click.style(_cells((*title, "what") if beside else title, widths), dim=True))
    for facts, summary in rows:
        line = _cells((*facts, summary) if beside else facts, widths)
        lines.append(click.style(line[: len(facts[0])], bold=True) + line[len(facts[0]) :])
        if not beside:
            lines.append(click.wrap_text(summary, _terminal_width(), "    ", "    "))
    return "\n".join(lines)


def _paragraph(facts: Sequence[str], summary: str) -> str:
    """An entry where the terminal has no room for the columns."""
    about = click.wrap_text(f"{summary} ({', '.join(facts[1:])})", _terminal_width(), "    ", "    ")
    return f"{click.style(facts[0], bold=True)}\n{about}"


def _facts(entry: Entry) -> tuple[str, ...]:
    info = entry.strategy.info
    name, *ends = map(printable, (entry.name, tasks_text(info.tasks), origin_text(entry)))
    if entry.kind != "model":
        return (name, *ends)
    return (name, count_text(info.parameters), f"{info.image_size} (≥{info.min_image_size})", *ends)


def _cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "  ".join([*padded, *cells[len(widths) :]]).rstrip()


def _heading(text: str) -> str:
    return click.style(text, bold=True, underline=True)


def _terminal_width() -> int:
    """Columns to write into: the terminal's, or COLUMNS where it is set; no limit in a pipe or a file."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return UNLIMITED
