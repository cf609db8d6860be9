"""`zoo data`: explore, audit, download, prepare, export and verify datasets."""

from __future__ import annotations

import click

from zoo.cli.catalogue import Builtin
from zoo.cli.groups import LazyGroup

COMMANDS = {
    "prepare": Builtin(
        "zoo.cli.data.prepare:prepare", "Read a dataset, prepare its images for training, and audit its split."
    ),
    "explore": Builtin(
        "zoo.cli.data.explore:explore", "Explore a dataset: labels, patients, pixels and what is missing."
    ),
    "audit": Builtin(
        "zoo.cli.data.audit:audit", "Find leaks, duplicates and contradictions; write a table without them."
    ),
    "verify": Builtin("zoo.cli.data.verify:verify", "Compare all prepared pixels with their checksums."),
    "export": Builtin(
        "zoo.cli.data.export:export",
        "Write the prepared images of a dataset, with all findings and metadata, as TFRecord files.",
    ),
    "download": Builtin(
        "zoo.cli.data.download:download", "Download NAME by kagglehub, or unpack archives of it that you have."
    ),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def data() -> None:
    """Explore, audit or download a dataset; prepare, export or verify its images."""
