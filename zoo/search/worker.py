"""One trial in a child process: receives a job from the sweep, trains it and reports its result."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.config.resolve import resolve
from zoo.core.calls import describe
from zoo.core.errors import ZooError
from zoo.core.logs import shown
from zoo.core.observers import Observer, Pruned
from zoo.core.processes import Channel
from zoo.core.registry import registry
from zoo.engine.signals import Interrupted
from zoo.engine.tracking import observers
from zoo.runs.run import Run

PATIENCE_S = 30.0  # to wait for the process of a sweep that was just killed


class Pruner(Observer):
    """Asks the sweep after every epoch but the last whether to continue the trial."""

    def __init__(self, sweep: Channel) -> None:
        self._sweep, self._last = sweep, 0

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        self._last = config["epochs"] + (config["freeze_epochs"] if config["freeze"] else 0)
        for row in rows:  # of an earlier process, which may not have asked
            self.on_epoch(row)

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        if row["epoch"] >= self._last:
            return
        self._sweep.send({"epoch": dict(row)})
        if not self._sweep.receive():
            raise Pruned(f"pruned after epoch {row['epoch']}")


def work(job: Mapping[str, Any], observers: Sequence[Observer]) -> None:
    """Train the job's run, or the rest of it if it was begun.

    Raises:
        ZooError, Interrupted, Pruned: as `zoo.inference.training.train` and `resume`.
    """
    from zoo.inference.training import resume, train

    run, every = Run(Path(job["runs_dir"]) / job["run"]), job["checkpoint_every"]
    if run.path.exists():
        _await(run)
    if (run.path / "config.yaml").is_file():
        if run.info().get("status") != "complete":
            resume(run, registry(), checkpoint_every=every, observers=observers)
        return
    if run.path.exists():  # killed before there was anything to resume from
        shutil.rmtree(run.path)
    config = resolve([job["config"]], registry())
    train(config, registry(), run.path.parent, run.name, checkpoint_every=every, observers=observers)


def _await(run: Run) -> None:
    """Wait for the process of a killed sweep to end. If it does not, the training raises the error."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with run.locked():
                return
        except ZooError:
            time.sleep(0.1)


def main(sweep: Channel) -> int:
    """Run the job that the sweep sends.

    Returns:
        The exit code: 0 if the run is complete or pruned.
    """
    job = sweep.receive()
    with shown(job["level"]):
        return _carry_out(job, sweep)


def _carry_out(job: Mapping[str, Any], sweep: Channel) -> int:
    """Run the job, report its result and return the exit code."""
    try:
        trackers = observers(job["track"], registry())
        work(job, [*trackers, Pruner(sweep)] if job["prune"] else trackers)
    except Pruned as pruned:
        return _report(sweep, "pruned", str(pruned))
    except Interrupted as stop:
        return _report(sweep, "interrupted", str(stop), stop.exit_code)
    except ZooError as error:
        return _report(sweep, "failed", str(error), 1)
    except Exception as error:
        Path(job["log"]).write_text(traceback.format_exc(), encoding="utf-8")
        return _report(sweep, "failed", describe(error), 1)
    return _report(sweep, "complete")


def _report(sweep: Channel, status: str, reason: str = "", code: int = 0) -> int:
    sweep.send({"status": status, "reason": reason})
    return code
