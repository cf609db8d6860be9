"""`zoo readers`: several readers of the same images, their agreement, the modalities they used, and a model against them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.options import AS_JSON, PATH, RUNS_DIR, command
from zoo.cli.printing import plain_console, print_json
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.evaluation.readers import Model, ReaderResults
    from zoo.evaluation.readings import Readings
    from zoo.runs.leaks import Leak

logger = logging.getLogger(__name__)

FILE = click.Path(path_type=Path, dir_okay=False)


@command()
@click.argument("table", type=PATH, metavar="TABLE")
@click.option(
    "--run", "run_reference", metavar="NAME", help="Also compare this run with the readers, on its own images."
)
@click.option(
    "--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="Images of the run."
)
@click.option(
    "--labels",
    type=PATH,
    metavar="FILE",
    help="A CSV file with the reference labels [default: TABLE's, then the run's].",
)
@click.option(
    "--boxes",
    type=PATH,
    metavar="FILE",
    help="A CSV file with the lesions' boxes: TABLE then holds marks (x, y and score), for FROC and AFROC.",
)
@click.option("--label", "only", multiple=True, metavar="NAME", help="This label only, in full. Can be repeated.")
@click.option(
    "--positive-from",
    "cut",
    type=float,
    metavar="SCORE",
    help="Take scores of at least this as positive readings, for agreement.",
)
@click.option("--csv", "csv_file", type=FILE, metavar="FILE", help="Write a CSV file, one row per label and reader.")
@click.option("--html", "html_file", type=FILE, metavar="FILE", help="Write an HTML page.")
@AS_JSON
@RUNS_DIR
@click.option(
    "--replicates",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Bootstrap resamples of the patients, for agreement.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed of the resamples.")
def readers(
    table: Path,
    run_reference: str | None,
    split: str,
    labels: Path | None,
    boxes: Path | None,
    only: tuple[str, ...],
    cut: float | None,
    csv_file: Path | None,
    html_file: Path | None,
    as_json: bool,
    runs_dir: Path,
    replicates: int,
    seed: int,
) -> None:
    """Evaluate a reader study: agreement, modalities (MRMC), and a run against the readers.

    TABLE is a CSV file with a row per image and reader: the columns image, reader, and one per finding (yes or no, or a
    score); or a row per image, label and reader with the columns label and score. Optional columns: patient, modality,
    and in the second layout reference. With --boxes it has a row per mark with x, y and score.

    \b
    zoo readers readings.csv --labels expert_labels.csv
    zoo readers readings.csv --run NAME --label Effusion
    zoo readers marks.csv --boxes boxes.csv --html readers.html
    """
    from zoo.evaluation.serialise import to_plain

    if boxes is not None:
        if run_reference is not None or labels is not None or cut is not None:
            raise UsageError(
                "--run, --labels and --positive-from are for readings; with --boxes the table holds marks."
            )
        results = _of_marks(table, boxes, only, replicates, seed)
    else:
        run = None if run_reference is None else (run_reference, runs_dir, split)
        results = _of_readings(table, run, labels, only, cut, replicates, seed)
    leaks = () if run_reference is None else _leaks(run_reference, runs_dir, split)
    if as_json:
        print_json({**results.to_dict(), "leaks": to_plain(leaks)})
    else:
        _print(results, leaks)
    _write(results, leaks, csv_file, html_file)


def _leaks(run_reference: str, runs_dir: Path, split: str) -> tuple[Leak, ...]:
    """What the run's images of the split share with those it was trained on."""
    from zoo.core.errors import ZooError
    from zoo.runs.leaks import find_leaks
    from zoo.runs.run import Run

    try:
        images = Run.find(run_reference, runs_dir).images()
    except ZooError as error:
        logger.warning(f"leaks between training and {split} images cannot be looked for: {error}")
        return ()
    return find_leaks(images, split)


def _of_readings(
    table: Path,
    run: tuple[str, Path, str] | None,
    labels: Path | None,
    only: tuple[str, ...],
    cut: float | None,
    replicates: int,
    seed: int,
) -> ReaderResults:
    from zoo.evaluation.readers import evaluate_readers, join_run
    from zoo.evaluation.readings import read_readings, reference_from

    readings = read_readings(table)
    model: Model | None = None
    source = table.name if readings.has_reference else None
    if run is not None:
        from zoo.evaluation.thresholds import choose_thresholds
        from zoo.runs.results import stored_rule
        from zoo.runs.run import Run

        found = Run.find(*run[:2])
        thresholds = choose_thresholds(found.predictions("val"), stored_rule(found))
        source = source or f"the run {found.name}"
        readings, model = join_run(readings, found.predictions(run[2]), thresholds, found.name, table)
    if labels is not None:
        readings, source = readings.with_reference(reference_from(labels, readings)), labels.name
    if only:
        kept = _places(readings, only)
        readings, model = readings.of_labels(kept), None if model is None else model.of_labels(kept)
    return evaluate_readers(readings, model, reference=source, cut=cut, replicates=replicates, seed=seed)


def _of_marks(table: Path, boxes: Path, only: tuple[str, ...], replicates: int, seed: int) -> ReaderResults:
    from zoo.evaluation.marks import read_marks
    from zoo.evaluation.readers import evaluate_readers

    marks = read_marks(table, boxes)
    readings, froc = marks.readings(), marks.froc(replicates=replicates, seed=seed)
    if only:
        readings = readings.of_labels(_places(readings, only))
        froc = tuple(each for each in froc if each.label in readings.labels)
    return evaluate_readers(readings, reference=boxes.name, froc=froc, replicates=replicates, seed=seed)


def _places(readings: Readings, names: tuple[str, ...]) -> list[int]:
    """The numbers of the labels named."""
    from zoo.core.errors import unknown
    from zoo.core.tables import column_key

    places = {column_key(label): k for k, label in enumerate(readings.labels)}
    for name in names:
        if column_key(name) not in places:
            raise unknown("label", name, readings.labels)
    return [places[column_key(name)] for name in names]


def _print(results: ReaderResults, leaks: tuple[Leak, ...]) -> None:
    from zoo.core.text import RESEARCH_ONLY
    from zoo.report.readers import heading, sentences, terminal_tables
    from zoo.report.sentences import leak

    console = plain_console()
    console.print(heading(results))
    for each in leaks:
        console.print(leak(each), style="bold red")
    for title, table in terminal_tables(results):
        console.print()
        console.print(title)
        console.print(table)
    console.print()
    for line in sentences(results):
        console.print(line)
    console.print(RESEARCH_ONLY)


def _write(results: ReaderResults, leaks: tuple[Leak, ...], csv_file: Path | None, html_file: Path | None) -> None:
    from zoo.core.files import write_text
    from zoo.report.readers import readers_csv, readers_html

    if csv_file is not None:
        write_text(csv_file, readers_csv(results))
    if html_file is not None:
        write_text(html_file, readers_html(results, leaks))
    for file in (csv_file, html_file):
        if file is not None:
            logger.info(f"Written: {file}")
