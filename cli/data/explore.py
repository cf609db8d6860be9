"""`zoo data explore`: a first look at a dataset, as tables on the terminal, CSV files and a page."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.data.shared import LIMIT, LOOK, SEED, Chosen, on_dataset
from zoo.cli.options import AS_JSON, PATH, command
from zoo.cli.printing import plain_console, print_json, print_line
from zoo.core.errors import unknown

if TYPE_CHECKING:
    from zoo.explore.explore import Exploration

logger = logging.getLogger(__name__)

SIZE = 224  # pixels, where the dataset has no size of its own


@command()
@on_dataset
@click.option("--task", default="binary", metavar="TASK", help="Task whose split is drawn [default: binary].")
@click.option(
    "--image-size",
    type=click.IntRange(8, 2048),
    metavar="PX",
    help="Size of the prepared images [default: 224, or the dataset's].",
)
@LOOK
@click.option("--pictures/--no-pictures", default=True, help="Show example images in the page.")
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N", help="Images whose gray values are read [default: 1000]."
)
@LIMIT
@SEED
@click.option("--out", type=PATH, metavar="DIR", help="Folder to write [default: exploration/NAME].")
@AS_JSON
def explore(
    chosen: Chosen,
    out: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Explore a dataset before you train on it.

    Shows findings and their co-occurrence, prevalence in each split, tests of age, sex, view and follow-up against findings (one
    image per patient), gray values, example images, and what is missing, unreadable or duplicated. Writes exploration.html,
    which opens offline, and CSV files. Missing images are counted; a table without images works too.

    \b
    zoo data explore --data nih --root DIR
    zoo data explore --data nih --root DIR --no-images --json
    """
    from zoo.core.registry import registry
    from zoo.core.tasks import TASKS
    from zoo.data.listed_images import limit_listing
    from zoo.explore.explore import explore as run_exploration
    from zoo.explore.pixels import SAMPLE
    from zoo.report.exploration import write_page, write_tables

    if flags["task"] not in TASKS:
        raise unknown("task", flags["task"], TASKS)
    listing = limit_listing(chosen.survey(), flags["limit"], flags["seed"])
    name = chosen.name
    for note in listing.records.notes:
        logger.info(note)
    found = run_exploration(
        name,
        listing,
        task=flags["task"],
        size=flags["image_size"] or registry().get("dataset", name).info.image_size or SIZE,
        seed=flags["seed"],
        look=flags["look"],
        sample=flags["sample"] or SAMPLE,
    )
    folder = out or Path("exploration") / name
    files = write_tables(found, folder)
    page = write_page(found, folder, pictures=flags["pictures"])
    if as_json:
        print_json({**found.summary(), "page": str(page)})
        return
    _print(found)
    print_line(f"Page: {page}")
    print_line(f"Tables: {len(files)} CSV files in {folder}")


def _print(found: Exploration) -> None:
    from zoo.report.exploration import labels_table, lines, tests_table

    console = plain_console()
    console.print(labels_table(found))
    console.print()
    tests = tests_table(found)
    if tests is not None:
        console.print(tests)
        console.print()
    for line in lines(found):
        console.print(line)
