"""The registry: every strategy and recipe by name, with the plugin it comes from."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.core import manager
from zoo.core.calls import PluginError, stdout_to_stderr
from zoo.core.calls import describe as describe_error
from zoo.core.composition import SEPARATOR, Composition, part_names
from zoo.core.contracts import Augmenter, Dataset, Info, Loss, Model, NoOptions, Recipe, Strategy, Tracker
from zoo.core.errors import unknown
from zoo.core.manager import Failure, Plugins
from zoo.core.options import OptionInfo, UnreadableOptions, describe
from zoo.core.origins import Origin

if TYPE_CHECKING:
    import click

# kind -> (hook, class its entries must be of)
KINDS: dict[str, tuple[str, type]] = {
    "model": ("zoo_models", Model),
    "loss": ("zoo_losses", Loss),
    "augmenter": ("zoo_augmenters", Augmenter),
    "dataset": ("zoo_datasets", Dataset),
    "recipe": ("zoo_recipes", Recipe),
    "tracker": ("zoo_trackers", Tracker),
}
PLURALS = {kind: "losses" if kind == "loss" else f"{kind}s" for kind in KINDS}


_ORIGIN = ("plugin", "distribution", "version")


@dataclass(frozen=True)
class Entry:
    """One registered strategy or recipe and its origin; `parts` are those of a composition."""

    kind: str
    strategy: Any
    origin: Origin
    parts: tuple[Entry, ...] = ()

    @property
    def name(self) -> str:
        return str(self.strategy.info.name)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """The plugins it comes from: for a composition those of its parts."""
        return tuple(dict.fromkeys(part.origin for part in self.parts)) or (self.origin,)

    def options(self) -> list[OptionInfo]:
        """Its options.

        Raises:
            PluginError: their annotations cannot be resolved.
        """
        try:
            return describe(getattr(self.strategy, "Options", NoOptions))
        except UnreadableOptions as error:
            raise PluginError(
                f"the {self.kind} '{self.name}' of plugin {self.origin} cannot be used: {error}"
            ) from error


class Registry:
    """All registered names, by kind. Names are unique within a kind; a second plugin that uses one is refused."""

    def __init__(self, plugins: Plugins) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self._commands: dict[str, tuple[click.Command, Origin]] = {}
        self.origins = tuple(plugins.origins.values())
        self._failures = list(plugins.failures)
        for kind, (hook, cls) in KINDS.items():
            for strategy, origin in self._collect(plugins, hook):
                self._add(kind, cls, strategy, origin)
        for command, origin in self._collect(plugins, "zoo_commands"):
            self._add_command(command, origin)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Plugins that failed to load, and names that were refused."""
        return tuple(self._failures)

    @property
    def commands(self) -> dict[str, click.Command]:
        """Extra commands that plugins add, by name."""
        return {name: command for name, (command, _) in self._commands.items()}

    def command_origin(self, name: str) -> Origin:
        """Which plugin added a command."""
        return self._commands[name][1]

    def names(self, kind: str) -> list[str]:
        """The registered names of a kind, in order of registration."""
        return list(self._entries[kind])

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """All entries, or those of one kind."""
        for each in KINDS if kind is None else (kind,):
            yield from self._entries[each].values()

    def entry(self, kind: str, name: str) -> Entry:
        """The entry registered under a name; for augmenters joined by + a composition.

        Raises:
            UsageError: the name is unknown; gives the closest match and the plugins that failed to load.
        """
        found = self._entries[kind].get(name)
        if found is None and kind == "augmenter" and SEPARATOR in name:
            return _composed([self.entry(kind, each) for each in part_names(name)])
        if found is None:
            raise unknown(kind, name, self._entries[kind], self._hint(f"See 'zoo list {PLURALS[kind]}'."))
        return found

    def get(self, kind: str, name: str) -> Any:
        """The strategy registered under a name; raises as `entry` does."""
        return self.entry(kind, name).strategy

    def find(self, name: str) -> list[Entry]:
        """Every entry of that name, whatever its kind.

        Raises:
            UsageError: no kind has it.
        """
        found = [entries[name] for entries in self._entries.values() if name in entries]
        if not found and SEPARATOR in name:
            return [self.entry("augmenter", name)]
        if not found:
            known = {n for entries in self._entries.values() for n in entries}
            raise unknown("name", name, known, self._hint("See 'zoo list'."))
        return found

    def _hint(self, then: str) -> str:
        failed = "; ".join(str(each) for each in self._failures)
        return f"{then} Not everything could be loaded: {failed}" if failed else then

    def including(self, entry: Entry) -> Registry:
        """A copy with one more strategy, for those that are built from files of the user instead of a plugin."""
        other = copy.copy(self)
        other._entries = {kind: dict(entries) for kind, entries in self._entries.items()}
        other._entries[entry.kind][entry.name] = entry
        return other

    def _collect(self, plugins: Plugins, hook: str) -> Iterator[tuple[Any, Origin]]:
        """Call a hook plugin by plugin, so that one that raises takes down only itself."""
        caller = getattr(plugins.manager.hook, hook)
        for origin_key, origin in plugins.origins.items():
            for implementation in caller.get_hookimpls():
                if implementation.plugin_name != origin_key:
                    continue
                try:
                    with stdout_to_stderr():
                        items = list(implementation.function())
                except (Exception, SystemExit) as error:  # as for imports
                    self._failures.append(Failure(origin, f"{hook}() raised {describe_error(error)}"))
                    continue
                for item in items:
                    yield item, origin

    def _add(self, kind: str, cls: type, strategy: Any, origin: Origin) -> None:
        hook, info = KINDS[kind][0], getattr(strategy, "info", None)
        if not isinstance(strategy, cls):
            cause = f"{hook}() returned {strategy!r}, which is not an instance of zoo.{cls.__name__}"
        elif not isinstance(info, Info):
            cause = f"{hook}() returned {type(strategy).__name__} with {info!r} as info, not a zoo.Info"
        elif taken := self._entries[kind].get(info.name):
            cause = (
                f"the {kind} '{info.name}' is already registered by plugin {taken.origin}; the second one is refused"
            )
        else:
            self._entries[kind][info.name] = Entry(kind, strategy, origin)
            if isinstance(strategy, Strategy):
                with suppress(AttributeError):  # of a class with slots, whose errors then go without the plugin's name
                    object.__setattr__(strategy, "origin", origin)
            return
        self._failures.append(Failure(origin, cause))

    def _add_command(self, command: Any, origin: Origin) -> None:
        name = getattr(command, "name", None)
        if not name or not hasattr(command, "make_context"):  # click is not imported here: listing does not need it
            cause = f"zoo_commands() returned {command!r}, which is not a click command"
        elif name in self._commands:
            taken = self._commands[name][1]
            cause = f"the command '{name}' is already registered by plugin {taken}; the second one is refused"
        else:
            self._commands[name] = (command, origin)
            return
        self._failures.append(Failure(origin, cause))


def _composed(parts: list[Entry]) -> Entry:
    """One entry for several augmenters, from all the plugins that they come from."""
    strategy = Composition([part.strategy for part in parts])
    origins = [part.origin for part in parts]
    origin = Origin(*(", ".join(dict.fromkeys(getattr(o, name) for o in origins)) for name in _ORIGIN))
    return Entry("augmenter", strategy, origin, tuple(parts))


@functools.cache
def registry() -> Registry:
    """The registry of all installed plugins, built once."""
    return Registry(manager.load())


def kind_of(word: str) -> str:
    """Turn 'models', 'model', 'losses' … into the kind; raises UsageError for anything else."""
    for kind, plural in PLURALS.items():
        if word in (kind, plural):
            return kind
    raise unknown("kind", word, PLURALS.values(), "See 'zoo list'.")
