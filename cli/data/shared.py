"""What the commands of `zoo data` share: the options that choose a dataset."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import PATH
from zoo.core.calls import call
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.config.resolve import RunConfig
    from zoo.core.listing import Listing

OPTIONS = (
    click.option("--data", metavar="NAME", help="Dataset.  zoo list datasets"),
    click.option("--root", type=PATH, metavar="DIR", help="Folder of the dataset."),
    click.option("--set", "sets", multiple=True, metavar="data.OPTION=VALUE", help="Options of the dataset."),
    click.option(
        "--allow-outside",
        is_flag=True,
        help="Also read images that a table names outside the root (links below it are followed anyway).",
    ),
)
MODEL = click.option(
    "--model", metavar="NAME", help="Take this network's image size, where the dataset has none of its own."
)
LOOK = click.option("--images/--no-images", "look", default=True, help="Read the images, or the tables only.")
LIMIT = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use about N images, whole patients.")
SEED = click.option("--seed", type=int, default=0, metavar="N", help="Random seed [default: 0].")


@dataclass(frozen=True)
class Chosen:
    """The dataset that a command line names, and its options."""

    data: str | None
    root: Path | None
    sets: tuple[str, ...] = ()
    allow_outside: bool = False

    @property
    def name(self) -> str:
        """The dataset's name; a UsageError where none was given."""
        if self.data is None:
            raise UsageError("name a dataset with --data. See 'zoo list datasets'.")
        return self.data

    def layers(self) -> list[dict[str, Any]]:
        """The options as layers of a configuration; --set may name nothing else."""
        from zoo.config.resolve import parse_set

        layers = [parse_set(each) for each in self.sets]
        other = sorted({key for layer in layers for key in layer} - {"data"})
        if other:
            raise UsageError(f"zoo data takes --set data.OPTION=VALUE only, not {', '.join(other)}.")
        return [*layers, {"data": {"allow_outside": True}}] if self.allow_outside else layers

    def config(self, flags: dict[str, Any], **below: Any) -> RunConfig:
        """The configuration of a training on it; `below` are settings that the flags may override."""
        from zoo.config.resolve import resolve
        from zoo.core.registry import registry

        layers = [below, {"data": self.name}, {key: value for key, value in flags.items() if value is not None}]
        if self.root is not None:
            layers.append({"data": {"root": str(self.root)}})
        return resolve([*layers, *self.layers()], registry())

    def survey(self) -> Listing:
        """Everything its tables list, for commands that look at it without training on it."""
        from zoo.config.resolve import choose_dataset, merge
        from zoo.core.registry import registry
        from zoo.data.listed_images import with_writable_listing

        name, options = self.name, merge(self.layers())
        dataset = registry().get("dataset", name)
        if self.root is not None and not self.root.is_dir():
            what = "is not a folder" if self.root.exists() else "does not exist"
            raise UsageError(f"--root {self.root} {what}.", dataset.info.layout)
        choice = choose_dataset(name, self.root, options, registry())
        return with_writable_listing(call(dataset.survey, self.root, choice.options))


def on_dataset(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose a dataset; the function receives a `Chosen` in their place."""

    @functools.wraps(function)
    def wrapped(data: str | None, root: Path | None, sets: tuple[str, ...], allow_outside: bool, **rest: Any) -> None:
        function(Chosen(data, root, sets, allow_outside), **rest)

    for each in reversed(OPTIONS):
        wrapped = each(wrapped)
    return wrapped


def prepare_command(name: str, root: Path | None) -> str:
    """The command that prepares a dataset."""
    from zoo.core.registry import registry

    needs_root = name not in registry().names("dataset") or registry().get("dataset", name).info.needs_root
    return f"zoo data prepare --data {name}" + (f" --root {root or 'DIR'}" if needs_root else "")
