"""`zoo data`: datasets looked at, audited, downloaded, prepared, exported and checked."""

from __future__ import annotations

import click

from zoo.cli.catalogue import Builtin
from zoo.cli.groups import LazyGroup

COMMANDS = {
    "prepare": Builtin(
        "zoo.cli.data.prepare:prepare", "Read a dataset, prepare its images for training, and audit its split."
    ),
    "explore": Builtin(
        "zoo.cli.data.explore:explore", "Look at a dataset: labels, people, pixels and what is missing."
    ),
    "audit": Builtin("zoo.cli.data.audit:audit", "Find leaks, duplicates and contradictions; write a table without."),
    "verify": Builtin("zoo.cli.data.verify:verify", "Compare all prepared pixels with their checksums."),
    "export": Builtin(
        "zoo.cli.data.export:export",
        "Write a dataset's prepared images, with all findings and what is known of the patients, as TFRecord files.",
    ),
    "download": Builtin(
        "zoo.cli.data.download:download", "Download NAME by kagglehub, or unpack archives of it that you have."
    ),
}


@click.command(cls=LazyGroup, builtins=COMMANDS)
def data() -> None:
    """Look at a dataset, audit it, download, prepare or export its images, or check what is prepared."""
