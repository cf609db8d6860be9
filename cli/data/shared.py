"""What the commands of `zoo data` share: options that say which dataset, and how they speak."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import PATH
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.listing import Listing

DATA = click.option("--data", metavar="NAME", help="Dataset.  zoo list datasets")
ROOT = click.option("--root", type=PATH, metavar="DIR", help="Folder of the dataset.")
SETS = click.option("--set", "sets", multiple=True, metavar="data.OPTION=VALUE", help="Options of the dataset.")
OUTSIDE = click.option(
    "--allow-outside",
    is_flag=True,
    help="Read images outside the root too (csv): short for --set data.allow_outside=true.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


def dataset_options(sets: tuple[str, ...], allow_outside: bool, parse_set: Any) -> list[dict[str, Any]]:
    """The options of the dataset as layers of a configuration; --set may name nothing else."""
    layers = [parse_set(each) for each in sets]
    other = sorted({key for layer in layers for key in layer} - {"data"})
    if other:
        raise UsageError(f"zoo data takes --set data.OPTION=VALUE only, not {', '.join(other)}.")
    return [*layers, {"data": {"allow_outside": True}}] if allow_outside else layers


def survey(data: str | None, root: Path | None, sets: tuple[str, ...], allow_outside: bool) -> Listing:
    """What the tables of a dataset say, for commands that look at it without training on it."""
    from zoo.config.resolve import choose_dataset, merge, parse_set
    from zoo.core.registry import registry

    if data is None:
        raise UsageError("name a dataset with --data. See 'zoo list datasets'.")
    options = merge(dataset_options(sets, allow_outside, parse_set))
    if root is not None and not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise UsageError(f"--root {root} {what}. {registry().get('dataset', data).info.layout}".strip())
    choice = choose_dataset(data, root, options, registry())
    listing: Listing = registry().get("dataset", data).survey(root, choice.options)
    return listing


def prepare_command(name: str, root: Path | None) -> str:
    from zoo.core.registry import registry

    needs_root = name not in registry().names("dataset") or registry().get("dataset", name).info.needs_root
    return f"zoo data prepare --data {name}" + (f" --root {root or 'DIR'}" if needs_root else "")
