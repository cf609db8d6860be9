"""Running trials in processes of their own: the sweep's side of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any

from zoo.engine.signals import Caught

# until the training takes Ctrl-C over there is nothing to save: it ends at once, and without a traceback
CHILD = """
import os, signal, sys
if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
from zoo.search.worker import main
code = main()
sys.stderr.flush()
os._exit(code)
"""

Watch = Callable[[Mapping[str, Any]], bool]  # a row of metrics.csv -> whether to go on
Job = Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a trial's process ended: "complete", "pruned", "interrupted" or "failed", and why."""

    status: str
    reason: str = ""


Execute = Callable[[Job, Watch], Ended]


class Stop(Caught):
    """Ctrl-C and SIGTERM while used as a context manager: noted in `received`, and passed on to the trial's process, which saves
    itself. A second one makes it end at once."""

    def __init__(self) -> None:
        super().__init__()
        self.process: subprocess.Popen[str] | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


class Processes:
    """Executes trials one after the other, each in a new process that ends when this one does."""

    def __init__(self, stop: Stop, command: Sequence[str]) -> None:
        self._stop = stop
        self._command = [sys.executable, "-c", CHILD, *command]

    def __call__(self, job: Job, watch: Watch) -> Ended:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # a Ctrl-C on the terminal reaches it through this process alone, and once
        )
        self._stop.process = process
        try:
            if self._stop.received is not None:  # before the process was there to be told
                process.send_signal(self._stop.received)
            said = _converse(process, job, watch)
            code = process.wait()
        finally:
            self._stop.process = None
            if process.poll() is None:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    _open(pipe).close()
        if said is not None and said.status in ("complete", "pruned"):
            return said
        if self._stop.received is not None:
            return Ended("interrupted", signal.Signals(self._stop.received).name)
        if said is not None and said.status == "failed":
            return said
        return Ended("failed", _death(code))


def _converse(process: subprocess.Popen[str], job: Job, watch: Watch) -> Ended | None:
    """Give the job, answer the process's questions, and return the last thing it said of itself."""
    question, answer, said = _open(process.stdout), _open(process.stdin), None

    def send(what: Any) -> None:
        with suppress(BrokenPipeError):
            answer.write(json.dumps(what) + "\n")
            answer.flush()

    send(dict(job))
    for line in question:
        with suppress(ValueError):
            told = json.loads(line)
            if "epoch" in told:
                send("go" if watch(told["epoch"]) else "prune")
            else:
                said = Ended(told["status"], told["reason"])
    return said


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None  # both are asked for
    return pipe


def _death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was ended by SIGKILL: often the system's answer to a lack of memory (a smaller --batch-size helps)"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with the code {code}, without a word"


def command_words(arguments: Sequence[str]) -> list[str]:
    """The words of the command line that runs keep, without the passwords of addresses: before the host, or in the query."""
    hidden = [re.sub(r"(://[^:/@\s]*):\S+@", r"\1:***@", word) for word in arguments]
    return [re.sub(r"(?i)([?&]\w*(?:password|passwd|pwd)=)[^&\s]+", r"\1***", word) for word in hidden]
