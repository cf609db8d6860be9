"""No loop turns for ever where its step does nothing; the loop of a training is in engine/test_keras_settings.py."""

from __future__ import annotations

import asyncio
import os
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request

from zoo.core import locks
from zoo.core.errors import ZooError
from zoo.core.pools import _results
from zoo.core.processes import WorkerDied
from zoo.engine.process_group import ProcessGroup
from zoo.search import process, tuner
from zoo.serve.api import _disconnected
from zoo.serve.errors import APIError
from zoo.serve.limits import Limits
from zoo.serve.uploads import Uploads


def test_a_lock_file_that_never_stays_the_same_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_is", lambda file, handle: False)
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with (
        pytest.raises(ZooError, match="it was another file after each of 1000 attempts"),
        locks.locked(tmp_path / "lock"),
    ):
        pass
    assert not opened or len(os.listdir("/proc/self/fd")) == opened


def test_a_lock_file_that_leads_nowhere_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "missing" / "lock")
    with pytest.raises(FileNotFoundError), locks.locked(tmp_path / "lock"):
        pass
    with pytest.raises(ZooError, match="cannot write the folder"), locks.locked(tmp_path / "lock", busy="it is held"):
        pass


def test_an_item_that_cannot_be_split_further_is_tried_once_more_and_not_again() -> None:
    class Dead:
        calls = 0

        def call(self, work: Any, item: int) -> int:
            self.calls += 1
            raise WorkerDied(-9)

    worker: Any = Dead()
    found = _results(worker, abs, 3, lambda item: -item, lambda item: [item])
    assert found == ([-3], 1)
    assert worker.calls == 2  # the worker may have been killed for another reason than the item


def test_a_search_does_not_carry_out_a_trial_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "_carry_out", lambda *given, **more: None)
    monkeypatch.setattr(tuner, "results", lambda *given: SimpleNamespace(trials=[]))
    folder: Any = SimpleNamespace(name="idle", writing=nullcontext, write=print, write_results=print)
    runner: Any = SimpleNamespace(folder=folder, definition=SimpleNamespace(trials=2), check=lambda: None)
    waiting = SimpleNamespace(number=0)
    search: Any = SimpleNamespace(
        trials=list, mine=lambda take_over: [], claim=lambda: waiting, unless_finished=lambda frozen: nullcontext()
    )
    with pytest.raises(ZooError, match="trial 1 was carried out, but the database of the sweep 'idle' gives it"):
        tuner.run(runner, search, Any, take_over=False)  # type: ignore[arg-type]


def test_a_trial_that_ends_without_a_word_is_not_waited_for() -> None:
    class Silent:
        def send(self, message: Any) -> None:
            pass

        def receive(self) -> Any:
            raise EOFError

    child: Any = Silent()
    assert process._converse(child, {}, lambda row: True) is None


def test_a_host_that_waits_for_another_can_be_interrupted() -> None:
    calls = iter([RuntimeError("DEADLINE_EXCEEDED"), RuntimeError("DEADLINE_EXCEEDED"), KeyboardInterrupt()])

    class Store:
        def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
            raise next(calls)

    group = ProcessGroup.__new__(ProcessGroup)
    group._store = Store()
    with pytest.raises(KeyboardInterrupt):
        group.get("never")


def request(message: dict[str, Any]) -> Request:
    """A request whose server says the same at once, whenever it is asked."""

    async def receive() -> dict[str, Any]:
        return message

    return Request({"type": "http", "headers": []}, receive)


def test_a_body_of_empty_messages_is_given_up() -> None:
    idle = Uploads(Limits(upload_s=0.2))

    async def read() -> None:
        async with idle.body(request({"type": "http.request", "body": b"", "more_body": True})):
            pass

    with pytest.raises(APIError, match="stalled"):
        asyncio.run(read())
    assert idle.held == 0


def test_waiting_for_a_client_to_go_leaves_time_for_others() -> None:
    async def watch() -> None:
        await asyncio.wait_for(_disconnected(request({"type": "http.request", "body": b""})), 0.3)

    with pytest.raises(TimeoutError):
        asyncio.run(watch())
