"""The table at the end of a sweep, and the sentences below it."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from zoo.core.text import count_of, duration
from zoo.core.thresholds import as_probability
from zoo.evaluation.interval import Interval, short
from zoo.report.cells import Lines, cell
from zoo.report.sentences import METRICS
from zoo.report.sentences import shown as interval_text
from zoo.report.tables import new_table
from zoo.search.space import shown
from zoo.search.trials import Results, Trial

SHOWN_FAILURES = 10


def sweep_table(results: Results, console: Console) -> Table:
    """One row per trial: its values, best epoch, validation and test with 95% intervals, threshold, speed and time. The
    intervals stand below their values where the console is too narrow for one line.
    """
    wide = _table(results, stacked=False)
    needed = Measurement.get(console, console.options.update(width=1000), wide).maximum
    return wide if needed <= console.width else _table(results, stacked=True)


def _table(results: Results, *, stacked: bool) -> Table:
    keys = [" ".join(results.keys)] if stacked else list(results.keys)
    numbers = ("epoch", "validation", "test", "at", "images/s", "time")
    table = new_table(f"{METRICS[results.metric]} with 95% intervals", "", *keys, *numbers, words=1 + len(keys), gap=1)
    table.columns[0].justify = "right"
    best = results.best
    for trial in results.trials:
        values = [cell(shown(trial.values[key]) if key in trial.values else "") for key in results.keys]
        mark = "* " if trial is best else ""
        table.add_row(
            f"{mark}{trial.number}",
            *([Text(" ").join(values)] if stacked else values),
            *_numbers(trial, results.metric, stacked),
            style="bold" if trial is best else None,
        )
    return table


def _numbers(trial: Trial, metric: str, stacked: bool) -> list[str | Lines]:
    result = trial.result
    thresholds = list((result.get("thresholds") or {}).values())
    at = short(as_probability(thresholds[0])) if len(thresholds) == 1 else "–"
    speed, seconds = result.get("images_per_second"), result.get("seconds")
    return [
        str(result.get("best_epoch") or "–"),
        _interval(result, "val", metric, stacked),
        _interval(result, "test", metric, stacked) if trial.status == "complete" else trial.status,
        at,
        "–" if speed is None else f"{speed:,.0f}",
        "–" if seconds is None else duration(float(seconds)),
    ]


def _interval(result: dict[str, Any], split: str, metric: str, stacked: bool) -> str | Lines:
    found = (result.get(split) or {}).get(metric)
    text = interval_text(Interval.from_dict(found) if found else None)
    return Lines(text.replace(" [", "\n[")) if stacked else text


def sentences(results: Results) -> list[str]:
    """Which trial is the best and how far its numbers can be trusted; what failed or was pruned, and why."""
    lines: list[str] = []
    best, complete = results.best, results.complete
    if best is not None:
        value, test = (best.value(split, results.metric) for split in ("val", "test"))
        among = f"the highest of {len(complete)}" if len(complete) > 1 else "the only one"
        if results.equals:
            among += f" (the first of {len(results.equals) + 1} that are equal)"
        lines.append(
            f"* best on validation: {best.run}, {METRICS[results.metric]} {short(value)}, {among}."
            + (
                f" The highest of several is biased upwards by selection; its test value {short(test)} is not, since no trial was "
                "chosen by test images."
                if len(complete) > 1 and not math.isnan(test)
                else ""
            )
        )
        if means := (best.result.get("common_means") or {}).get(results.metric):
            before, after = (short(math.nan if mean is None else mean) for mean in means)
            lines.append(
                "Validation and test are means over different labels: over those defined on both, the best trial has "
                f"{before} and {after}."
            )
    elif complete and not results.comparable:
        lines.append(
            "No best trial: they were not validated on the same images with the same labels (the seed, the data or the task "
            "varies)."
        )
    pruned = [trial for trial in results.trials if trial.status == "pruned"]
    if pruned:
        lines.append(
            f"{count_of(len(pruned), 'trial was', 'trials were')} pruned: behind the others on validation, so stopped early. "
            f"To finish one: zoo train --resume {pruned[0].run}"
        )
    failed = [trial for trial in results.trials if trial.status == "failed"]
    lines += [f"Trial {trial.number} failed: {trial.reason}" for trial in failed[:SHOWN_FAILURES]]
    if len(failed) > SHOWN_FAILURES:
        lines.append(f"{len(failed) - SHOWN_FAILURES} more trials failed; results.csv has the reasons.")
    return lines
