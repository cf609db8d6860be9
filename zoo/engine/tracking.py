"""Tracking: reports a training to trackers, and keeps it going when one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.calls import call, describe
from zoo.core.errors import UsageError, ZooError
from zoo.core.observers import Observer, Pruned
from zoo.runs.run import Run

if TYPE_CHECKING:
    from zoo.core.registry import Registry

logger = logging.getLogger(__name__)

RECORDED = "track"  # the key of run.json that --resume reads


@dataclass(frozen=True)
class Tracked:
    """A tracker by name with its target, such as a server; "" is the tracker's default."""

    name: str
    target: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.target}" if self.target else self.name


def parse(names: Sequence[str], registry: Registry) -> list[Tracked]:
    """Read `mlflow` and `mlflow=http://host:5000`.

    Raises:
        UsageError: an unknown tracker, or the same one twice.
    """
    found: list[Tracked] = []
    for word in names:
        name, _, target = word.partition("=")
        registry.get("tracker", name)
        if name in [each.name for each in found]:
            raise UsageError(f"--track names {name} twice; give each tracker once.")
        found.append(Tracked(name, target))
    return found


def observers(names: Sequence[str], registry: Registry) -> list[Observer]:
    """The observers of the trackers named as in `parse`.

    Raises:
        UsageError: an unknown tracker, one named twice, or one whose library is not installed.
    """
    chosen = parse(names, registry)
    built = [_guarded(each, registry) for each in chosen]
    return [Remembered(chosen), *built] if chosen else []


def _guarded(chosen: Tracked, registry: Registry) -> Guarded:
    tracker = registry.get("tracker", chosen.name)
    of_plugin = f" of plugin {tracker.origin}" if tracker.origin and not tracker.origin.own else ""
    return Guarded(f"{chosen}{of_plugin}", call(tracker.build, chosen.target))


class Remembered(Observer):
    """Records the trackers in run.json, so that a resumed run uses them too."""

    def __init__(self, chosen: Sequence[Tracked]) -> None:
        self.chosen = chosen

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        Run(folder).update_info(**{RECORDED: [str(each) for each in self.chosen]})


class Guarded(Observer):
    """A tracker that must start with the training; a later failure is a warning and does not stop the training."""

    def __init__(self, name: str, inner: Observer) -> None:
        self.name, self.inner = name, inner
        self.lost = True  # until it has started

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        try:
            self.inner.on_start(folder, config, rows)
        except ZooError:
            raise
        except Exception as error:
            message = (
                f"the tracker {self.name} cannot start ({describe(error)}). Leave out --track to train without it."
            )
            raise ZooError(message) from error
        self.lost = False

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        self._try(lambda: self.inner.on_epoch(row))

    def on_end(self, status: str) -> None:
        self._try(lambda: self.inner.on_end(status))

    def _try(self, tell: Callable[[], None]) -> None:
        if self.lost:
            return
        try:
            tell()
        except Pruned:
            raise
        except Exception as error:
            self.lost = True
            logger.warning(
                f"the tracker {self.name} failed and is switched off ({describe(error)}). The training continues, and "
                "its folder has everything."
            )
