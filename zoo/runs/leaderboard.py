"""Many runs side by side: kept apart where they cannot be compared, ranked.

A ranking shows the values and intervals that the runs stored, so thousands of runs take seconds; the paired differences
to the best one need the predictions and are made for the first few only.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.text import listed
from zoo.evaluation.comparison import Comparison, Measured, compare, differences, measure, p_of_the_best
from zoo.evaluation.interval import UNDEFINED
from zoo.evaluation.serialise import to_csv, to_plain
from zoo.runs.entries import Entry
from zoo.runs.run import Run

CHOSEN = ("recipe", "loss", "augment", "optimizer", "schedule", "epochs", "batch_size")  # of a run's configuration


@dataclass(frozen=True)
class Board:
    """Comparable runs, best first and those that leak last, out of the ranking; `comparisons` are each of the next runs minus the
    best one, as far as was asked."""

    entries: tuple[Entry, ...]
    comparisons: tuple[Comparison, ...]
    level: float

    @property
    def ranked(self) -> tuple[Entry, ...]:
        """The runs without a leak."""
        return tuple(entry for entry in self.entries if not entry.leaks)

    def place(self, rank: int) -> int | None:
        """The place of the run at a rank, counted from 0, in the ranking; None if it leaks."""
        return None if self.entries[rank].leaks else rank + 1

    def comparison(self, rank: int) -> Comparison | None:
        """Of the run at a rank, counted from 0, with the best; None for the best itself and where none was made."""
        return self.comparisons[rank - 1] if 0 < rank <= len(self.comparisons) else None

    @property
    def p_best(self) -> float:
        """The p of the best run not being better than all others, see `p_of_the_best`; NaN unless all were compared."""
        return p_of_the_best(self.comparisons) if len(self.comparisons) == len(self.ranked) - 1 else math.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None: `p_best`; `runs`, each with what it chose and its comparison."""
        runs = [
            {
                "rank": self.place(rank),
                **to_plain(entry),
                **_chosen(entry.path),
                "comparison": to_plain(self.comparison(rank)),
            }
            for rank, entry in enumerate(self.entries)
        ]
        return {"level": self.level, "p_best": to_plain(self.p_best), "runs": runs}


def boards_csv(boards: Sequence[Board]) -> str:
    """One row per run with everything: rank within its group, what the run is, its metric, and the difference to the best;
    then the metric and its interval for each label. Undefined and not computed are empty cells.
    """
    return to_csv(
        _cells(number, board, rank) for number, board in enumerate(boards, 1) for rank in range(len(board.entries))
    )


def _cells(group: int, board: Board, rank: int) -> dict[str, Any]:
    entry, compared = board.entries[rank], board.comparison(rank)
    cells: dict[str, Any] = {"group": group, "rank": board.place(rank), **vars(entry), **_chosen(entry.path)}
    labels = cells.pop("per_label")
    cells |= {f"also:{name}": found for name, found in cells.pop("also").items()}
    cells |= {"task": entry.task.kind, "labels": "|".join(entry.task.labels), "rule": str(entry.rule)}
    cells["leaks"] = "|".join(f"{leak.shared} {leak.images}" for leak in entry.leaks)
    cells["doubts"] = "|".join(f"{note.kind} {note.labels[0]}" for note in entry.doubts)
    cells["compared_with"] = compared.second if compared else None
    cells["difference"] = compared.overall.difference if compared else UNDEFINED
    cells |= {name: getattr(compared.overall, name) if compared else None for name in ("p", "p_adjusted", "p_delong")}
    return cells | ({f"label:{label}": found for label, found in labels.items()} if len(labels) > 1 else {})


def _chosen(path: Path) -> dict[str, Any]:
    """What a run's configuration chose; empty values where it cannot be read."""
    try:
        config = Run(path).config()
    except ZooError:
        config = {}
    values = {name: config.get(name) for name in CHOSEN}
    return {name: value.get("name") if isinstance(value, dict) else value for name, value in values.items()}


def comparable(entries: Iterable[Entry]) -> list[list[Entry]]:
    """The runs in groups that may be ranked in one table, the largest group first."""
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.key, []).append(entry)
    return sorted(groups.values(), key=len, reverse=True)


def incomparable(groups: Sequence[Sequence[Entry]]) -> UsageError:
    """The error that runs of several groups are not ranked in one table: which runs differ from most in what, what to do."""
    reference = groups[0][0]
    parts = [_against(group, reference) for group in groups[1:4]]
    if len(groups) > 4:
        parts.append(f"and {len(groups) - 4} more groups that differ")
    total = sum(len(group) for group in groups)
    together = f"{listed([e.name for e in groups[0]], 3)} belong together, but " if len(groups[0]) > 1 else ""
    rules = ""
    if reference.at_thresholds and len({str(group[0].rule) for group in groups}) > 1:
        options = "--youden, --f1, --sensitivity T, --specificity T or --threshold P"
        rules = f" To choose all thresholds by one rule, on each run's validation images, give {options}."
    return UsageError(
        f"these {total:,} runs cannot be ranked in one table: {together}{'; '.join(parts)}. "
        f"Rank each group on its own with --group, or name only runs that belong together.{rules}"
    )


def _against(group: Sequence[Entry], reference: Entry) -> str:
    first = group[0]
    found = []
    if first.protocol != reference.protocol:
        found.append(f"{first.name} has a {first.protocol} split, {reference.name} a {reference.protocol} one")
    try:
        a, b = (Run(each.path).predictions(each.split) for each in (first, reference))
        found = differences(first.name, a, reference.name, b) + found
    except ZooError:  # the predictions are gone: the digests still show what differs
        if first.task != reference.task:
            found.append(f"{first.name} predicts {first.task}, {reference.name} {reference.task}")
        if first.images_digest != reference.images_digest:
            found.append(f"{first.name} was measured on other images ({first.images:,}, not {reference.images:,})")
        elif first.labels_digest != reference.labels_digest:
            found.append(f"{first.name} has other labels of the same images")
    if first.at_thresholds and str(first.rule) != str(reference.rule):
        found.append(f"{first.name} has thresholds by the rule {first.rule}, {reference.name} by {reference.rule}")
    alike = f" (likewise {listed([e.name for e in group[1:]], 3)})" if len(group) > 1 else ""
    return f"{', and '.join(found)}{alike}"


class BrokenRun(DataError):
    """One of the runs that are ranked cannot be read, or its saved results are not what its predictions give."""

    def __init__(self, message: str, entry: Entry) -> None:
        super().__init__(message)
        self.entry = entry


def rank_readable(
    entries: Sequence[Entry],
    damaged: dict[str, str],
    required: Container[str],
    *,
    top: int = 10,
    accept_changed: bool = False,
) -> Board | None:
    """As `rank`, of the runs that can be read; None if there are none.

    Args:
        entries: comparable runs.
        damaged: gets the name of each other run, with the reason.
        required: the real paths of runs that must be readable.
        top: as for `rank`, as is `accept_changed`.

    Raises:
        BrokenRun: one of the required runs cannot be read.
    """
    left = list(entries)
    while left:
        try:
            return rank(left, top=top, accept_changed=accept_changed)
        except BrokenRun as error:
            if os.path.realpath(error.entry.path) in required:
                raise
            damaged[error.entry.path.name] = str(error)
            left = [entry for entry in left if entry.path != error.entry.path]
    return None


def rank(
    entries: Sequence[Entry],
    *,
    top: int = 10,
    level: float = 0.95,
    accept_changed: bool = False,
) -> Board:
    """Sort comparable runs by their metric, higher first and undefined last, and compare the first `top` with the best. Runs that
    leak are out of the ranking. The values of the runs that are compared are those that their differences are made of.

    Raises:
        ZooError: the predictions of one of the first runs cannot be read, or its saved results are not what they give.
    """
    if len({entry.key for entry in entries}) != 1:
        raise ValueError("these runs do not belong into one table: see `comparable`")
    ranked = sorted(entries, key=_order)

    def measured(entry: Entry) -> Measured:
        try:
            images = Run(entry.path).predictions(entry.split, accept_changed=accept_changed)
        except DataError as error:
            raise BrokenRun(str(error), entry) from error
        return measure(entry.name, images, entry.metric, entry.thresholds)

    comparisons: list[Comparison] = []
    front = [entry for entry in ranked[:top] if not entry.leaks]
    if front:
        found = [measured(entry) for entry in front]
        pairs = [(_with_values(entry, each), each) for entry, each in zip(front, found, strict=True)]
        pairs.sort(key=lambda pair: _order(pair[0]))
        ranked[: len(front)] = [entry for entry, _ in pairs]
        best, *others = [each for _, each in pairs]
        # the best was picked from all of them, compared or not
        number = sum(not entry.leaks for entry in ranked)
        comparisons = [compare(other, best, runs=number, level=level) for other in others]
    return Board(tuple(ranked), tuple(comparisons), level)


def _order(entry: Entry) -> tuple[Any, ...]:
    return bool(entry.leaks), math.isnan(entry.value.value), -entry.value.value, entry.name


def _with_values(entry: Entry, found: Measured) -> Entry:
    """The entry with the values that its differences are made of, which are the saved ones to the last digits."""
    values = {"": found.overall, **dict(zip(entry.task.labels, found.values.tolist(), strict=True))}
    saved = {"": entry.value, **entry.per_label}
    for label, interval in saved.items():
        if not math.isclose(interval.value, values[label], rel_tol=0, abs_tol=1e-9) and not (
            math.isnan(interval.value) and math.isnan(values[label])
        ):
            raise BrokenRun(
                f"the saved {entry.metric} of {entry.name}{f' for {label}' if label else ''}, {interval.value:.4f}, is not what "
                f"its predictions give ({values[label]:.4f}): measure it again with zoo evaluate {Run(entry.path).reference}",
                entry,
            )
    same = {label: dataclasses.replace(interval, value=values[label]) for label, interval in saved.items()}
    return dataclasses.replace(entry, value=same.pop(""), per_label=same)
