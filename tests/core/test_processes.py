"""Child processes: what crashes or hangs in one is an error here, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import child_targets
import pytest
from child_targets import await_end

from zoo.core.processes import Child, Worker, WorkerDied, WorkerTimeout, describe_exit, limit_memory

S = 120.0  # generous: a busy machine takes seconds to start Python


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


def test_a_worker_returns_and_raises_what_the_function_does(worker: Worker) -> None:
    assert worker.call(divmod, 7, 2, seconds=S) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        worker.call(divmod, 7, 0, seconds=S)
    assert worker.call(print, "chatter", seconds=S) is None
    assert worker.call(len, bytes(5_000_000), seconds=S) == 5_000_000
    assert (worker.call(os.getpid, seconds=S), worker.restarts) == (worker.pid, 0)


@pytest.mark.parametrize(("crash", "text"), [((os.abort,), "killed by SIGABRT"), ((os._exit, 3), "exit code 3")])
def test_a_call_that_crashes_costs_one_process(worker: Worker, crash: tuple[object], text: str) -> None:
    with pytest.raises(WorkerDied, match=text):
        worker.call(*crash, seconds=S)
    assert worker.call(abs, -1, seconds=S) == 1
    assert worker.restarts == 1


def test_a_call_that_hangs_is_ended(worker: Worker) -> None:
    worker.start()
    with pytest.raises(WorkerTimeout):
        worker.call(time.sleep, 10 * S, seconds=0.2)
    assert worker.call(abs, -1, seconds=S) == 1


def test_a_stopped_process_is_given_up_long_before_its_limit(worker: Worker) -> None:
    worker.start()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    begin = time.monotonic()
    with pytest.raises(WorkerDied):
        worker.call(len, bytes(3_000_000), seconds=100)  # more than a pipe holds
    assert time.monotonic() - begin < 50
    assert worker.call(len, b"abc", seconds=100) == 3


def test_a_process_that_is_stopped_for_a_moment_goes_on(worker: Worker) -> None:
    worker.start()
    assert worker.pid is not None
    pid = worker.pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(0.1, os.kill, (pid, signal.SIGCONT)).start()
    assert worker.call(os.getpid, seconds=100) == pid


def test_a_worker_that_was_killed_between_calls_is_replaced(worker: Worker) -> None:
    worker.start()
    before = worker.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await_end(before)
    assert worker.call(os.getpid, seconds=S) != before
    assert worker.restarts == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits address space reliably")
def test_too_much_memory_is_an_error_of_the_call() -> None:
    worker = Worker(setup=partial(limit_memory, 1 << 28))
    with pytest.raises(MemoryError):
        worker.call(bytearray, 1 << 30, seconds=S)
    worker.close()


def test_a_forked_process_gets_a_worker_of_its_own(worker: Worker) -> None:
    worker.start()
    child = os.fork()
    if child == 0:
        own = worker.call(os.getpid, seconds=S)
        worker.close()
        os._exit(int(own == os.getppid()) or int(worker.restarts))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert worker.call(os.getpid, seconds=S) == worker.pid


SCRIPT = """
import os, signal, time
from zoo.core.processes import Worker
worker = Worker()
print(worker.call(os.getpid, seconds=120), flush=True)
worker.call(time.sleep, float(os.environ["HANG"]), seconds=1000)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_busy_worker_ends_with_its_parent(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "no_main_guard.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"HANG": "900"}) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(number)
    await_end(pid)


def test_a_script_without_a_main_guard_may_use_a_worker(tmp_path: Path) -> None:
    script = tmp_path / "no_main_guard.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"HANG": "0"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=True)
    await_end(int(done.stdout))
    assert not done.stderr


def test_a_child_exchanges_messages_and_gives_its_exit_code() -> None:
    child = Child(child_targets.double, ["some", "words"], quiet=True)
    child.send(21)
    assert child.receive() == 42
    child.send(0)
    assert child.receive() == ["some", "words"]
    with pytest.raises(EOFError):
        child.receive()
    assert child.wait(S) == 7
    child.end()


def test_a_child_that_raises_prints_why_and_exits_with_1(capfd: pytest.CaptureFixture[str]) -> None:
    child = Child(child_targets.fail)
    assert child.wait(S) == 1
    child.end()
    assert "ValueError: of the child" in capfd.readouterr().err


def test_exit_codes_are_described() -> None:
    assert describe_exit(2) == "ended with exit code 2"
    assert describe_exit(-signal.SIGSEGV) == "was killed by SIGSEGV"
    assert "memory" in describe_exit(-signal.SIGKILL)
    assert "signal 250" in describe_exit(-250)
