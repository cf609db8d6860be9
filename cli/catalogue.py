"""Which commands there are: the built-in ones, imported only when they run, and those that plugins add."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from zoo.core.manager import Failure

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Builtin:
    """A built-in command: where it is defined, and the line `zoo --help` shows without importing it."""

    target: str  # "module:attribute"
    summary: str

    def load(self) -> click.Command:
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


BUILTINS: dict[str, Builtin] = {
    "train": Builtin("zoo.cli.train:train", "Train a model and evaluate it on validation and test images."),
    "sweep": Builtin(
        "zoo.cli.sweep:sweep", "Train many configurations, as a grid or a search, and rank them in one table."
    ),
    "ensemble": Builtin(
        "zoo.cli.ensemble:ensemble",
        "Combine finished runs into a new run that averages their probabilities or trains a head on their features.",
    ),
    "evaluate": Builtin("zoo.cli.evaluate:evaluate", "Show the metrics of a run with 95% confidence intervals."),
    "compare": Builtin(
        "zoo.cli.compare:compare", "Rank runs on the same images and test which of them differ significantly."
    ),
    "readers": Builtin(
        "zoo.cli.readers:readers",
        "Evaluate a reader study: agreement, modalities (MRMC), and a run against the readers.",
    ),
    "plan": Builtin("zoo.cli.plan:plan", "Plan an evaluation: how many images and patients it needs."),
    "explain": Builtin(
        "zoo.cli.explain:explain", "Draw heat maps that show which parts of an image a run's predictions come from."
    ),
    "report": Builtin("zoo.cli.report:report", "Write a run's report as one HTML page and its model card."),
    "predict": Builtin("zoo.cli.predict:predict", "Predict the findings of a run in image files."),
    "export": Builtin(
        "zoo.cli.export:export",
        "Export a run as one file that takes raw gray images of any size and returns calibrated probabilities.",
    ),
    "serve": Builtin("zoo.cli.serve:serve", "Serve one or several runs as a web page and a REST API."),
    "data": Builtin("zoo.cli.data:data", "Explore, audit, download, prepare, export and verify datasets."),
    "plugin": Builtin("zoo.cli.plugin:plugin", "Create a plugin package, or check a plugin."),
    "list": Builtin("zoo.cli.list:list_", "List what you can choose from, and the plugin each entry comes from."),
    "info": Builtin(
        "zoo.cli.info:info",
        "Show everything known about a model, loss, augmenter, dataset, recipe or tracker, all settings of a training, or limits.",
    ),
}


def plugin_commands() -> dict[str, click.Command]:
    """The commands that plugins add; one that would replace a built-in is left out (see `failures`)."""
    from zoo.core.registry import registry

    return {name: command for name, command in registry().commands.items() if name not in BUILTINS}


def failures() -> tuple[Failure, ...]:
    """Everything of the installed plugins that could not be used, and why."""
    from zoo.core.manager import Failure
    from zoo.core.registry import registry

    refused = [
        Failure(registry().command_origin(name), f"the command '{name}' is built in and cannot be replaced")
        for name in registry().commands
        if name in BUILTINS
    ]
    return (*registry().failures, *refused)


def warn() -> None:
    """Log a warning for each failure of a plugin."""
    for failure in failures():
        logger.warning(str(failure))
