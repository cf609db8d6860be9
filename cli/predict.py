"""`zoo predict`: a run's predictions for images, one row each."""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import DEVICE, FORCE, PATH, RUNS_DIR, RUNTIME, command
from zoo.cli.printing import bare_table, json_text, plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from zoo.inference.classifier import Classifier, Prediction
    from zoo.inference.output import TableFile, Tally
    from zoo.runs.run import Run

logger = logging.getLogger(__name__)

SHOWN = 40  # images; more are summed up
MANY = 64  # images; for fewer, starting processes to read them costs more than it saves
MOST_WORKERS = 8  # unless asked for: each takes some 100 MB
WIDEST = 34  # characters of an image's path in the table


@command()
@click.argument("run_reference", metavar="RUN")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--csv", "csv_file", type=PATH, metavar="FILE", help="Write one row per image here.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per image and line.")
@click.option(
    "--heatmaps",
    type=PATH,
    metavar="DIR",
    help="Also draw heat maps into this folder; much slower.",
)
@click.option(
    "--batch-size", type=click.IntRange(1), default=32, show_default=True, metavar="N", help="Images per batch."
)
@RUNTIME
@click.option(
    "--workers",
    type=click.IntRange(0),
    metavar="N",
    help="Processes that read images [default: depends on their number].",
)
@FORCE
@click.option(
    "--fit-ood", is_flag=True, help="First give a run that has no OOD detector one, from its own validation images."
)
@RUNS_DIR
@DEVICE
@click.pass_context
def predict(
    context: click.Context,
    run_reference: str,
    paths: tuple[str, ...],
    csv_file: Path | None,
    as_json: bool,
    heatmaps: Path | None,
    batch_size: int,
    workers: int | None,
    fit_ood: bool,
    runs_dir: Path,
    **options: Any,
) -> None:
    """Predict the findings of a run in image files.

    PATH is an image (PNG, JPEG, DICOM and others), a folder, a pattern such as 'scans/*.dcm', or - for a list of names on
    standard input. Prints a table, or with --csv or --json one row per image. Exit code 1 if an image could not be read; its
    row gives the reason.

    \b
    zoo predict RUN image.png scan.dcm
    zoo predict RUN folder --csv predictions.csv
    find . -name '*.dcm' | zoo predict RUN - --json
    """
    from zoo.core.errors import DataError
    from zoo.core.progress import Progress
    from zoo.inference import intake
    from zoo.inference.classifier import Classifier
    from zoo.inference.output import TableFile, Tally
    from zoo.runs.run import Run

    run = Run.find(run_reference, runs_dir)
    if fit_ood:
        _fit_detector(run)
    # a list on standard input can be read once only, and may not be finished yet
    total = None if intake.STDIN in paths else sum(1 for _ in intake.expand(paths))
    shown: list[Prediction] = []
    tally = Tally()
    with ExitStack() as stack:
        table = stack.enter_context(TableFile(csv_file)) if csv_file else None
        classifier = stack.enter_context(Classifier.open(run, images=total, **options))
        if classifier.detector is None:
            logger.warning(
                f"{run.name} has no OOD detector, so images of another kind are not noticed; --fit-ood gives it one."
            )
        if table is not None:
            table.begin(classifier.columns + (["heatmaps"] if heatmaps else []))
        try:
            with Progress("Predicting", total, bar=not (as_json and sys.stdout.isatty())) as progress:
                predictions = _predictions(classifier, paths, total, batch_size, workers, heatmaps)
                for prediction, pictures in stack.enter_context(closing(predictions)):
                    tally.add(classifier, prediction)
                    if len(shown) <= SHOWN:
                        shown.append(prediction)
                    _write(classifier, prediction, {"heatmaps": pictures} if heatmaps else {}, table, as_json)
                    progress.advance(1)
        except KeyboardInterrupt:
            kept = f" Their rows are kept in {table.partial}." if table is not None and table.rows else ""
            logger.warning(f"stopped after {tally.images:,} images.{kept}")
            raise
        if not tally.images:
            raise DataError("no image was named: the list on standard input is empty.")
    _finish(classifier, shown, tally, progress.rate, csv_file, heatmaps, as_json)
    if tally.failed:
        context.exit(1)


def _fit_detector(run: Run) -> None:
    """Fit the run's detector where it has none."""
    from zoo.core.registry import registry
    from zoo.inference.ood import load_detector
    from zoo.inference.ood_training import fit_for_run

    if load_detector(run) is None:
        fit_for_run(run, registry())


def _predictions(
    classifier: Classifier,
    paths: tuple[str, ...],
    total: int | None,
    batch_size: int,
    workers: int | None,
    heatmaps: Path | None,
) -> Generator[tuple[Prediction, list[str]], None, None]:
    """Every prediction with the names of its pictures."""
    from zoo.core.pools import usable_cores
    from zoo.inference import intake
    from zoo.inference.output import with_pictures

    isolated = workers is not None or total is None or total >= MANY
    if workers is None:
        workers = min(usable_cores(), MOST_WORKERS) if isolated else 1
    images, keep = intake.expand(paths), heatmaps is not None
    with closing(classifier.stream(images, batch_size, workers, isolated=isolated, keep_images=keep)) as stream:
        if heatmaps is None:
            yield from ((each, []) for each in stream)
        else:
            yield from with_pictures(classifier, stream, heatmaps)


def _write(
    classifier: Classifier, prediction: Prediction, drawn: dict[str, list[str]], table: TableFile | None, as_json: bool
) -> None:
    """Write one prediction with the names of its pictures to the table, and print it as JSON."""
    from zoo.inference.output import record

    if table is not None:
        table.write(classifier.row(prediction) | {key: ";".join(names) for key, names in drawn.items()})
    if as_json:
        click.echo(json_text(record(classifier, prediction) | drawn))


def _finish(
    classifier: Classifier,
    predictions: list[Prediction],
    tally: Tally,
    rate: float,
    table: Path | None,
    heatmaps: Path | None,
    as_json: bool,
) -> None:
    """Print a table of a few images or counts of many, the files written, and the notice on use."""
    from zoo.core.text import RESEARCH_ONLY

    console = plain_console(stderr=as_json)
    if not as_json and tally.images <= SHOWN:
        _print_images(console, classifier, predictions)
        _print_points(console, classifier)
    else:
        _print_tally(console, classifier, tally, rate)
    if table is not None:
        console.print(f"{tally.images:,} rows: {table}", soft_wrap=True)
    if heatmaps is not None:
        console.print(f"Heat maps: {heatmaps}", soft_wrap=True)
    console.print(RESEARCH_ONLY, soft_wrap=True)


def _print_images(console: Console, classifier: Classifier, predictions: list[Prediction]) -> None:
    from zoo.inference.output import shown

    noted = any(
        prediction.note or prediction.reason or (prediction.ood and prediction.ood.flagged)
        for prediction in predictions
    )
    columns = ("image", "class" if classifier.task.exclusive else "findings", *(("note",) if noted else ()))
    table = bare_table(*columns)
    table.columns[0].no_wrap = True
    for prediction in predictions:
        notes = [prediction.reason and f"not read: {prediction.reason}", prediction.note]
        if prediction.ood is not None and prediction.ood.flagged:
            notes.insert(0, f"flagged: {prediction.ood.reason}")
        cells = [
            _shorten(shown(prediction.file)),
            _decision(classifier, prediction),
            shown("; ".join(filter(None, notes))),
        ]
        table.add_row(*cells[: len(table.columns)])
    console.print(table)


def _shorten(name: str) -> str:
    """The end of a long path: images differ in its last part."""
    return name if len(name) <= WIDEST else f"…{name[1 - WIDEST :]}"


def _decision(classifier: Classifier, prediction: Prediction) -> str:
    """The positive labels with their probabilities, the most probable first; or that there are none."""
    from zoo.evaluation.interval import short

    if prediction.probabilities is None or prediction.positive is None:
        return ""
    columns = classifier.positive_labels(prediction)
    listed = ", ".join(f"{classifier.labels[k]} {short(float(prediction.probabilities[k]))}" for k in columns)
    if prediction.positive.any():
        return listed
    return f"not {listed}" if classifier.task.kind == "binary" else f"none; highest {listed}"


def _print_points(console: Console, classifier: Classifier) -> None:
    from zoo.evaluation.interval import short

    if classifier.task.exclusive:
        console.print("Prediction: the most probable class.")
        return
    points = ", ".join(f"{label} {short(value)}" for label, value in classifier.thresholds.items())
    console.print(f"Positive at or above: {points}.")


def _print_tally(console: Console, classifier: Classifier, tally: Tally, rate: float) -> None:
    read = tally.images - tally.failed
    console.print(f"{tally.images:,} images: {read:,} predicted, {tally.failed:,} not read; {rate:,.3g} images/s.")
    if read:
        parts = ", ".join(f"{label} {count:,} ({count / read:.0%})" for label, count in tally.positive.items())
        console.print(f"{'Most probable class' if classifier.task.exclusive else 'Positive'}: {parts}.")
    if tally.flagged:
        console.print(
            f"Flagged as unlike the run's training images, so that the prediction may mean nothing: {tally.flagged:,}."
        )
    for name, reason in tally.failures:
        console.print(f"Not read: {name}: {reason}", soft_wrap=True)
    if tally.failed > len(tally.failures):
        console.print(f"… and {tally.failed - len(tally.failures):,} more.")
