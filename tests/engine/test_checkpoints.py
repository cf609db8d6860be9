"""Checkpoints are whole or refused, two are kept; the signals of a run."""

from __future__ import annotations

import errno
import math
import os
import signal
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.engine import checkpoints
from zoo.engine.checkpoints import Checkpoint, CheckpointFolder, DamagedCheckpoint, read_checkpoint, write_checkpoint
from zoo.engine.signals import Interrupted, Signals

RNG = np.random.default_rng(0)
ARRAYS = {
    "model/00000": RNG.normal(size=(3, 3, 1, 4)).astype(np.float32),
    "model/00001": np.array([7, 2**40], np.int64),
    "optimizer/00000": np.array(3, np.int32),
    "optimizer/00001": RNG.normal(size=5).astype(ml_dtypes.bfloat16),
    "best/00000": np.array([np.nan, np.inf, -0.0], np.float32),
}
STATE = {"epoch": 3, "rows": [{"loss": 0.1 + 0.2, "val_auroc": math.nan}], "best": None}


def example(number: int = 0) -> Checkpoint:
    return Checkpoint({"number": number}, {"model/00000": np.full(50, number, np.float32)})


def numbers(folder: CheckpointFolder) -> list[int]:
    return [int(read_checkpoint(path).state["number"]) for path in folder.paths()]


def test_what_is_read_is_what_was_written_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000001.npz"
    write_checkpoint(path, Checkpoint(STATE, ARRAYS))
    found = read_checkpoint(path)
    assert found.state["rows"][0]["loss"] == 0.1 + 0.2
    assert math.isnan(found.state["rows"][0]["val_auroc"])
    assert found.state["best"] is None
    assert {n: (a.shape, a.tobytes()) for n, a in found.arrays.items()} == {
        n: (a.shape, a.tobytes()) for n, a in ARRAYS.items()
    }
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_numpy_opens_a_checkpoint_without_zoo_and_without_pickle(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000001.npz"
    write_checkpoint(path, Checkpoint(STATE, ARRAYS))
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["model/00001"], [7, 2**40])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "checkpoint-000001.npz"
    write_checkpoint(path, Checkpoint(STATE, ARRAYS))
    return path.read_bytes()


def test_a_truncated_checkpoint_is_refused_wherever_it_ends(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000001.npz"
    for end in [*range(0, len(whole), 13), len(whole) - 1]:
        path.write_bytes(whole[:end])
        with pytest.raises(DamagedCheckpoint, match="truncated or altered"):
            read_checkpoint(path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_wherever_it_is(place: float, bit: int, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint-000001.npz"
    altered = bytearray(whole)
    altered[int(place * len(whole))] ^= 1 << bit
    path.write_bytes(altered)
    with pytest.raises(DamagedCheckpoint, match="truncated or altered"):
        read_checkpoint(path)


def test_another_file_with_a_right_checksum_is_refused_and_nothing_in_it_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "checkpoint-000001.npz"
    np.savez(path, header=np.array([Trap()], dtype=object))
    path.write_bytes(path.read_bytes() + checkpoints._digest(path, path.stat().st_size))
    with pytest.raises(DamagedCheckpoint, match="cannot be read"):
        read_checkpoint(path)
    assert not (tmp_path / "sprung").exists()
    path.write_bytes(b"a letter" + checkpoints._digest(path, 0))
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(path)
    with pytest.raises(DamagedCheckpoint):
        read_checkpoint(tmp_path)


def test_a_later_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint-000001.npz"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FORMAT", 9)
        write_checkpoint(path, example())
    with pytest.raises(DamagedCheckpoint, match="its format is 9, this version of zoo reads 1"):
        read_checkpoint(path)


def test_two_checkpoints_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "checkpoints")
    assert folder.load() is None
    for number in range(1, 5):
        folder.save(example(number))
    assert numbers(folder) == [4, 3]
    found = CheckpointFolder(folder.folder).load()
    assert found is not None
    assert found.state == {"number": 4}


def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_is_used_and_kept(
    tmp_path: Path, logged: list[str]
) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in range(1, 4):
        folder.save(example(number))
    newest, before = folder.paths()
    newest.write_bytes(newest.read_bytes()[:-100])
    again = CheckpointFolder(tmp_path)
    found = again.load()
    assert found is not None
    assert found.state == {"number": 2}
    assert len(logged) == 1
    assert str(newest) in logged[0]
    assert "truncated or altered" in logged[0]
    assert "the one before it is used" in logged[0]
    again.save(example(8))
    assert numbers(again) == [8, 2]
    assert before in again.paths()
    for path in again.paths():
        path.write_bytes(b"")
    logged.clear()
    assert CheckpointFolder(tmp_path).load() is None
    assert len(logged) == 2
    assert "training starts from the beginning" in logged[1]


@pytest.mark.parametrize("after", [0, 10, 100])
def test_a_full_disk_leaves_the_checkpoints_before_as_they_were(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (1, 2):
        folder.save(example(number))

    def full(file: Any, **arrays: Any) -> None:
        file.write(b"x" * after)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            folder.save(example(3))
    assert numbers(folder) == [2, 1]
    assert len(list(tmp_path.iterdir())) == 2
    folder.save(example(4))
    assert numbers(folder) == [4, 2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_work_at_once_or_waits_for_the_step(number: int, code: int) -> None:
    before = signal.getsignal(number)
    with Signals() as signals:
        with pytest.raises(Interrupted) as stop:
            os.kill(os.getpid(), number)
        assert stop.value.exit_code == code
        with signals.deferred():
            signals.check()
            os.kill(os.getpid(), number)
            assert signals.received == number
            with pytest.raises(Interrupted):  # the second one
                os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as stop:
            signals.check()
        assert stop.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGINT)
            assert signals.received is None
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_signals_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with Signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
