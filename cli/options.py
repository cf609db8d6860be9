"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from zoo.core.thresholds import ThresholdRule

Command = TypeVar("Command", bound=Callable[..., Any])

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
THRESHOLDS = {
    "threshold": click.option(
        "--threshold", type=float, metavar="P", help="Call positive at this probability or above."
    ),
    "sensitivity": click.option(
        "--sensitivity", type=float, metavar="T", help="Choose thresholds that reach this sensitivity on validation."
    ),
    "specificity": click.option(
        "--specificity", type=float, metavar="T", help="Choose thresholds that reach this specificity on validation."
    ),
    "youden": click.option(
        "--youden", is_flag=True, help="Choose thresholds by sensitivity + specificity on validation."
    ),
    "f1": click.option("--f1", is_flag=True, help="Choose thresholds by F1 on validation."),
}


def threshold_options(command: Command) -> Command:
    """Give a command the rules for thresholds; what they are given is for `chosen_rule`."""
    for each in reversed(THRESHOLDS.values()):
        command = each(command)
    return command


def chosen_rule(values: dict[str, Any]) -> ThresholdRule | None:
    """The one rule that was asked for, if any.

    Raises:
        UsageError: there are several.
    """
    from zoo.core.errors import UsageError
    from zoo.core.thresholds import ThresholdRule

    given = {name: values[name] for name in THRESHOLDS if values[name] not in (None, False)}
    if len(given) > 1:
        raise UsageError(
            f"choose one of {', '.join(f'--{name}' for name in given)}: each is a rule for the thresholds."
        )
    for name, value in given.items():
        rule: Any = "fixed" if name == "threshold" else name
        return ThresholdRule(rule) if value is True else ThresholdRule(rule, value)
    return None
