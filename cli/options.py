"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path

import click

RUNS_DIR = click.option(
    "--runs-dir",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    metavar="DIR",
    help="Folder of runs.",
)
TRACK = click.option(
    "--track",
    multiple=True,
    metavar="NAME[=PLACE]",
    help="Tell a tracker of each epoch and of the results: tensorboard, mlflow, mlflow=URI.  zoo list trackers",
)
PREVALENCE = click.option(
    "--prevalence", type=float, metavar="P", help="Predictive values also where this share has the finding."
)
LABELS = click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A CSV with a second reference, such as expert labels.",
)
WHERE = click.option(
    "--where", metavar="CONDITION", help="Keep the films that satisfy it, such as \"view == 'PA' and age >= 18\"."
)
FINDINGS = click.option(
    "--findings", metavar="NAMES", help="Keep these findings, separated by commas, as labels or classes [default: all]."
)
