"""Ranked runs as a terminal table, as sentences, and as one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from zoo.core.text import RESEARCH_ONLY
from zoo.evaluation.comparison import ALPHA, AT_THRESHOLD, TITLES, Comparison, holm, p_text, verdict
from zoo.evaluation.evaluate import Interval, short
from zoo.evaluation.notes import FEW
from zoo.runs.leaderboard import Board

PLOT = (0.0, 1.0)  # what the page's plots span where there is no value
NAMED = 8  # runs named in a sentence


def leaderboard_table(board: Board) -> Table:
    """Rank, run, model, the metric with its interval, the difference to the best with its interval, and Holm's p.

    Model and seed have a column where runs differ in them; a shared model stands in `heading`.
    """
    models, seeds = (len({getattr(entry, name) for entry in board.entries}) > 1 for name in ("model", "seed"))
    gap = 0 if models else 1  # a second column of names leaves no room for more in 80 columns
    table = Table(box=box.SIMPLE_HEAD, padding=(0, gap, 0, 0), show_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("run", overflow="fold")
    if models:
        table.add_column("model", overflow="fold")
    if seeds:
        table.add_column("seed", justify="right", no_wrap=True)
    table.add_column(board_metric(board), justify="right", no_wrap=True)
    if board.comparisons:
        table.add_column("minus the best", justify="right", no_wrap=True)
        table.add_column("p", justify="right", no_wrap=True)
    for rank, entry in enumerate(board.entries):
        cells: list[RenderableType] = [str(rank + 1), Text(entry.name)]
        cells += [Text(entry.model)] if models else []
        cells += [str(entry.seed)] if seeds else []
        cells.append(str(entry.value))
        if board.comparisons:
            cells += _against_best(board.comparison(rank))
        table.add_row(*cells)
    return table


def _against_best(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return ["", ""]
    return [str(comparison.overall.difference), p_text(comparison.overall.p_holm)]


def labels_table(comparison: Comparison) -> Table:
    """Two runs label by label: the metric of each, the first minus the second, and Holm's p over the labels."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("label", overflow="fold")
    for name in (comparison.first, comparison.second):
        table.add_column(Text(name), justify="right", overflow="fold")
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    for label, row in comparison.per_label.items():
        values = (short(row.first), short(row.second), str(row.difference))
        table.add_row(Text(label), *values, p_text(row.p_holm))
    return table


def heading(board: Board) -> str:
    """The line above a ranking: what was predicted, on which images, and the model where all runs share it."""
    models = {entry.model for entry in board.entries}
    return f"{board.title}{f'; model {models.pop()}' if len(models) == 1 else ''}"


def board_metric(board: Board) -> str:
    """The heading of the metric: "AUROC", "macro AUROC"."""
    first = board.entries[0]
    title = TITLES.get(first.metric, first.metric)
    averaged = first.task.outputs > 1
    if first.task.exclusive and first.metric in ("accuracy", "balanced_accuracy"):
        averaged = False
    return f"macro {title}" if averaged else title


def sentences(board: Board) -> list[str]:
    """What the ranking means and rests on, in plain sentences."""
    if len(board.entries) == 1:
        return ["There is one run only: nothing to compare it with."]
    said = _verdicts(board)
    if board.comparisons:
        first = board.comparisons[0]
        how = f"Differences are paired over the same {first.patients:,} patients ({board.replicates:,} resamples)"
        several = len(board.comparisons)
        said.append(f"{how}{f'; p by the method of Holm for {several} comparisons' if several > 1 else ''}.")
        said += _resolution(board.replicates, several)
        said += _delong(board.comparisons)
        if first.patients < FEW:
            said.append(f"There are only {first.patients} patients, so intervals and p are not to be relied on.")
    if len(board.entries) > len(board.comparisons) + 1:
        said.append(
            f"Differences are given for the first {len(board.comparisons) + 1} of {len(board.entries):,} (--top)."
        )
    entry = board.entries[0]
    undefined = [label for label, found in entry.per_label.items() if math.isnan(found.value)]
    if undefined and not math.isnan(entry.value.value):
        said.append(f"Undefined on these images and left out of the mean: {', '.join(undefined)}.")
    if entry.metric in AT_THRESHOLD and not entry.task.exclusive:
        title = TITLES.get(entry.metric, entry.metric)
        said.append(f"{title[0].upper()}{title[1:]} is at each run's own thresholds, chosen on its validation images.")
    if entry.split == "test" and len(board.entries) > 2:
        said.append(
            "The best of several runs on the test images looks better than it is: choose with --split val, judge on test."
        )
    return said


def _verdicts(board: Board) -> list[str]:
    if len(board.comparisons) == 1:
        return [verdict(board.comparisons[0])]
    if not board.comparisons:
        return []
    best = board.entries[0].name
    if math.isnan(board.entries[0].value.value):
        return [f"{board_metric(board)} is undefined on these images: nothing can be ranked."]
    sayings = []
    known = [c for c in board.comparisons if not math.isnan(c.overall.p_holm)]
    same = [_with_difference(c) for c in known if not c.overall.told_apart]
    worse = [c.first for c in known if c.overall.told_apart]
    if same:
        sayings.append(f"The data cannot tell {best} apart from {_named(same)}.")
    if worse:
        sayings.append(f"{best} is better than {_named(worse)}.")
    if not same and not worse:
        sayings.append("Whether the runs differ cannot be said: the differences have no interval.")
    return sayings


def _with_difference(comparison: Comparison) -> str:
    return f"{comparison.first} (difference {comparison.overall.difference})"


def _resolution(replicates: int, comparisons: int) -> list[str]:
    """A sentence where Holm's p cannot get below .05: the bootstrap's smallest p, times the number of comparisons."""
    smallest = 2 * comparisons / (replicates + 1)
    if smallest < ALPHA:
        return []
    enough = math.ceil(2 * comparisons / ALPHA / 1000 + 1) * 1000
    return [f"No p of {comparisons} comparisons can be below {short(smallest)} so: give --replicates {enough}."]


def labels_sentence(board: Board) -> str:
    """For two runs: on which labels they can be told apart."""
    comparison = board.comparisons[0]
    apart = [row.label for row in comparison.per_label.values() if row.told_apart]
    found = (
        f"The runs can be told apart on {_named(apart)}" if apart else "On no single label can the runs be told apart"
    )
    number = len(comparison.per_label)
    said = [f"{found} (p by the method of Holm for {number} labels).", *_resolution(board.replicates, number)]
    return " ".join(said)


def _delong(comparisons: Sequence[Comparison]) -> list[str]:
    first = comparisons[0]
    if first.metric != "auroc":
        return []
    if first.no_delong:
        return [f"DeLong's test is not given: {first.no_delong}."]
    adjusted = holm([each.overall.p_delong for each in comparisons])
    if len(comparisons) == 1:
        return [f"DeLong's test as a second opinion: p {p_text(adjusted[0])}."]
    pairs = list(zip(comparisons, adjusted, strict=True))
    other = [f"{c.first} (p {p_text(p)})" for c, p in pairs if (p < ALPHA) != c.overall.told_apart]
    if not other:
        return ["DeLong's test as a second opinion says the same of every run."]
    return [f"DeLong's test as a second opinion decides otherwise on {_named(other)}."]


def _named(names: Sequence[str]) -> str:
    shown = list(names[:NAMED])
    if len(names) > NAMED:
        return f"{', '.join(shown)} and {len(names) - NAMED} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else shown[0]


def leaderboard_html(boards: Sequence[Board], remarks: Sequence[str] = ()) -> str:
    """The boards as one HTML page without any outside resource; `remarks` stand at its end.

    Names and labels are escaped: they come from files.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("zoo.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("leaderboard.html.j2")
    return page.render(boards=[_shown(board) for board in boards], remarks=list(remarks), research_only=RESEARCH_ONLY)


def _shown(board: Board) -> dict[str, Any]:
    """A board as the template needs it: texts, and positions in per cent of the plots' width."""
    span = _span([entry.value for entry in board.entries])
    apart = _span([c.overall.difference for c in board.comparisons] + [Interval(0.0, 0.0, 0.0)])
    runs = board.to_dict()["runs"]
    rows = []
    for rank, entry in enumerate(board.entries):
        compared = board.comparison(rank)
        rows.append(
            {
                "entry": entry,
                "about": _about(runs[rank]),
                "value": str(entry.value),
                "mark": _mark(entry.value, span),
                "difference": str(compared.overall.difference) if compared else "",
                "difference_mark": _mark(compared.overall.difference, apart) if compared else None,
                "p": p_text(compared.overall.p_holm) if compared else "",
                "told_apart": compared.overall.told_apart if compared else False,
            }
        )
    pair = board.comparisons[0] if len(board.entries) == 2 and board.comparisons else None
    return {
        "title": heading(board),
        "metric": board_metric(board),
        "rows": rows,
        "compared": bool(board.comparisons),
        "zero": _position(0.0, apart),
        "sentences": sentences(board),
        "pair": pair,
        "labels": [_label_row(row) for row in pair.per_label.values()] if pair else [],
        "labels_sentence": labels_sentence(board) if pair else "",
    }


def _about(run: dict[str, Any]) -> str:
    """What a run is made of, in a line: its model, recipe, loss and seed."""
    return " · ".join(str(part) for part in (run["model"], run["recipe"], run["loss"], f"seed {run['seed']}") if part)


def _label_row(row: Any) -> dict[str, str]:
    return {
        "label": row.label,
        "first": short(row.first),
        "second": short(row.second),
        "difference": str(row.difference),
        "p": p_text(row.p_holm),
    }


def _span(intervals: Sequence[Interval]) -> tuple[float, float]:
    bounds = [v for i in intervals for v in (i.value, i.low, i.high) if not math.isnan(v)]
    if not bounds or max(bounds) == min(bounds):
        return PLOT
    return min(bounds), max(bounds)


def _position(value: float, span: tuple[float, float]) -> float:
    return round(2 + 96 * (value - span[0]) / (span[1] - span[0]), 2)


def _mark(interval: Interval, span: tuple[float, float]) -> dict[str, float] | None:
    if math.isnan(interval.value):
        return None
    at = _position(interval.value, span)
    if math.isnan(interval.low):
        return {"at": at, "low": at, "width": 0.0}
    low, high = _position(interval.low, span), _position(interval.high, span)
    return {"at": at, "low": low, "width": round(high - low, 2)}
