"""Loads the plugins: every entry point of the group `zoo` on its own, so that a broken one affects no other."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pluggy

from zoo.core import hookspecs

GROUP = "zoo"
OWN_DISTRIBUTION = "cxr-zoo"


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: its entry-point name, distribution and version."""

    plugin: str
    distribution: str = "?"
    version: str = "?"

    def __str__(self) -> str:
        return f"{self.plugin} ({self.distribution} {self.version})"


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
            manager.register(entry_point.load(), name=key)
            manager.check_pending()
        except (Exception, SystemExit) as error:  # a faulty plugin must not end the command
            if manager.has_plugin(key):
                manager.unregister(name=key)
            failures.append(Failure(origin, describe(error)))
        else:
            origins[key] = origin
    return Plugins(manager, origins, tuple(failures))


def describe(error: BaseException) -> str:
    """One line for an error: its type and message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _identifier() -> Callable[[importlib.metadata.EntryPoint], Origin]:
    """A function that names an entry point's origin and reads each distribution's metadata only once."""
    known: dict[int, tuple[str, str]] = {}

    def identify(entry_point: importlib.metadata.EntryPoint) -> Origin:
        distribution = entry_point.dist
        if distribution is None:
            return Origin(entry_point.name)
        if id(distribution) not in known:
            metadata = distribution.metadata  # parsed anew at each access
            known[id(distribution)] = (metadata["Name"], metadata["Version"])
        return Origin(entry_point.name, *known[id(distribution)])

    return identify


def _order(origin: Origin) -> tuple[bool, str, str]:
    return (origin.distribution != OWN_DISTRIBUTION, origin.distribution, origin.plugin)
