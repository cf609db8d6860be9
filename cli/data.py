"""`zoo data`: films prepared ahead of training, and what is prepared checked against its checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import catalogue
from zoo.errors import DataError, UsageError

if TYPE_CHECKING:
    from zoo.data.inventory import Checked
    from zoo.data.pipeline import Films

DATA = click.option("--data", metavar="NAME", help="Dataset.  zoo list datasets")
ROOT = click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Where the dataset lies.")
SETS = click.option("--set", "sets", multiple=True, metavar="data.OPTION=VALUE", help="Options of the dataset.")
OUTSIDE = click.option(
    "--allow-outside",
    is_flag=True,
    help="Read images outside the root too (csv): short for --set data.allow_outside=true.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")


@click.group()
def data() -> None:
    """Prepare a dataset's films ahead of training, or check what is prepared."""


@data.command()
@DATA
@ROOT
@click.option("--task", metavar="TASK", help="binary, multilabel or multiclass [default: binary].")
@click.option("--model", metavar="NAME", help="Take this network's image size, where the dataset has none of its own.")
@click.option("--image-size", type=int, metavar="PX", help="Height and width [default: the dataset's or the model's].")
@click.option("--limit", type=int, metavar="N", help="Use about N films, whole patients, as zoo train does.")
@click.option("--seed", type=int, metavar="N", help="Of the split and of --limit [default: 0].")
@click.option("--drop-leaks/--no-drop-leaks", default=None, help="Set aside training films that also stand in test.")
@SETS
@OUTSIDE
@AS_JSON
def prepare(root: Path | None, sets: tuple[str, ...], allow_outside: bool, as_json: bool, **flags: Any) -> None:
    """Read a dataset, prepare its films for training, and audit its split.

    zoo train and zoo evaluate then start at once: they find what is prepared by its content. The films lie in a folder of the
    cache ($ZOO_CACHE, else ~/.cache/zoo), decoded and resized, with a table of those that cannot be used and why. Stop it
    with Ctrl-C at any moment; the same command goes on from there.

    \b
    zoo data prepare --data nih --root DIR --image-size 224
    zoo data prepare --data folder --root DIR       (PNG, JPEG, DICOM …)
    """
    catalogue.warn()
    from zoo.config import parse_set, resolve
    from zoo.data.pipeline import load_films
    from zoo.registry import registry

    if flags["data"] is None:
        raise UsageError("name a dataset with --data. See 'zoo list datasets'.")
    # nothing is trained, so no batch can be too large, and no best epoch is looked for
    layers = [{"batch_size": 1, "monitor": "val_loss"}, {k: v for k, v in flags.items() if v is not None}]
    if root is not None:
        layers.append({"data": {"root": str(root)}})
    layers += _dataset_options(sets, allow_outside, parse_set)
    config = resolve(layers, registry())
    films = load_films(config, registry(), _say)
    found = _summary(films)
    if as_json:
        click.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    _print_summary(found)


def _dataset_options(sets: tuple[str, ...], allow_outside: bool, parse_set: Any) -> list[dict[str, Any]]:
    """The options of the dataset as layers of a configuration; --set may name nothing else."""
    layers = [parse_set(each) for each in sets]
    other = sorted({key for layer in layers for key in layer} - {"data"})
    if other:
        raise UsageError(f"zoo data takes --set data.OPTION=VALUE only, not {', '.join(other)}.")
    return [*layers, {"data": {"allow_outside": True}}] if allow_outside else layers


def _summary(films: Films) -> dict[str, Any]:
    store = films.store
    reasons = films.set_aside["reason"].value_counts()
    held = sum(file.stat().st_size for file in store.path.iterdir())
    return {
        "store": str(store.path),
        "films": len(store.films),
        "image_size": store.size,
        "bytes": held,
        "task": films.task.kind,
        "labels": list(films.task.labels),
        "split": {name: int((films.table["split"] == name).sum()) for name in ("train", "val", "test")},
        "official_split": films.official_split,
        "normalised": int((store.films["note"] != "").sum()),
        "set_aside": {str(reason): int(count) for reason, count in reasons.items()},
    }


def _print_summary(found: dict[str, Any]) -> None:
    aside = found["set_aside"]
    click.echo(
        f"Prepared: {found['films']:,} films at {found['image_size']}×{found['image_size']}, "
        f"{found['bytes'] / 1e6:,.1f} MB, in {found['store']}"
    )
    click.echo(f"Set aside: {sum(aside.values()):,} films")
    for reason, count in aside.items():
        click.echo(f"  {count:>7,}  {reason}")
    if aside:
        click.echo("Those that could not be read are named in films.csv there, column reason.")


@data.command()
@DATA
@ROOT
@SETS
@OUTSIDE
@AS_JSON
def verify(data: str | None, root: Path | None, sets: tuple[str, ...], allow_outside: bool, as_json: bool) -> None:
    """Compare all prepared pixels with their checksums. Exit code 1 when any are damaged.

    Without options everything in the cache is checked; --data narrows it to a dataset, --root to the films there as they are
    now. What is damaged is prepared again by the next command that needs it, and what is whole is kept.

    \b
    zoo data verify
    zoo data verify --data nih --root DIR
    """
    catalogue.warn()
    from zoo.config import merge, parse_set
    from zoo.data.inventory import check, find
    from zoo.data.store import default_cache
    from zoo.progress import Progress
    from zoo.registry import registry

    records = None
    options = merge(_dataset_options(sets, allow_outside, parse_set))
    if data is None and (root is not None or options):
        raise UsageError("--root and --set say where a dataset lies: name it with --data.")
    if data is not None and (root is not None or not registry().get("dataset", data).info.needs_root):
        from zoo.data.pipeline import with_writable_names
        from zoo.engine.evaluate import parse_data

        choice = parse_data(data, root, options, registry())
        records = with_writable_names(registry().get("dataset", data).read(root, choice.options))
    folders = find(default_cache(), data, records)
    if not folders and data is not None:
        where = f" of {root}" if root else ""
        raise DataError(f"no prepared films{where} in {default_cache()}. {_command(data, root)} prepares them.")
    results = []
    with Progress("Verifying", len(folders), unit="stores") as progress:
        for folder in folders:
            results.append(check(folder))
            progress.advance(1)
    _report(results, root, as_json)


def _report(results: list[Checked], root: Path | None, as_json: bool) -> None:
    damaged = [each for each in results if each.damage]
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in results], indent=2, allow_nan=False))
    elif not results:
        from zoo.data.store import default_cache

        click.echo(f"Nothing is prepared in {default_cache()}.")
    else:
        for each in results:
            click.echo(f"{each.path}: {each.words()}")
    for each in damaged:
        click.echo(f"To mend {each.path.name}: {_command(each.name, root)} --image-size {each.size}", err=True)
    if damaged:
        raise click.exceptions.Exit(1)


def _command(name: str, root: Path | None) -> str:
    from zoo.registry import registry

    needs_root = name not in registry().names("dataset") or registry().get("dataset", name).info.needs_root
    return f"zoo data prepare --data {name}" + (f" --root {root or 'DIR'}" if needs_root else "")


def _say(line: str) -> None:
    click.echo(line, err=True)
