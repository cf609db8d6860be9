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
    "export": Builtin(
        "zoo.cli.data.export:export",
        "Write a dataset's prepared films, with all findings and what is known of the patients, as TFRecord files.",
    ),
    "download": Builtin(
        "zoo.cli.data.download:download", "Download NAME by kagglehub, or unpack its archives that are here already."
    ),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def data() -> None:
    """Prepare a dataset's films ahead of training, or check what is prepared."""
