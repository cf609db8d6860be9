"""`zoo plugin new`: the start of a plugin."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.printing import print_line


@click.command()
@click.argument("name")
@click.option(
    "--with",
    "kinds",
    default="model",
    show_default=True,
    metavar="KINDS",
    help="What it adds, separated by commas: model, layer, network, loss, augmenter, dataset, recipe, tracker, command; or all.",
)
@click.option(
    "--dir",
    "parent",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("."),
    show_default=True,
    metavar="DIR",
    help="Folder to write the package into.",
)
def new(name: str, kinds: str, parent: Path) -> None:
    """Write the package zoo-NAME: a plugin with tests that installs, passes the checks and trains as it is.

    \b
    zoo plugin new mine
    zoo plugin new mine --with model,loss --dir ~/src
    """
    from zoo.scaffold import write_plugin

    folder = write_plugin(name, kinds, parent)
    print_line(f"Written: {folder}")
    for file in sorted(each for each in folder.rglob("*") if each.is_file()):
        print_line(f"  {file.relative_to(folder)}")
    print_line("Next:")
    for line in (f"pip install -e {folder}", f"zoo plugin check {folder.name}", f"pytest {folder}"):
        print_line(f"  {line}")
