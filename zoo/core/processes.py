"""Child processes for what may crash, hang or take all memory: libraries in C on damaged images, or a whole training.

A `Worker` keeps one process for calls, with time limits, a `Child` runs one function and exchanges messages with it. Neither
outlives its parent, and Ctrl-C is the parent's to handle. `__main__` is imported only if a message refers to it, so scripts
need no main guard. For many independent items see `zoo.core.pools`.
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
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any, ClassVar, NoReturn, TypeVar

Result = TypeVar("Result")

START_S = 60.0  # for a worker to come up
_LOOK_S = 0.25  # between two looks at a process at work: one that is stopped at two of them is given up
_GRACE_S = 30  # that a hanging worker has beyond its limit, if its parent is no longer there to kill it
_BOOT = "import sys; sys.path[:] = {!r}; from zoo.core.processes import run_child; run_child({!r}, {!r}, {!r})"


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
        now = int(statm.read_text(encoding="utf-8").split()[0]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (now + further if hard < 0 else min(now + further, hard), hard))


def end_after(wait: Callable[[], object]) -> None:
    """End this process at once when `wait` returns in a thread: it waits for the end of the parent."""

    def watch() -> None:
        try:
            wait()
        finally:
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
        refuse_import()
        boot = _BOOT.format(sys.path, target.__module__, target.__qualname__, _main_module())
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
        _write(self.stdin, message)

    def receive(self) -> Any:
        """Wait for the child's next message; raises EOFError when it is gone."""
        assert self.stdout is not None
        return pickle.loads(_read(self.stdout))

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
        while True:
            self._inbox.put(_read(self._incoming))

    def receive(self) -> Any:
        """Wait for the parent's next message."""
        return _Unpickler(io.BytesIO(self._inbox.get())).load()

    def send(self, message: Any) -> None:
        """Send a picklable message."""
        _write(self._outgoing, message)


def _write(stream: IO[bytes], message: Any) -> None:
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes:
    size = int.from_bytes(head := stream.read(8), "little")
    if len(head) < 8 or len(data := stream.read(size)) < size:
        raise EOFError
    return data


class _Unpickler(pickle.Unpickler):
    """Imports the parent's `__main__`, under another name as `multiprocessing` does, where a message refers to it."""

    main: ClassVar[dict[str, str]] = {}
    importing = False

    def find_class(self, module: str, name: str) -> Any:
        if module == "__main__":
            from multiprocessing import spawn

            _Unpickler.importing = True
            try:
                spawn.prepare(self.main)
            finally:
                _Unpickler.importing = False
        return super().find_class(module, name)


def _main_module() -> dict[str, str]:
    """Where `__main__` can be imported from, as `multiprocessing.spawn.prepare` takes it."""
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return {"init_main_from_name": main.__spec__.name}
    file = getattr(main, "__file__", None)
    return {"init_main_from_path": os.path.abspath(file)} if file else {}


def refuse_import() -> None:
    """Keep a script without a main guard from starting all over in a child that needs one of its classes.

    Raises:
        RuntimeError: this process is such a child.
    """
    if _Unpickler.importing:
        raise RuntimeError(
            'a script whose classes are used in other processes needs the guard: if __name__ == "__main__":'
        )


def run_child(module: str, name: str, main: dict[str, str]) -> NoReturn:
    """Run the target of a `Child` in this process, and end it without waiting for threads that libraries left."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until the target saves something, it ends without a traceback
    _Unpickler.main = main
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
        quiet: throw away what the process prints, for libraries print what a file holds.
    """

    def __init__(self, setup: Callable[[], object] = int, quiet: bool = True) -> None:
        self.restarts = 0  # calls that cost a process
        self._setup, self._quiet = setup, quiet
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

    def call(self, function: Callable[..., Result], *arguments: Any, seconds: float | None = None) -> Result:
        """What `function(*arguments)` returns or raises in the worker's process. All of it must be picklable.

        Raises:
            WorkerTimeout: it took longer than `seconds`, sending the arguments included; None: no limit.
            WorkerDied: the process crashed on it, could not be started, or was stopped (SIGSTOP) where there is a limit.
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
            self._child, self._owner = Child(_answer_calls, quiet=self._quiet), os.getpid()
            self._finalize = weakref.finalize(self, _end_own, self._child, self._owner)
            self._exchange(self._child, self._setup, (), START_S)
        return self._child

    def _exchange(
        self, child: Child, function: Callable[..., Any], arguments: Sequence[Any], seconds: float | None
    ) -> Any:
        over, late = threading.Event(), threading.Event()
        if seconds is not None:
            watch = (child, time.monotonic() + seconds, over, late)
            threading.Thread(target=_watch, args=watch, name="zoo-watch", daemon=True).start()
        try:
            child.send((function, arguments, seconds))
            succeeded, result = child.receive()
        except (EOFError, OSError, ValueError):  # the last one: closed by another thread
            self.restarts += 1
            with suppress(subprocess.TimeoutExpired):
                child.wait(1.0)  # for its own exit code
            self.close()
            raise (WorkerTimeout if late.is_set() else WorkerDied)(child.returncode) from None
        except BaseException:  # Ctrl-C amid an answer: the rest of it must not be taken for the next one
            self.close()
            raise
        finally:
            over.set()
        if not succeeded:
            raise result
        return result


def _watch(child: Child, end: float, over: threading.Event, late: threading.Event) -> None:
    """Kill the child where a call, with what is sent for it, is not over at its end or the child is stopped for good."""
    stopped = 0
    while not over.wait(min(_LOOK_S, max(0.0, end - time.monotonic()))):
        stopped = stopped + 1 if _is_stopped(child.pid) else 0
        if time.monotonic() >= end:
            late.set()
        if late.is_set() or stopped > 1:
            child.kill()
            return


def _is_stopped(pid: int) -> bool:
    """Whether this process's child was stopped by a signal and does not go on, where the system can tell."""
    if not hasattr(os, "waitid"):
        return False
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    return False


def _end_own(child: Child, owner: int) -> None:
    if owner == os.getpid():
        child.end()


def _answer_calls(channel: Channel) -> None:
    """The process of a `Worker`."""
    while True:
        try:
            function, arguments, seconds = channel.receive()
            _alarm(0 if seconds is None else math.ceil(seconds) + _GRACE_S)
            channel.send((True, function(*arguments)))
        except Exception as error:
            channel.send((False, error))
        _alarm(0)
        function = arguments = None  # or the last image stays in memory until the next one comes


def _alarm(seconds: int) -> None:
    """End this process after so many seconds, even inside a library; 0 calls that off."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)
