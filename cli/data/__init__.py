"""`zoo data`: films prepared ahead of training, and what is prepared checked against its checksums."""

from __future__ import annotations

import click

from zoo.cli.catalogue import Builtin
from zoo.cli.groups import LazyGroup

COMMANDS = {
    "prepare": Builtin(
        "zoo.cli.data.prepare:prepare", "Read a dataset, prepare its films for training, and audit its split."
    ),
    "verify": Builtin("zoo.cli.data.verify:verify", "Compare all prepared pixels with their checksums."),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def data() -> None:
    """Prepare a dataset's films ahead of training, or check what is prepared."""
