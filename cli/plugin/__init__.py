"""`zoo plugin`: for authors of plugins."""

from __future__ import annotations

import click

from zoo.cli.catalogue import Builtin
from zoo.cli.groups import LazyGroup

COMMANDS = {
    "new": Builtin("zoo.cli.plugin.new:new", "Write a plugin package that passes the checks as it is."),
    "check": Builtin("zoo.cli.plugin.check:check", "Run the checks of zoo.testing on a plugin or one of its entries."),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def plugin() -> None:
    """Create a plugin package, or check a plugin."""
