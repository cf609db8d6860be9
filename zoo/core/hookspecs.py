"""The hooks of a plugin. Each returns what the plugin adds, and is called only when needed."""

# A specification has no body.
# mypy: disable-error-code="empty-body"
from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from zoo.core.contracts import Augmenter, Dataset, Loss, Model, Recipe, Tracker

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")


@hookspec
def zoo_models() -> Iterable[Model]:
    """Return the models this plugin adds."""


@hookspec
def zoo_losses() -> Iterable[Loss]:
    """Return the losses this plugin adds."""


@hookspec
def zoo_augmenters() -> Iterable[Augmenter]:
    """Return the augmenters this plugin adds."""


@hookspec
def zoo_datasets() -> Iterable[Dataset]:
    """Return the datasets this plugin adds: readers of a published layout."""


@hookspec
def zoo_recipes() -> Iterable[Recipe]:
    """Return the recipes this plugin adds: named, complete configurations."""


@hookspec
def zoo_trackers() -> Iterable[Tracker]:
    """Return the trackers this plugin adds: observers that report a training to another place."""


@hookspec
def zoo_commands() -> Iterable[click.Command]:
    """Return the commands this plugin adds to the `zoo` command line."""
