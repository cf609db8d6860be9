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
    "train": Builtin("zoo.cli.train:train", "Train a network and evaluate it on validation and test images."),
    "sweep": Builtin(
        "zoo.cli.sweep:sweep", "Train every combination of some settings, or search among them, and show one table."
    ),
    "ensemble": Builtin(
        "zoo.cli.ensemble:ensemble",
        "Join finished runs (names or paths) into a new run: one network that takes an image and asks all of them.",
    ),
    "evaluate": Builtin("zoo.cli.evaluate:evaluate", "Show the results of RUN (a name or a path) with 95% intervals."),
    "compare": Builtin(
        "zoo.cli.compare:compare", "Rank runs on the same images and say which of them the data can tell apart."
    ),
    "explain": Builtin(
        "zoo.cli.explain:explain",
        "Show where in an image the answer of RUN comes from, and score the maps against radiologists' boxes.",
    ),
    "report": Builtin(
        "zoo.cli.report:report",
        "Write RUN (a name or a path) as one page, report.html, and as a model card, model-card.md.",
    ),
    "predict": Builtin(
        "zoo.cli.predict:predict",
        "Say what RUN sees in images: PNG, JPEG, DICOM and other images, folders of them, patterns, and - for a list of names on "
        "standard input.",
    ),
    "export": Builtin(
        "zoo.cli.export:export",
        "Write RUN as one file that takes raw gray images of any size and gives calibrated probabilities.",
    ),
    "serve": Builtin(
        "zoo.cli.serve:serve",
        "Open a page, and a REST interface, where an image is dropped and RUN answers; several runs side by side.",
    ),
    "data": Builtin(
        "zoo.cli.data:data",
        "Look at a dataset, audit it, download, prepare or export its images, or check what is prepared.",
    ),
    "plugin": Builtin(
        "zoo.cli.plugin:plugin",
        "Start a plugin, or check one: what the built-in strategies have to pass, anyone's have to.",
    ),
    "list": Builtin("zoo.cli.list:list_", "List what can be chosen and which plugin it comes from."),
    "info": Builtin("zoo.cli.info:info", "Show everything known about a model, loss, augmenter, dataset or recipe."),
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
