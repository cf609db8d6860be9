"""What the tests of child processes run in them, and waiting for their end."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from zoo.core.processes import Channel


def double(channel: Channel) -> int:
    """Answer numbers with their doubles; 0 ends it."""
    print("a library's chatter")
    while number := channel.receive():
        channel.send(2 * number)
    channel.send(sys.argv[1:])
    return 7


def fail(channel: Channel) -> None:
    raise ValueError("of the child")


def kill(channel: Channel) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(channel: Channel) -> int:
    return 3


def square(number: int) -> int:
    if number < 0:
        os._exit(3)
    return number * number


def total(numbers: list[int]) -> int:
    return sum(square(each) for each in numbers)


def crash(*arguments: object, **options: object) -> None:
    os.abort()


def die_once(number: signal.Signals, marker: str, *arguments: Any) -> Any:
    """Read an image, but end or stop the first process that is to do it."""
    from zoo.serve.decoding import _read_safely

    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), number)
    return _read_safely(*arguments)


def square_once(folder: str, number: int) -> int:
    """The square, but the first process that is to work on a number is killed."""
    marker = Path(folder, str(number))
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def hang(*arguments: object, **options: object) -> None:
    while True:
        time.sleep(1)


def is_gone(pid: int) -> bool:
    """Whether a process ended, if need be as a zombie that nobody asked for its code yet."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        # its first thread can be a zombie while another still runs, and until that ended nobody gets the exit code
        return state == "Z" and len(list((process / "task").iterdir())) == 1
    except FileNotFoundError:
        return Path("/proc/self").exists()  # where there is no /proc, only the signal above tells


def await_end(pid: int, seconds: float = 120) -> None:
    """Wait for the end of a process; AssertionError if it does not come."""
    deadline = time.monotonic() + seconds
    while not is_gone(pid):
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.02)
