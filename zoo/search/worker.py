"""One trial in a process of its own: takes a job from the sweep on standard input, trains it, and says what came of it.

A process per trial gives all memory back when it ends, that of the GPU among it, and a trial that is killed for want of memory,
or crashes in a library, takes nothing else along. What it costs, loading Keras anew, is some seconds.
"""

from __future__ import annotations

import io
import json
import os
import queue
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from zoo.config.resolve import resolve
from zoo.core.errors import ZooError
from zoo.core.manager import describe
from zoo.core.observers import Observer, Pruned
from zoo.core.registry import registry
from zoo.engine.signals import Interrupted
from zoo.runs.run import Run

PATIENCE_S = 30.0  # for the process of a sweep that was just killed to end


class Sweep:
    """The process that asked: jobs and answers come from it, lines of JSON go to it, and this process ends when it does."""

    def __init__(self, answers: io.FileIO, told: IO[str]) -> None:
        self._answers, self._told = answers, told
        self._lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._listen, name="sweep", daemon=True).start()

    def _listen(self) -> None:
        while line := self._answers.readline():
            self._lines.put(line)
        os._exit(1)  # the sweep is gone: as after a kill, the run can be resumed

    def hear(self) -> Any:
        return json.loads(self._lines.get())

    def tell(self, **what: Any) -> None:
        self._told.write(json.dumps(what) + "\n")
        self._told.flush()


class Pruner(Observer):
    """Asks the sweep after every epoch but the last whether the trial is worth going on with."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep, self._last = sweep, 0

    def on_start(self, folder: Path, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
        self._last = config["epochs"] + (config["freeze_epochs"] if config["freeze"] else 0)
        for row in rows:  # of an earlier process, which may not have come to ask
            self.on_epoch(row)

    def on_epoch(self, row: Mapping[str, Any]) -> None:
        if row["epoch"] >= self._last:
            return
        self._sweep.tell(epoch=row)
        if self._sweep.hear() == "prune":
            raise Pruned(f"pruned after epoch {row['epoch']}")


def work(job: Mapping[str, Any], observers: Sequence[Observer]) -> None:
    """Train the job's run, or what is left of it; nothing where it is finished.

    Raises:
        ZooError, Interrupted, Pruned: as `zoo.engine.train.train` and `zoo.engine.resume.resume`.
    """
    from zoo.engine.resume import resume
    from zoo.engine.train import train

    run, every = Run(Path(job["runs_dir"]) / job["run"]), job["checkpoint_every"]
    if run.path.exists():
        _await(run)
    if (run.path / "config.yaml").is_file():
        if run.info().get("status") != "complete":
            resume(run, registry(), _say, checkpoint_every=every, observers=observers)
        return
    if run.path.exists():  # killed before there was anything to go on from
        shutil.rmtree(run.path)
    config = resolve([job["config"]], registry())
    train(config, registry(), run.path.parent, run.name, _say, checkpoint_every=every, observers=observers)


def _await(run: Run) -> None:
    """Let the process of a sweep that was killed end; one that stays is for the training to complain of."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with run.locked():
                return
        except ZooError:
            time.sleep(0.1)


def main() -> int:
    """Carry out the job on standard input.

    Returns:
        The exit code: 0 where the run is complete or pruned.
    """
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for the sweep
    sweep = Sweep(io.FileIO(os.dup(0)), told)
    job = sweep.hear()
    try:
        work(job, [Pruner(sweep)] if job["prune"] else [])
    except Pruned as pruned:
        sweep.tell(status="pruned", reason=str(pruned))
    except Interrupted as stop:
        sweep.tell(status="interrupted", reason=str(stop))
        return stop.exit_code
    except Exception as error:
        known = isinstance(error, ZooError)
        sweep.tell(status="failed", reason=str(error) if known else describe(error))
        if not known:
            Path(job["log"]).write_text(traceback.format_exc(), encoding="utf-8")
        return 1
    else:
        sweep.tell(status="complete", reason="")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
