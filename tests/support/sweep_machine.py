"""`zoo sweep` as one machine of several runs it: under a name of its own, with trials that cost nothing.

    python sweep_machine.py NAME MACHINES KILL WORDS...

It begins when as many MACHINES are ready in this folder. KILL is TRIAL:EPOCH, the moment at which it kills itself, or - for
none. WORDS are those of the command line.
"""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from sweep_process import pretend

from zoo.cli.main import main
from zoo.search.process import Ended, Job, Processes, Watch

SLOW_S = 0.005
WAIT_S = 200.0


def slowed(inner: Any) -> Any:
    """A database that takes its time between reading a trial and changing it, where two machines meet."""

    def slow(*arguments: Any) -> Any:
        inner(*arguments)
        time.sleep(SLOW_S)

    return slow


def await_the_others(name: str, machines: int) -> None:
    Path(f"ready-{name}").touch()
    deadline = time.monotonic() + WAIT_S
    while len(list(Path().glob("ready-*"))) < machines:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} has waited for {machines} machines.")
        time.sleep(0.001)


def begin(name: str, machines: str, kill: str, *words: str) -> None:
    def execute(self: Processes, job: Job, watch: Watch) -> Ended:
        def watched(row: Mapping[str, Any]) -> bool:
            if kill == f"{job['run'].rpartition('-')[2].lstrip('0')}:{row['epoch']}":
                os.kill(os.getpid(), signal.SIGKILL)
            return watch(row)

        return pretend(job, watched)

    platform.node = lambda: name
    Processes.__call__ = execute
    storage: Any = optuna.storages.RDBStorage
    storage.check_trial_is_updatable = slowed(storage.check_trial_is_updatable)
    await_the_others(name, int(machines))
    sys.argv[1:] = ["sweep", *words]
    main()


if __name__ == "__main__":
    begin(*sys.argv[1:])
