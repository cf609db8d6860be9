"""`zoo plugin`: for authors of plugins."""

from __future__ import annotations

import click

from zoo.cli.catalogue import Builtin
from zoo.cli.groups import LazyGroup

COMMANDS = {
    "new": Builtin("zoo.cli.plugin.new:new", "Write a package with a plugin that passes the checks at once."),
    "check": Builtin("zoo.cli.plugin.check:check", "Carry out the public checks on a strategy, or on all of a plugin."),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def plugin() -> None:
    """Start a plugin, or check one: what the built-in strategies have to pass, anyone's have to."""
