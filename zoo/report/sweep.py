"""The table at the end of a sweep, and the sentences below it."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from zoo.core.text import count_of, duration, listed
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
    """One row per trial: its values, best epoch, validation and test with 95% intervals, threshold, speed and time.

    The intervals stand below their values where the console is too narrow for one line; of several metrics it then shows those
    alone, if it must.
    """
    for stacked, brief in ((False, False), (True, False), (True, bool(results.also))):
        table = _table(results, stacked=stacked, brief=brief)
        if Measurement.get(console, console.options.update(width=1000), table).maximum <= console.width:
            break
    return table


def _table(results: Results, *, stacked: bool, brief: bool) -> Table:
    keys = [" ".join(results.keys)] if stacked else list(results.keys)
    also = [Lines(METRICS[name].replace(" ", "\n")) for name in results.also]
    rest = () if brief else ("at", "images/s", "time")
    heads = (*(() if brief else ("epoch",)), "validation", "test", *also, *rest)
    title = f"{METRICS[results.metric]} with 95% intervals"
    title += f", and of the test images {listed([METRICS[name] for name in results.also])}" if also else ""
    table = new_table(title, "", *keys, *heads, words=1 + len(keys), gap=0 if brief else 1)
    table.columns[0].justify = "right"
    best = results.best
    for trial in results.trials:
        values = [cell(shown(trial.values[key]) if key in trial.values else "") for key in results.keys]
        mark = "* " if trial is best else ""
        table.add_row(
            f"{mark}{trial.number}",
            *([Text(" ").join(values)] if stacked else values),
            *_numbers(trial, results, stacked, brief),
            style="bold" if trial is best else None,
        )
    return table


def _numbers(trial: Trial, results: Results, stacked: bool, brief: bool) -> list[str | Lines]:
    result, metric = trial.result, results.metric
    thresholds = list((result.get("thresholds") or {}).values())
    at = short(as_probability(thresholds[0])) if len(thresholds) == 1 else "–"
    speed, seconds = result.get("images_per_second"), result.get("seconds")
    done = trial.status == "complete"
    shown_metrics = [
        _interval(result, "val", metric, stacked),
        _interval(result, "test", metric, stacked) if done else trial.status,
        *(_interval(result, "test", name, stacked) if done else "" for name in results.also),
    ]
    if brief:
        return shown_metrics
    return [
        str(result.get("best_epoch") or "–"),
        *shown_metrics,
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
