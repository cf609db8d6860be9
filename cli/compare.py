"""`zoo compare`: runs ranked on the same images, with the significance of their differences."""

from __future__ import annotations

import logging
import shlex
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import (
    ACCEPT_CHANGED,
    RUNS_DIR,
    chosen_metrics,
    chosen_rule,
    command,
    metrics_option,
    threshold_options,
)
from zoo.cli.printing import plain_console, print_json

if TYPE_CHECKING:
    from zoo.core.thresholds import ThresholdRule
    from zoo.evaluation.margins import MarginTest
    from zoo.runs.entries import Found
    from zoo.runs.leaderboard import Board

logger = logging.getLogger(__name__)

FILE = click.Path(path_type=Path, dir_okay=False)


@command()
@click.argument("references", metavar="[RUN]...", nargs=-1)
@click.option("--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="Which images.")
@metrics_option("Metric to rank by; given again, metrics to show beside it.")
@threshold_options
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Compare the first N runs with the best.",
)
@click.option(
    "--margin",
    type=float,
    metavar="M",
    help="Of two runs: test whether the first is not inferior, and equivalent, to the second by this margin.",
)
@click.option("--group", is_flag=True, help="Print one table per group of comparable runs.")
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write a CSV file, one row per run.")
@click.option("--html", "html_file", type=FILE, metavar="FILE", help="Write an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@ACCEPT_CHANGED
@RUNS_DIR
def compare(
    references: tuple[str, ...],
    split: str,
    metrics: tuple[str, ...],
    top: int,
    margin: float | None,
    group: bool,
    csv_file: Path | None,
    html_file: Path | None,
    as_json: bool,
    accept_changed: bool,
    runs_dir: Path,
    **rules: Any,
) -> None:
    """Rank runs on the same images and test which of them differ significantly.

    RUN is a name, a path or a pattern such as 'lite-*'; without any, all finished runs of the folder are ranked. Runs on
    different images, labels, tasks or kinds of split are refused: rank them in separate tables with --group. Metrics at
    thresholds are compared where all runs follow one rule: their own if it is the same, or the one that is given here. Runs
    that were tested on images they were trained or chosen on are shown, but not ranked.

    \b
    zoo compare FIRST SECOND
    zoo compare FIRST SECOND --metric f1 --youden
    zoo compare NEW REFERENCE --margin 0.02
    zoo compare 'densenet121-*' --split val
    zoo compare 'twelve-*' --metric auroc --metric accuracy --metric sensitivity --metric precision
    zoo compare --group --html runs.html            (every run there is)
    """
    from zoo.core.thresholds import check_rule
    from zoo.runs import leaderboard
    from zoo.runs.entries import read

    rule = chosen_rule(rules)
    metric, also = chosen_metrics(metrics)
    _check_rule(rule, metrics)
    _check_margin(margin, references)
    found = read(references, runs_dir, split, metric, also=also, rule=rule, accept_changed=accept_changed)
    if rule is not None:
        for entry in found.entries:
            check_rule(entry.task.kind, rule, asked=True)
    _require_runs(found, references, runs_dir, split)
    groups = leaderboard.comparable(found.entries)
    if len(groups) > 1 and not group:
        raise leaderboard.incomparable(groups)
    ranked = [
        leaderboard.rank_readable(each, found.damaged, found.required, top=top, accept_changed=accept_changed)
        for each in groups
    ]
    boards = [board for board in ranked if board is not None]
    _require_runs(replace(found, entries=tuple(e for b in boards for e in b.entries)), references, runs_dir, split)
    remarks = _remarks(found, references, runs_dir)
    tested = _test_margin(boards, references[1], runs_dir, margin) if margin is not None else None
    if tested is not None:
        from zoo.report.margins import sentence

        remarks.insert(0, sentence(tested))
    if as_json:
        _print_json(boards, found, tested)
    else:
        _print(boards, remarks)
    _write(boards, remarks, csv_file, html_file)


def _check_rule(rule: ThresholdRule | None, asked: tuple[str, ...]) -> None:
    from zoo.core.errors import UsageError
    from zoo.evaluation.comparison import AT_THRESHOLD, WITHOUT_THRESHOLD

    if rule is not None and set(asked) <= set(WITHOUT_THRESHOLD):
        others = f"{', '.join(AT_THRESHOLD[:-1])} or {AT_THRESHOLD[-1]}"
        needs = "needs" if len(asked) == 1 else "need"
        raise UsageError(f"{' and '.join(asked)} {needs} no thresholds: leave the rule out, or give --metric {others}.")


def _check_margin(margin: float | None, references: tuple[str, ...]) -> None:
    from zoo.core.errors import UsageError
    from zoo.evaluation.margins import check_margin

    if margin is None:
        return
    check_margin(margin)
    if len(references) != 2:
        raise UsageError("--margin is for two runs, the new one first: zoo compare NEW REFERENCE --margin M")


def _test_margin(boards: list[Board], reference: str, runs_dir: Path, margin: float) -> MarginTest:
    from zoo.core.errors import UsageError
    from zoo.evaluation.margins import against_margin
    from zoo.runs.run import Run

    path = Run.find(reference, runs_dir).path.resolve()
    pairs = [(board, each) for board in boards for each in board.comparisons]
    names = [entry.name for board in boards for entry in board.entries if entry.path.resolve() == path]
    if len(pairs) != 1 or not names:
        raise UsageError(
            "--margin cannot be tested: these are not two different runs that can be compared and do not leak."
        )
    (board, comparison) = pairs[0]
    return against_margin(comparison, names[0], margin, board.level)


def _require_runs(found: Found, references: tuple[str, ...], runs_dir: Path, split: str) -> None:
    from zoo.core.errors import DataError, UsageError
    from zoo.runs.run import Run

    left_out = found.unfinished | found.damaged
    if not found.entries and not left_out:
        raise UsageError(
            f"no run lies in {runs_dir}: train one with 'zoo train', or name another folder with --runs-dir."
        )
    if not found.entries or (len(found.entries) == 1 and references and left_out):
        listed = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        advice = ""
        for name, status in list(found.unfinished.items())[:1]:
            run, measured = Run(runs_dir / name).reference, status.startswith("no results")
            advice = f" Measure it: zoo evaluate {run}" if measured else f" Finish it first: zoo train --resume {run}"
        raise DataError(
            f"there are not two finished runs to compare on {split} images ({listed}{'; …' if len(left_out) > 3 else ''})."
            f"{advice}"
        )


def _remarks(found: Found, references: tuple[str, ...], runs_dir: Path) -> list[str]:
    """Which runs are left out and why, and which were measured again."""
    from zoo.core.text import count_of, listed

    said = []
    unfinished = [f"{name}: {status}" for name, status in found.unfinished.items()]
    for names, what in ((unfinished, "not finished"), (list(found.damaged), "damaged")):
        if names:
            shown = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            where = f" of {runs_dir}" if not references else ""
            said.append(f"{count_of(len(names), 'run')}{where} not shown, {what}{shown}.")
    if stale := [entry.name for entry in found.entries if entry.stale]:
        said.append(
            f"Measured again, since what is saved is of other predictions or thresholds: {listed(stale, 3)}. zoo evaluate RUN "
            "saves it."
        )
    return said


def _print_json(boards: list[Board], found: Found, tested: MarginTest | None) -> None:
    groups = [board.to_dict() for board in boards]
    document = {"groups": groups, "unfinished": found.unfinished, "damaged": found.damaged}
    if tested is not None:
        document["margin"] = tested.to_dict()
    print_json(document)


def _print(boards: list[Board], remarks: list[str]) -> None:
    from zoo.report import leaderboard as shown

    console = plain_console()
    for number, board in enumerate(boards, 1):
        prefix = f"Group {number} of {len(boards)}: " if len(boards) > 1 else ""
        if number > 1:
            console.print()
        console.print(f"{prefix}{shown.heading(board)}")
        console.print(shown.leaderboard_table(board, console.width))
        for line in shown.alarms(board):
            console.print(line, style="bold red")
        for line in shown.sentences(board):
            console.print(line)
        if len(board.ranked) == 2 and board.comparisons and board.comparisons[0].per_label:
            console.print()
            console.print(shown.terminal_labels(board.comparisons[0]))
            console.print(shown.labels_sentence(board))
    for line in remarks:
        console.print(line)


def _write(boards: list[Board], remarks: list[str], csv_file: Path | None, html_file: Path | None) -> None:
    from zoo.core.files import write_text

    if csv_file is not None:
        from zoo.runs.leaderboard import boards_csv

        write_text(csv_file, boards_csv(boards))
    if html_file is not None:
        from zoo.report.leaderboard import leaderboard_html

        command = shlex.join(["zoo", *sys.argv[1:]])
        write_text(html_file, leaderboard_html(boards, remarks, command, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"))
    for file in (csv_file, html_file):
        if file is not None:
            logger.info(f"Written: {file}")
