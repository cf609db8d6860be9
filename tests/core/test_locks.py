"""Locks: one process at a time, released by a kill, also where the folder is renamed under the lock."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from zoo.core.errors import ZooError
from zoo.core.locks import locked


def test_a_second_process_is_refused_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "new" / "lock"
    code = f"""
import time
from pathlib import Path
from zoo.core.locks import locked
with locked(Path({str(file)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(ZooError, match=f"^the run is busy by process {other.pid} on "),
            locked(file, busy="the run is busy"),
        ):
            pass
        other.kill()
    with locked(file, busy="busy"), pytest.raises(ZooError), locked(file, busy="busy"):
        pass
    with locked(file, busy="busy"):
        pass


def test_who_waited_while_the_folder_was_renamed_gets_a_new_folder(tmp_path: Path) -> None:
    partial, waiting, held = tmp_path / "partial", threading.Event(), threading.Event()

    def wait() -> None:
        with locked(partial / "lock", waiting=waiting.set):
            held.set()

    other = threading.Thread(target=wait)
    with locked(partial / "lock"):
        other.start()
        assert waiting.wait(60)
        assert not held.is_set()
        partial.rename(tmp_path / "whole")
    other.join(60)
    assert held.is_set()
    assert partial.is_dir()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*arguments: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with (
        pytest.raises(ZooError, match=r"cannot write the folder .*: Read-only file system"),
        locked(tmp_path / "lock", busy="busy"),
    ):
        pass
    with pytest.raises(OSError, match="Read-only file system"), locked(tmp_path / "lock"):
        pass
