"""`zoo data verify`: prepared images checked against their checksums."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.data.shared import Chosen, on_dataset, prepare_command
from zoo.cli.options import AS_JSON, command
from zoo.cli.printing import print_json, print_line
from zoo.core.calls import call
from zoo.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from zoo.data.inventory import Checked

logger = logging.getLogger(__name__)


@command()
@on_dataset
@AS_JSON
def verify(chosen: Chosen, as_json: bool) -> None:
    """Check prepared images against their checksums. Exit code 1 if any are damaged.

    Without options the whole cache is checked; --data selects a dataset, --root the images that are there now. The next command
    that needs damaged images prepares them again and keeps the others.

    \b
    zoo data verify
    zoo data verify --data nih --root DIR
    """
    from zoo.config.resolve import choose_dataset, merge
    from zoo.core.progress import Progress
    from zoo.core.registry import registry
    from zoo.data.inventory import check, find
    from zoo.data.store import default_cache

    records = None
    data, root, options = chosen.data, chosen.root, merge(chosen.layers())
    if data is None and (root is not None or options):
        raise UsageError("--root and --set describe a dataset: name it with --data.")
    if data is not None and (root is not None or not registry().get("dataset", data).info.needs_root):
        from zoo.data.pipeline import with_writable_names

        choice = choose_dataset(data, root, options, registry())
        records = with_writable_names(call(registry().get("dataset", data).read, root, choice.options))
    folders = find(default_cache(), data, records)
    if not folders and data is not None:
        where = f" of {root}" if root else ""
        raise DataError(f"no prepared images{where} in {default_cache()}. {prepare_command(data, root)} prepares them.")
    results = []
    with Progress("Verifying", len(folders), unit="stores") as progress:
        for folder in folders:
            results.append(check(folder))
            progress.advance(1)
    _report(results, root, as_json)


def _report(results: list[Checked], root: Path | None, as_json: bool) -> None:
    damaged = [each for each in results if each.damage]
    if as_json:
        print_json([each.to_dict() for each in results])
    elif not results:
        from zoo.data.store import default_cache

        print_line(f"Nothing is prepared in {default_cache()}.")
    else:
        for each in results:
            print_line(f"{each.path}: {each.describe()}")
    for each in damaged:
        logger.info(f"To mend {each.path.name}: {prepare_command(each.name, root)} --image-size {each.size}")
    if damaged:
        raise click.exceptions.Exit(1)
