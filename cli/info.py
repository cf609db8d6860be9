"""`zoo info`: everything known about one name."""

from __future__ import annotations

import os
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import catalogue
from zoo.cli.entries import count_text, option_record, record
from zoo.cli.printing import print_json
from zoo.core import limits
from zoo.core.errors import UsageError
from zoo.core.registry import Entry, registry
from zoo.core.tasks import TASKS
from zoo.core.text import printable

if TYPE_CHECKING:
    from rich.console import Console

TRAIN = "train"  # what shows the settings
LIMITS = "limits"
FACTS = {  # key of the record -> what it is called on the screen
    "summary": "what",
    "tasks": "tasks",
    "parameters": "parameters",
    "image_size": "input",
    "pretrained": "weights",
    "default_weights": "weights",
    "needs_root": "root",
    "layout": "layout",
    "downloads": "zoo data download",
    "licence": "licence",
    "paper": "paper",
}


@click.command("info")
@click.argument("name")
@click.option("--summary", is_flag=True, help="Build the network and print its layers; models only.")
@click.option("--task", type=click.Choice(list(TASKS)), default="binary", show_default=True, help="With --summary.")
@click.option("--image-size", type=click.IntRange(1), help="Pixels, with --summary.  [default: the model's own]")
@click.option(
    "--set", "settings", multiple=True, metavar="model.OPTION=VALUE", help="Option of the model, with --summary."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object for each kind of that name.")
def info(
    name: str,
    summary: bool,
    task: str,
    image_size: int | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show everything known about a model, loss, augmenter, dataset, recipe or tracker, all settings of a training, or limits.

    NAME is any name that 'zoo list' prints, 'train' for the settings, or 'limits' for what a file may claim. Where several
    kinds share a name, all are shown.

    \b
    zoo info mobilenetv3
    zoo info mobilenetv3 --summary --image-size 128
    zoo info train
    zoo info limits
    """
    if name in (TRAIN, LIMITS):
        (_show_settings if name == TRAIN else _show_limits)(as_json)
        return
    entries = registry().find(name)
    catalogue.warn()
    models = [e for e in entries if e.kind == "model"]
    if summary and not models:
        raise UsageError(f"--summary needs a model, and '{name}' is a {entries[0].kind}. See 'zoo list models'.")
    if as_json:
        print_json([record(e) for e in entries])
        return
    console = _console()
    for number, entry in enumerate(entries):
        if number:
            console.print()
        _show(console, entry)
    if summary:
        from zoo.cli.summary import build, layers

        layers(console, build(models[0], task, image_size, settings))


def _show_settings(as_json: bool) -> None:
    """Print every setting of a training."""
    from zoo.config.settings import all_settings

    settings = all_settings()
    options = [option_record(each) for each in settings]
    if as_json:
        print_json([{"kind": "settings", "name": TRAIN, "options": options}])
        return
    console = _console()
    console.print(
        "[bold]train[/bold]  settings of a training: keys of config.yaml, arguments of zoo.train and flags of zoo train"
    )
    _options(console, options)
    only_set = [each.name for each in settings if not each.metadata.get("flag", True)]
    console.print()
    console.print(
        f"  As a flag batch_size is --batch-size, and so on; {', '.join(only_set)} have none: --set NAME=VALUE."
    )
    console.print(
        "  data, model, loss, augment, optimizer and schedule take options too: --set model.alpha=0.75 (zoo info NAME)."
    )


def _show_limits(as_json: bool) -> None:
    """Print every limit on what a file may claim, as it is in force."""
    from rich.table import Table

    limits.check_settings()
    if as_json:
        rows = [
            asdict(each) | {"value": limits.value(each.name), "variable": each.variable}
            for each in limits.TABLE.values()
        ]
        print_json([{"kind": "limits", "name": LIMITS, "limits": rows}])
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title, wrap in (("  variable", False), ("limit", False), ("of", True)):
        table.add_column(title, no_wrap=not wrap, overflow="fold")
    for each in limits.TABLE.values():
        table.add_row(f"  {each.variable}", limits.quantity(limits.value(each.name), each.unit), each.bounds)
    console = _console()
    console.print("[bold]limits[/bold]  what a file may claim; an environment variable replaces the default\n")
    console.print(table)


def _console() -> Console:
    """A console as wide as the terminal, or as COLUMNS says; 100 columns in a pipe, where nothing is coloured."""
    from zoo.cli.terminal import TableConsole

    return TableConsole(highlight=False, width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 100)


def _show(console: Console, entry: Entry) -> None:
    from rich.markup import escape
    from rich.table import Table

    from zoo.report.cells import Lines

    plain = record(entry)
    console.print(f"[bold]{escape(entry.name)}[/bold]  {entry.kind}, plugin {escape(str(entry.origin))}")
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for key, title in FACTS.items():
        if text := _fact(key, plain):
            facts.add_row(f"  {title}", Lines(printable(text, keep="\n")))
    console.print(facts)
    if entry.kind == "recipe":
        _configuration(console, plain["config"])
    elif plain["options"]:
        _options(console, plain["options"])
    console.print()
    console.print(f"  [dim]example[/dim]  {escape(example(entry))}", soft_wrap=True)


def _fact(key: str, plain: dict[str, Any]) -> str:
    """One fact as text; empty where there is nothing to say."""
    value = plain.get(key)
    if key == "needs_root" and value is not None:
        return "--root, the folder with the layout below" if value else "none needed"
    if key == "parameters" and value is not None:
        return f"{value:,} ({count_text(value)}) with one output and default options"
    if key == "image_size" and value is not None:
        least = f", at least {plain['min_image_size']}" if "min_image_size" in plain else ""
        return f"{value} × {value} pixels{least}"
    if isinstance(value, list):
        return ", ".join(value)
    return textwrap.dedent(str(value or "")).strip("\n")


def _options(console: Console, options: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for title, wrap in (("  option", False), ("type", True), ("default", True), ("meaning", True)):
        table.add_column(title, no_wrap=not wrap, overflow="fold")
    for each in options:
        default = (each["none"] or "none") if each["default"] is None else str(each["default"])
        table.add_row(f"  {escape(each['name'])}", escape(each["type"]), escape(default), escape(each["help"]))
    console.print()
    console.print(table)


def _configuration(console: Console, config: dict[str, Any]) -> None:
    import yaml

    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    console.print()
    for line in text.splitlines():
        console.print(f"  {line}", markup=False, soft_wrap=True)


def example(entry: Entry) -> str:
    """A command that uses the entry."""
    tasks = entry.strategy.info.tasks
    task = f" --task {'binary' if 'binary' in tasks else tasks[0]}" if tasks else ""
    match entry.kind:
        case "recipe":
            data = entry.strategy.config.get("data", {}).get("name")
            needs_root = data is not None and registry().get("dataset", data).info.needs_root
            return f"zoo train --recipe {entry.name}" + (" --root FOLDER" if needs_root else "")
        case "model":
            return f"zoo train --model {entry.name}{task}"
        case "dataset":
            root = " --root FOLDER" if entry.strategy.info.needs_root else ""
            return f"zoo train --model mobilenetv3{task} --data {entry.name}{root}"
        case kind:
            flag = {"augmenter": "augment", "tracker": "track"}.get(kind, kind)
            return f"zoo train --model mobilenetv3{task} --{flag} {entry.name}"
