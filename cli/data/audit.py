"""`zoo data audit`: leaks, duplicates and contradictions of a dataset, and a table without them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.data.shared import LIMIT, LOOK, SEED, Chosen, on_dataset
from zoo.cli.options import AS_JSON, PATH, command
from zoo.cli.printing import plain_console, print_json
from zoo.core.cells import guarded_text
from zoo.core.errors import UsageError, unknown
from zoo.core.files import write_text

if TYPE_CHECKING:
    from zoo.data.audit.audit import Audit
    from zoo.data.audit.fix import Fixed
    from zoo.data.audit.images import AuditImages

logger = logging.getLogger(__name__)


@command()
@on_dataset
@click.option(
    "--with",
    "others",
    multiple=True,
    metavar="[NAME:]DATASET=ROOT",
    help="Another dataset that should share no patient and no image with it, such as csv=/data/ours; may be repeated.",
)
@LOOK
@click.option("--near/--no-near", default=True, help="Look for near-duplicates.")
@click.option(
    "--threshold",
    type=click.IntRange(0, 128),
    metavar="BITS",
    help="Hash bits (of 256) in which near-duplicates may differ.",
)
@click.option(
    "--correlation", type=click.FloatRange(0, 1), metavar="R", help="Lowest pixel correlation of near-duplicates."
)
@click.option("--fix", type=PATH, metavar="FILE.csv", help="Write a table without leaks; no file is deleted.")
@click.option("--csv", "csv_file", type=PATH, metavar="FILE", help="Write every issue as CSV.")
@LIMIT
@SEED
@AS_JSON
def audit(
    chosen: Chosen,
    others: tuple[str, ...],
    as_json: bool,
    fix: Path | None,
    csv_file: Path | None,
    **flags: Any,
) -> None:
    """Find leaks, duplicates and contradictions in a dataset. Exit code 1 if there are leaks.

    A leak makes test results too good: a patient, an identical image or a near-duplicate on two sides of the published split,
    or in two datasets. Near-duplicates are proposed by a perceptual hash and confirmed by their pixels. Listed too: patients with
    two sexes or who grow younger, labels that contradict each other, images without a row, rows without an image, and files
    that cannot be read.

    --fix writes a table that zoo train --data csv reads. Of each leak it keeps the test image and leaves out the other;
    FILE-removed.csv lists those with the reason. The new table is then audited again.

    \b
    zoo data audit --data nih --root DIR
    zoo data audit --data nih --root DIR --with csv=/data/ours --fix clean.csv
    """
    from zoo.data.audit.audit import audit as run_audit
    from zoo.data.audit.fix import refuse_overwriting, write_fixed
    from zoo.data.audit.near import CORRELATION, THRESHOLD

    if fix is not None:
        refuse_overwriting(fix)
        if not flags["look"]:
            raise UsageError("--fix needs to know which images can be read: leave out --no-images.")
    datasets = _read(chosen, others, flags)
    threshold = THRESHOLD if flags["threshold"] is None else flags["threshold"]
    correlation = CORRELATION if flags["correlation"] is None else flags["correlation"]
    found = run_audit(datasets, near=flags["near"], threshold=threshold, correlation=correlation)
    if csv_file is not None:
        write_text(csv_file, guarded_text(found.issues))
    fixed = write_fixed(found, datasets[0], fix) if fix is not None else None
    _report(found, fixed, as_json)
    if csv_file is not None:
        logger.info(f"Every issue: {csv_file}")
    if found.leaks:
        raise click.exceptions.Exit(1)


def _read(first: Chosen, others: tuple[str, ...], flags: dict[str, Any]) -> list[AuditImages]:
    """The images of the dataset and of the others; logs which of them has none."""
    from zoo.data.audit.images import read_images
    from zoo.data.listed_images import limit_listing

    parsed = [_parse(word) for word in others]  # before anything is read
    listing = limit_listing(first.survey(), flags["limit"], flags["seed"])
    chosen = [(first.name, first.name, listing)]
    for name, dataset, folder in parsed:
        chosen.append(
            (
                _distinct(name, [each[0] for each in chosen]),
                dataset,
                Chosen(dataset, folder, (), first.allow_outside).survey(),
            )
        )
    found = []
    for name, dataset, each in chosen:
        for note in each.records.notes:
            logger.info(f"{name}: {note}")
        if flags["look"] and not each.present.any():
            logger.info(f"{name}: none of the {len(each.records):,} images is there; only the tables are audited")
        found.append(read_images(name, each, dataset, look=flags["look"], near=flags["near"]))
    return found


def _parse(word: str) -> tuple[str, str, Path]:
    """NAME:DATASET=ROOT, DATASET=ROOT or DATASET:ROOT as (name, dataset, root)."""
    from zoo.core.registry import registry

    names = registry().names("dataset")
    left, equals, folder = word.partition("=")
    if not equals:
        left, _, folder = word.partition(":")
    name, _, dataset = left.rpartition(":")
    if not left or not folder:
        raise UsageError(f"--with {word}: name a dataset and its folder, such as --with csv=/data/ours.")
    if dataset not in names:
        raise unknown("dataset", dataset, names, "See 'zoo list datasets'.")
    return name or dataset, dataset, Path(folder)


def _distinct(name: str, taken: list[str]) -> str:
    number, found = 2, name
    while found in taken:
        found, number = f"{name} ({number})", number + 1
    return found


def _report(found: Audit, fixed: Fixed | None, as_json: bool) -> None:
    if as_json:
        summary = found.summary()
        if fixed is not None:
            summary["fixed"] = {
                "table": str(fixed.table),
                "removed_table": str(fixed.removed_table),
                "kept": fixed.kept,
                "removed": len(fixed.removed),
                "left": len(fixed.left),
                "train": fixed.command,
            }
        print_json(summary)
        return
    from zoo.report.audit import conclusion, fixed_lines, issues_table, sides_table

    console = plain_console()
    console.print(sides_table(found))
    console.print()
    if len(found.issues):
        console.print(issues_table(found))
        console.print()
    for line in conclusion(found):
        console.print(line)
    for line in fixed_lines(fixed, found.patients_known) if fixed is not None else ():
        console.print(line, soft_wrap=True)
