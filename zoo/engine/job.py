"""What one process has to do for a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.config.run_config import RunConfig
from zoo.core.observers import Observer
from zoo.core.registry import Registry
from zoo.data.pipeline import ImageSet
from zoo.runs.run import Run

if TYPE_CHECKING:
    from zoo.engine.changes import Changes
    from zoo.engine.process_group import ProcessGroup

# what a higher package adds to a trained run, from its network, images, run and batch size
Finish = Callable[[Any, ImageSet, Run, int], None]


@dataclass(frozen=True)
class Job:
    """One process's work on a run: all of it, or with `changes` what earlier processes left.

    The other fields are the arguments of `zoo.engine.train.train`.
    """

    run: Run
    config: RunConfig
    registry: Registry
    finish: Finish | None = None
    checkpoint_every: int | None = None
    changes: Changes | None = None
    group: ProcessGroup | None = None
    observers: Sequence[Observer] = ()
    check: Callable[[ImageSet], None] | None = None
