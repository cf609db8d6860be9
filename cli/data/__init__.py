"""`zoo data`: datasets looked at, audited, downloaded, prepared, exported and checked."""

from __future__ import annotations

import click

from zoo.cli.catalogue import Builtin
from zoo.cli.groups import LazyGroup

COMMANDS = {
    "prepare": Builtin(
        "zoo.cli.data.prepare:prepare", "Decode and resize a dataset's images for training, and check its split."
    ),
    "explore": Builtin(
        "zoo.cli.data.explore:explore", "Explore a dataset: labels, patients, pixels and what is missing."
    ),
    "audit": Builtin("zoo.cli.data.audit:audit", "Find leaks, duplicates and contradictions; write a cleaned table."),
    "verify": Builtin("zoo.cli.data.verify:verify", "Check prepared images against their checksums."),
    "export": Builtin(
        "zoo.cli.data.export:export",
        "Write a dataset's prepared images, labels and patient data as TFRecord files.",
    ),
    "download": Builtin(
        "zoo.cli.data.download:download", "Download a dataset from Kaggle, or unpack archives you already have."
    ),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def data() -> None:
    """Explore, audit, download, prepare, export and verify datasets."""
