"""A process that watches over the one that trains among several hosts.

When a host is lost, JAX ends the others' processes from within, amid whatever they do and without Python's knowledge
(`jax.distributed.initialize`: "ensuring that all processes shut down if any process dies"). So the training runs in a child,
and this process reports what happened and keeps the run's status.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from zoo.core.errors import ZooError
from zoo.core.processes import describe_exit, end_after
from zoo.engine.signals import Forwarding
from zoo.runs.run import Run

ENVIRONMENT = "ZOO_SUPERVISED"  # a file descriptor to report the run to
UNFINISHED = ("preparing", "running", "evaluating")


def supervised() -> bool:
    """Whether this process is the one that trains."""
    return ENVIRONMENT in os.environ


def supervise(command: Sequence[str], timeout: int) -> int:
    """Run a command that trains; signals are passed on to it, and it ends when this process does.

    Returns:
        Its exit code.

    Raises:
        ZooError: it was ended from within by JAX, having not heard from a host for `timeout` seconds, or killed.
    """
    reports, report = os.pipe()
    with (
        Forwarding() as signals,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closes with this process
            pass_fds=(report,),
            env=os.environ | {ENVIRONMENT: str(report)},
            process_group=0,  # a Ctrl-C on the terminal reaches it through this process alone, and once
        ) as process,
        signals.forwarding(process),
    ):
        os.close(report)
        code = process.wait()
    with os.fdopen(reports, encoding="utf-8") as file:
        run = file.readline().strip()
    if code >= 0:
        return code
    raise _ended(code, timeout, Run(Path(run)) if run else None)


def _ended(code: int, timeout: int, run: Run | None) -> ZooError:
    """Set the status of a run whose process was ended by a signal; the error that says so."""
    if code == -signal.SIGABRT:
        what = f"another host of the training was lost: it ended, or was not heard of for {timeout} seconds."
    else:
        what = f"the training process of this host {describe_exit(code)}."
    if run is None:
        return ZooError(f"{what} Start again, or go on from host 0's run, on every host: zoo train --resume RUN")
    with suppress(ZooError, OSError):
        if run.info().get("status") in UNFINISHED:
            run.update_info(status="interrupted")
    return ZooError(f"{what} What was saved is kept; go on, on every host, with: zoo train --resume {run.reference}")


def attach() -> None:
    """In a supervised process: end when the supervisor is gone, and keep standard output for Python.

    gloo announces itself there, amid what others may read as JSON; it is sent to standard error.
    """
    if not supervised():
        return
    end_after(lambda: os.read(0, 1))  # nothing is ever written: it returns when the other end closes
    sys.stdout.flush()
    output = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(output, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, buffering=1)


def report(run: Path) -> None:
    """In a supervised process: say which run it trains."""
    if supervised():
        os.write(int(os.environ[ENVIRONMENT]), f"{run}\n".encode())
