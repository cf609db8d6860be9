"""Resuming a run that was interrupted, killed or failed: `zoo train --resume RUN`."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.config.resolve import read_file, resolve
from zoo.config.run_config import RunConfig
from zoo.core.errors import UsageError
from zoo.core.observers import Observer
from zoo.core.registry import Registry
from zoo.engine.changes import Changes, changed_software, software
from zoo.engine.devices import split_cpu
from zoo.engine.job import Finish, Job
from zoo.engine.train import Outcome, carry_out
from zoo.runs.missing import demand_plugins
from zoo.runs.run import Run

if TYPE_CHECKING:
    from zoo.engine.process_group import ProcessGroup

logger = logging.getLogger(__name__)


def resume(
    run: Run,
    registry: Registry,
    *,
    finish: Finish | None,
    checkpoint_every: int | None = None,
    allow_changed: bool = False,
    devices: str | int | None = None,
    group: ProcessGroup | None = None,
    observers: Sequence[Observer] = (),
) -> Outcome:
    """Finish a run with its own configuration. On a CPU the result is, bit for bit, that of a run never interrupted.

    A run killed before its first checkpoint starts from the beginning, one killed after its training only evaluates.

    Args:
        run: the run.
        registry: where its strategies are.
        finish: as for `train`.
        checkpoint_every: steps between checkpoints; as the run was started with if None.
        allow_changed: go on although images, software, devices or initial weights have changed since the run began.
        devices: other devices than those of the configuration, as its setting `devices`.
        group: where several hosts train, this one, which must be the first of them (`zoo.engine.hosts`).
        observers: told of the start, of every epoch and of the end.

    Raises:
        Pruned: an observer gave it up; the run is kept with the status "pruned".
        UsageError: the run is finished, or something changed and that is not allowed.
        ZooError: another process trains the run, or anything that `zoo.engine.train.train` raises; the run is kept.
        Interrupted: as for `train`.
    """
    with run.locked():
        info = run.info()
        if info.get("status") == "complete":
            raise UsageError(
                f"the run {run.name} is finished. See it with 'zoo evaluate {run.reference}'; repeat it with "
                f"'zoo train --config {run.path / 'config.yaml'}'."
            )
        config = configuration(run, registry, devices)
        split_cpu(config.settings.devices)
        changes, versions = Changes(allow_changed), software(config, registry)
        changes.accept(changed_software(info.get("versions", {}), versions))
        logger.info(f"Resuming the run {run.name} (it was {info.get('status')})")
        clear_partial(run.path)
        every = checkpoint_every or info.get("checkpoint_every")
        resumed = [*info.get("resumed", []), time.strftime("%Y-%m-%dT%H:%M:%S%z")]
        run.update_info(versions=versions, checkpoint_every=every, resumed=resumed)
        return carry_out(Job(run, config, registry, finish, every, changes, group, observers))


def configuration(run: Run, registry: Registry, devices: str | int | None = None) -> RunConfig:
    """The configuration that a run was started with, on other devices where some are named.

    Raises:
        ZooError: a plugin that it was trained with is not installed.
    """
    demand_plugins(run, registry)
    layers = [read_file(run.path / "config.yaml")]
    if devices is not None:
        layers.append({"device": "auto", "devices": devices})
    return resolve(layers, registry)


def clear_partial(folder: Path) -> None:
    """Remove half-written files that killed processes left; the lock says that none is at work."""
    for left in folder.rglob(".partial-*"):
        left.unlink(missing_ok=True)
