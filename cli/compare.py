"""`zoo compare`: runs ranked on the same images, with the significance of their differences."""

from __future__ import annotations

import logging
import shlex
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.options import METRICS, RUNS_DIR, command
from zoo.cli.printing import plain_console, print_json

if TYPE_CHECKING:
    from zoo.runs.leaderboard import Board, Found

logger = logging.getLogger(__name__)

FILE = click.Path(path_type=Path, dir_okay=False)


@command()
@click.argument("references", metavar="[RUN]...", nargs=-1)
@click.option("--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="Which images.")
@click.option("--metric", type=click.Choice(METRICS), default="auroc", show_default=True, help="Metric to rank by.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Compare the first N runs with the best.",
)
@click.option("--group", is_flag=True, help="Print one table per group of comparable runs.")
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write a CSV file, one row per run.")
@click.option("--html", "html_file", type=FILE, metavar="FILE", help="Write an HTML page.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@RUNS_DIR
@click.option(
    "--replicates",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Bootstrap resamples of the patients.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed of the resamples.")
def compare(
    references: tuple[str, ...],
    split: str,
    metric: str,
    top: int,
    group: bool,
    csv_file: Path | None,
    html_file: Path | None,
    as_json: bool,
    runs_dir: Path,
    replicates: int,
    seed: int,
) -> None:
    """Rank runs on the same images and test which of them differ significantly.

    RUN is a name, a path or a pattern such as 'lite-*'; without any, all finished runs of the folder are ranked. Runs on
    different images, labels, tasks or kinds of split are refused: rank them in separate tables with --group.

    \b
    zoo compare FIRST SECOND
    zoo compare 'densenet121-*' --split val
    zoo compare --group --html runs.html            (every run there is)
    """
    from zoo.runs import leaderboard

    found = leaderboard.read(references, runs_dir, split, metric)
    _require_runs(found, references, runs_dir, split)
    groups = leaderboard.comparable(found.entries)
    if len(groups) > 1 and not group:
        raise leaderboard.incomparable(groups)
    boards = [leaderboard.rank(each, top=top, replicates=replicates, seed=seed) for each in groups]
    remarks = _remarks(found, references, runs_dir)
    if as_json:
        _print_json(boards, found)
    else:
        _print(boards, remarks)
    _write(boards, remarks, csv_file, html_file)


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
        first = next((Run(runs_dir / name).reference for name in found.unfinished), "RUN")
        raise DataError(
            f"there are not two finished runs to compare on {split} images ({listed}{'; …' if len(left_out) > 3 else ''}). "
            f"Finish them first: zoo train --resume {first}"
        )


def _remarks(found: Found, references: tuple[str, ...], runs_dir: Path) -> list[str]:
    """Which runs are left out and why."""
    from zoo.core.text import count_of

    said = []
    unfinished = [f"{name}: {status}" for name, status in found.unfinished.items()]
    for names, what in ((unfinished, "not finished"), (list(found.damaged), "damaged")):
        if names:
            shown = f" ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
            where = f" of {runs_dir}" if not references else ""
            said.append(f"{count_of(len(names), 'run')}{where} not shown, {what}{shown}.")
    return said


def _print_json(boards: list[Board], found: Found) -> None:
    groups = [board.to_dict() for board in boards]
    document = {"groups": groups, "unfinished": found.unfinished, "damaged": found.damaged}
    print_json(document)


def _print(boards: list[Board], remarks: list[str]) -> None:
    from zoo.report.leaderboard import heading, labels_sentence, leaderboard_table, sentences, terminal_labels

    console = plain_console()
    for number, board in enumerate(boards, 1):
        prefix = f"Group {number} of {len(boards)}: " if len(boards) > 1 else ""
        console.print(f"{chr(10) if number > 1 else ''}{prefix}{heading(board)}")
        console.print(leaderboard_table(board))
        for line in sentences(board):
            console.print(line)
        if len(board.entries) == 2 and board.comparisons and board.comparisons[0].per_label:
            console.print()
            console.print(terminal_labels(board.comparisons[0]))
            console.print(labels_sentence(board))
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
