"""Loads the plugins: every entry point of the group `zoo` on its own, so that a broken one affects no other."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from zoo.core import hookspecs
from zoo.core.calls import describe, stdout_to_stderr
from zoo.core.origins import Origin

GROUP = "zoo"


@dataclass(frozen=True)
class Failure:
    """Why a plugin could not be loaded or used, or one of its names was refused."""

    origin: Origin
    cause: str

    def __str__(self) -> str:
        return f"plugin {self.origin}: {self.cause}"


@dataclass(frozen=True)
class Plugins:
    """The loaded plugins with their origins, and the failures."""

    manager: pluggy.PluginManager
    origins: dict[str, Origin]
    failures: tuple[Failure, ...]


def load(entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> Plugins:
    """Load all plugins of the group `zoo`, or the given entry points. Built-ins come first, the rest by name."""
    found = list(importlib.metadata.entry_points(group=GROUP) if entry_points is None else entry_points)
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(hookspecs)
    origins: dict[str, Origin] = {}
    failures: list[Failure] = []
    identify = _identifier()
    for entry_point, origin in sorted(((e, identify(e)) for e in found), key=lambda pair: _order(pair[1])):
        key = f"{origin.distribution}:{origin.plugin}"
        if key in origins:  # the same distribution seen twice on sys.path
            continue
        try:
            with stdout_to_stderr():
                module = entry_point.load()
            manager.register(module, name=key)
            manager.check_pending()
        except (Exception, SystemExit) as error:  # a faulty plugin must not end the command
            if manager.has_plugin(key):
                manager.unregister(name=key)
            failures.append(Failure(origin, describe(error)))
        else:
            origins[key] = origin
            failures += [Failure(origin, cause) for cause in _unmarked(manager, module, key)]
    return Plugins(manager, origins, tuple(failures))


def _unmarked(manager: pluggy.PluginManager, module: Any, key: str) -> list[str]:
    """Functions that have the name of a hook and are none: pluggy passes over them in silence."""
    hooks = [name for name in vars(hookspecs) if name.startswith("zoo_")]
    marked = {each.name for each in manager.get_hookcallers(manager.get_plugin(key)) or ()}
    return [
        f"{name}() lacks the decorator @hookimpl, so that nothing of it is registered (from zoo import hookimpl)"
        for name in hooks
        if callable(getattr(module, name, None)) and name not in marked
    ]


def _identifier() -> Callable[[importlib.metadata.EntryPoint], Origin]:
    """A function that names an entry point's origin and reads each distribution's metadata only once."""
    known: dict[int, tuple[str, str]] = {}

    def identify(entry_point: importlib.metadata.EntryPoint) -> Origin:
        distribution = entry_point.dist
        if distribution is None:
            return Origin(entry_point.name, module=entry_point.module)
        if id(distribution) not in known:
            metadata = distribution.metadata  # parsed anew at each access
            known[id(distribution)] = (metadata["Name"], metadata["Version"])
        return Origin(entry_point.name, *known[id(distribution)], entry_point.module)

    return identify


def _order(origin: Origin) -> tuple[bool, str, str]:
    return (not origin.own, origin.distribution, origin.plugin)
