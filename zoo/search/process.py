"""Runs each trial of a sweep in its own process."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from zoo.core.processes import Child, describe_exit
from zoo.engine.signals import Forwarding as Stop
from zoo.search import worker

Watch = Callable[[Mapping[str, Any]], bool]  # a row of metrics.csv -> whether to go on
Job = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a trial's process ended: "complete", "pruned", "interrupted" or "failed", and why."""

    status: str
    reason: str = ""


Execute = Callable[[Job, Watch], Ended]


class Processes:
    """Runs trials one after the other, each in a new process that ends when this one does.

    A process returns all its memory, GPU memory included, when it ends, and a trial that crashes or runs out of memory
    affects no other. Loading Keras again takes some seconds.
    """

    def __init__(self, stop: Stop, arguments: Sequence[str]) -> None:
        """Forward the signals that `stop` catches. `arguments` are the command line that runs record."""
        self._stop, self._arguments = stop, arguments

    def __call__(self, job: Job, watch: Watch) -> Ended:
        child = Child(worker.main, self._arguments)
        with self._stop.forwarding(child):
            try:
                reported = _converse(child, job, watch)
                code = child.wait()
            finally:
                child.end()
        if reported is not None and reported.status in ("complete", "pruned"):
            return reported
        if self._stop.received is not None:
            return Ended("interrupted", signal.Signals(self._stop.received).name)
        if reported is not None and reported.status == "failed":
            return reported
        return Ended("failed", f"its process {describe_exit(code)}")


def _converse(child: Child, job: Job, watch: Watch) -> Ended | None:
    """Send the job, decide after each epoch whether to go on, and return the result that the child reports, if any."""
    reported = None
    try:
        child.send(dict(job))
        while True:
            message = child.receive()
            if "epoch" in message:
                with suppress(BrokenPipeError):  # interrupted meanwhile: its last message is still to be read
                    child.send(watch(message["epoch"]))
            else:
                reported = Ended(**message)
    except (EOFError, BrokenPipeError):
        return reported


def without_passwords(arguments: Sequence[str]) -> list[str]:
    """Command-line arguments as runs record them: passwords in addresses, before the host or in the query, become ***."""
    hidden = [re.sub(r"(://[^:/@\s]*):\S+@", r"\1:***@", word) for word in arguments]
    return [re.sub(r"(?i)([?&]\w*(?:password|passwd|pwd)=)[^&\s]+", r"\1***", word) for word in hidden]
