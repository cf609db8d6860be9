"""Runs the trials of a sweep one after the other, and reads their results."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from zoo.core.errors import ZooError
from zoo.core.text import duration
from zoo.engine.signals import Interrupted
from zoo.runs.run import Run
from zoo.search.folder import Definition, Folder
from zoo.search.process import Execute, Job, Stop, Watch
from zoo.search.space import described
from zoo.search.trials import Trial, measured

logger = logging.getLogger(__name__)


class Runner:
    """Runs trials and logs the progress of the sweep.

    Args:
        folder, definition: of the sweep.
        execute: trains one trial, as `zoo.search.process.Processes` does.
        stop: catches signals to stop.
    """

    def __init__(self, folder: Folder, definition: Definition, execute: Execute, stop: Stop) -> None:
        self.folder, self.definition, self.stop = folder, definition, stop
        self._execute = execute
        self._seconds: list[float] = []  # that the trials of this process took

    def carry_out(self, trial: Trial, position: str, left: int, watch: Watch = lambda row: True) -> None:
        """Train a trial, or the rest of it, and set its status and result. `left` is the number of remaining trials with this one.

        Raises:
            Interrupted: the user asked to stop; the trial's run is saved.
        """
        logger.info(f"Trial {position}{self._time_left(left)}: {described(trial.values)} → {trial.run}")
        started = time.monotonic()
        ended = self._execute(self._job(trial), watch)
        self._seconds.append(time.monotonic() - started)
        trial.status, trial.reason = ended.status, ended.reason
        if ended.status == "failed":
            logger.warning(f"trial {trial.number} failed: {ended.reason}")
        if ended.status == "interrupted":
            raise Interrupted(self.stop.received or 2)
        self.settle(trial)

    def settle(self, trial: Trial) -> bool:
        """Read a trial's status and result from its run. Returns whether it is finished."""
        run = Run(self.folder.runs_dir / trial.run)
        if not (run.path / "run.json").is_file() or not (run.path / "config.yaml").is_file():
            return trial.done
        try:
            status = str(run.info().get("status"))
            if status == "complete":  # also a failed trial that was resumed by hand
                trial.status, trial.reason = status, ""
            elif status == "pruned" and trial.status != "failed":
                trial.status = status
            if trial.done:
                trial.result = measured(run, self.definition.metric)
            if trial.status == "pruned":  # the reason that the trial's process would have given to a sweep still alive
                trial.reason = trial.reason or f"pruned after epoch {trial.result['epochs']}"
        except ZooError as error:
            trial.status, trial.reason = "failed", str(error)
        return trial.done

    def check(self) -> None:
        """Raise Interrupted if a signal to stop came between two trials."""
        if self.stop.received is not None:
            raise Interrupted(self.stop.received)

    def _job(self, trial: Trial) -> Job:
        return {
            "config": trial.config,
            "runs_dir": str(self.folder.runs_dir),
            "run": trial.run,
            "checkpoint_every": self.definition.checkpoint_every,
            "track": list(self.definition.track),
            "prune": self.definition.kind == "search" and self.definition.prune,
            "level": logging.getLogger("zoo").getEffectiveLevel(),
            "log": str(self.folder.path / f"{trial.run}.log"),
        }

    def _time_left(self, left: int) -> str:
        if not self._seconds:
            return ""
        return f" · {duration(left * sum(self._seconds) / len(self._seconds))} left"


def without_root(config: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved configuration without the root of the data, which differs between machines."""
    data = {key: value for key, value in dict(config["data"]).items() if key != "root"}
    return {**config, "data": data}
