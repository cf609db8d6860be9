"""Conformance checks of recipes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from zoo.core.contracts import Recipe
from zoo.testing.suite import Checks, Result, carried_out, check_info, demand

if TYPE_CHECKING:
    from zoo.core.registry import Registry


def check_recipe(recipe: Recipe, registry: Registry | None = None) -> None:
    """Check that a recipe is a valid configuration of registered strategies, for each of the tasks it names.

    Args:
        recipe: the recipe.
        registry: where its strategies are; that of all installed plugins where None.

    Raises:
        AssertionError: the recipe fails a check; the message says which and why.
    """
    demand(recipe_results(recipe, registry))


def recipe_results(recipe: Recipe, registry: Registry | None = None) -> Iterator[Result]:
    """The result of every check, one by one."""
    return carried_out(recipe, _checks(recipe, registry))


def _checks(recipe: Recipe, registry: Registry | None) -> Checks:
    checks: dict[str, Callable[[], None]] = {"info": partial(check_info, recipe)}
    for kind in recipe.info.tasks:
        checks[f"{kind} configuration"] = partial(_check_configuration, recipe, kind, registry)
    return checks


def _check_configuration(recipe: Recipe, kind: str, registry: Registry | None) -> None:
    from zoo.config.resolve import merge, resolve
    from zoo.core.errors import UsageError
    from zoo.core.registry import registry as installed

    known, name = registry or installed(), recipe.info.name
    fixed = recipe.config.get("task", kind)
    assert fixed == kind, f"{name}: info.tasks names {kind}, but the configuration fixes {fixed}"
    layers = [recipe.config, {"task": kind}]
    data = merge(layers).get("data", {}).get("name")
    if data in known.names("dataset") and known.get("dataset", data).info.needs_root:
        layers.append({"data": {"root": "."}})
    with tempfile.NamedTemporaryFile(suffix=".weights.h5") as weights:
        if merge(layers).get("freeze") and "weights" not in recipe.config:
            layers.append({"weights": weights.name})  # what it leaves to the user
        try:
            resolve(layers, known)
        except UsageError as error:
            raise AssertionError(f"{name}: {error}") from error


__all__ = ["check_recipe", "recipe_results"]
