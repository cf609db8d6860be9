"""Child processes for what may crash, hang or take all memory: libraries in C on damaged images, or a whole training.

A `Worker` keeps one process for calls with time limits, a `Child` runs one function and exchanges messages with it. Neither
outlives its parent, Ctrl-C is the parent's to handle, and `__main__` is never imported, so scripts need no guard. For many
independent items see `zoo.core.pools`.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeVar

Result = TypeVar("Result")

START_S = 60.0  # for a worker to come up
_GRACE_S = 30  # that a hanging worker has beyond its limit, if its parent is no longer there to kill it
_BOOT = "import sys; sys.path[:] = {path!r}; from zoo.core.processes import run_child; run_child({module!r}, {name!r})"


def describe_exit(code: int) -> str:
    """An exit code as in `subprocess.Popen.returncode`, in words."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}{', often for lack of memory' if name == 'SIGKILL' else ''}"


def limit_memory(further: int) -> None:
    """Let this process take at most `further` bytes more than it has, where the system can limit that."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        statm = Path("/proc/self/statm")  # elsewhere than on Linux the limit is for all of it
        now = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (now + further if hard < 0 else min(now + further, hard), hard))


def end_after(wait: Callable[[], object]) -> None:
    """End this process at once when `wait` returns in a thread: it waits for the end of the parent."""

    def watch() -> None:
        wait()
        os._exit(1)

    threading.Thread(target=watch, name="zoo-parent", daemon=True).start()


class Child(subprocess.Popen[bytes]):
    """A new Python process that runs `target(channel)`, and its end of the channel.

    It has a process group of its own, so a Ctrl-C on the terminal does not reach it, and ends when this process does.
    `target` is a function of a module; its return value is the exit code.

    Args:
        target: what to run.
        arguments: words for its command line.
        quiet: throw away what it prints, for libraries print what a file holds; else it goes to standard error.
    """

    def __init__(self, target: Callable[[Channel], int | None], arguments: Sequence[str] = (), quiet: bool = False):
        boot = _BOOT.format(path=sys.path, module=target.__module__, name=target.__qualname__)
        super().__init__(
            [sys.executable, "-c", boot, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            process_group=0,
        )

    def send(self, message: Any) -> None:
        """Send a picklable message; raises OSError when the child is gone."""
        assert self.stdin is not None
        pickle.dump(message, self.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        self.stdin.flush()

    def receive(self) -> Any:
        """Wait for the child's next message; raises EOFError when it is gone."""
        assert self.stdout is not None
        try:
            return pickle.load(self.stdout)
        except pickle.UnpicklingError:  # ended amid a message
            raise EOFError from None

    def end(self) -> None:
        """Kill the child if it still runs, and free what it took."""
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout):
            with suppress(OSError):  # what it did not take any more
                if pipe is not None:
                    pipe.close()


class Channel:
    """In a child: messages from and to its parent. The process ends when the parent does."""

    def __init__(self) -> None:
        self._incoming = io.BufferedReader(io.FileIO(os.dup(0)))
        self._outgoing = os.fdopen(os.dup(1), "wb")
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)  # what libraries print must not get among the messages
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        end_after(self._listen)

    def _listen(self) -> None:
        try:
            while True:
                self._inbox.put(pickle.load(self._incoming))
        except EOFError:
            return
        except Exception:  # what the message refers to cannot be imported, or there is no memory for it
            traceback.print_exc()

    def receive(self) -> Any:
        """Wait for the parent's next message."""
        return self._inbox.get()

    def send(self, message: Any) -> None:
        """Send a picklable message."""
        pickle.dump(message, self._outgoing, protocol=pickle.HIGHEST_PROTOCOL)
        self._outgoing.flush()


def run_child(module: str, name: str) -> NoReturn:
    """Run the target of a `Child` in this process, and end it without waiting for threads that libraries left."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(
            signal.SIGINT, signal.SIG_DFL
        )  # until the target wants to save something: end, without a traceback
    code = 1
    try:
        channel = Channel()
        code = getattr(import_module(module), name)(channel) or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


class WorkerDied(Exception):
    """A worker's process ended amid a call; `code` as in `subprocess.Popen.returncode`."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the process {describe_exit(code)}")
        self.code = code


class WorkerTimeout(WorkerDied):
    """A worker's process was killed because a call took longer than its time limit."""


class Worker:
    """Calls functions in another process, one at a time; started when first needed, and again after a crash.

    Args:
        setup: picklable; called in each new process before anything else, to import modules and limit memory.
    """

    def __init__(self, setup: Callable[[], object] = int) -> None:
        self.restarts = 0  # calls that cost a process
        self._setup = setup
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._owner = 0  # the process that started the child: this one may have been forked from it
        self._finalize: Callable[[], object] = int

    @property
    def pid(self) -> int | None:
        """Of the process; None if there is none."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the process and wait until it is set up.

        Raises:
            WorkerDied: it does not come up.
        """
        with self._lock:
            self._running()

    def call(self, function: Callable[..., Result], *arguments: Any, seconds: float) -> Result:
        """What `function(*arguments)` returns or raises in the worker's process. All of it must be picklable.

        Raises:
            WorkerTimeout: it took longer than `seconds`.
            WorkerDied: the process crashed on it, or could not be started.
        """
        with self._lock:
            return self._exchange(self._running(), function, arguments, seconds)

    def close(self) -> None:
        """End the process, if it is this one's child."""
        self._finalize()
        self._child = None

    def _running(self) -> Child:
        if self._child is None or self._owner != os.getpid() or self._child.poll() is not None:
            self.close()
            self._child, self._owner = Child(_answer_calls, quiet=True), os.getpid()
            self._finalize = weakref.finalize(self, _end_own, self._child, self._owner)
            self._exchange(self._child, self._setup, (), START_S)
        return self._child

    def _exchange(self, child: Child, function: Callable[..., Any], arguments: Sequence[Any], seconds: float) -> Any:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        watch = threading.Timer(seconds, give_up)
        watch.daemon = True
        watch.start()
        try:
            child.send((function, arguments, seconds))
            succeeded, result = child.receive()
        except (EOFError, OSError):
            self.restarts += 1
            with suppress(subprocess.TimeoutExpired):
                child.wait(1.0)  # for its own exit code
            self.close()
            raise (WorkerTimeout if late.is_set() else WorkerDied)(child.returncode) from None
        except BaseException:  # Ctrl-C amid an answer: the rest of it must not be taken for the next one
            self.close()
            raise
        finally:
            watch.cancel()
        if not succeeded:
            raise result
        return result


def _end_own(child: Child, owner: int) -> None:
    if owner == os.getpid():
        child.end()


def _answer_calls(channel: Channel) -> None:
    """The process of a `Worker`."""
    while True:
        function, arguments, seconds = channel.receive()
        _alarm(math.ceil(seconds) + _GRACE_S)
        try:
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, error
        _alarm(0)
        channel.send(answer)
        del function, arguments, answer  # or the last image stays in memory until the next one comes


def _alarm(seconds: int) -> None:
    """End this process after so many seconds, even inside a library; 0 calls that off."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
