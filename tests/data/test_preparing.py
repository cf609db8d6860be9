"""Preparation that is cut short, repeated, shared or damaged: no work lost, no wrong pixel, no store that only seems whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from child_targets import await_end
from loglines import log_lines
from PIL import Image
from prepared import KILLED, SUPPORT, Wounded, records_of, write_images

from zoo.core.errors import ZooError
from zoo.core.records import Records
from zoo.data import store as stores
from zoo.data.images import FileSource
from zoo.data.journal import Copy, Pixels, PreparedImage
from zoo.data.resize import square
from zoo.data.store import Store, prepare, verify
from zoo.data.workers import Chunk, digest, run

SIZE = 16


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CHUNK", 4)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def decoded(log: Path) -> Counter[str]:
    """How often each image was read since the last call."""
    lines = log.read_text().split() if log.exists() else []
    log.unlink(missing_ok=True)
    return Counter(lines)


def assert_same(store: Store, records: Records, other_cache: Path) -> None:
    """A store equals the one that a preparation without any history makes."""
    fresh = prepare(records_of(records.table["path"], FileSource(str(records.source.root))), SIZE, other_cache)
    np.testing.assert_array_equal(store.images, fresh.images)
    pd.testing.assert_frame_equal(store.table, fresh.table)


class Interrupting(Wounded):
    """Ctrl-C while the image number 22 is read."""

    def read(self, path: str) -> tuple[np.ndarray, str]:
        if path == "22.png":
            raise KeyboardInterrupt
        return super().read(path)


def interrupted(root: Path, cache: Path, count: int = 30) -> list[str]:
    """Leave a preparation that was stopped when 20 images were finished; returns what it logged."""
    records = records_of(write_images(root, count), Interrupting(str(root)))
    with log_lines() as lines, pytest.raises(KeyboardInterrupt):
        prepare(records, SIZE, cache, workers=0)
    assert [folder.suffix for folder in cache.iterdir()] == [".partial"]
    return lines


def test_work_done_before_a_kill_is_kept_and_no_worker_outlives_its_parent(
    root: Path, cache: Path, log: Path, logged: list[str]
) -> None:
    names = write_images(root, 60)
    words = [sys.executable, "-c", KILLED, str(SUPPORT), str(root), str(cache), str(log)]
    process = subprocess.Popen(words)
    deadline = time.monotonic() + 120
    while sum(file.read_text().count("\n") for file in cache.glob("*/chunks.jsonl")) < 4:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for pid in set(Path(f"{log}.pids").read_text().split()):
        await_end(int(pid))
    assert [folder.suffix for folder in cache.iterdir()] == [".partial"]
    before = decoded(log)
    assert 16 <= before.total() < 60
    store = prepare(records_of(names, Wounded(str(root), log=str(log))), SIZE, cache)
    assert decoded(log).total() <= 60 - 16
    assert any("were finished before and are kept" in line for line in logged)
    assert_same(store, records_of(names, FileSource(str(root))), cache / "fresh")
    assert not list(cache.glob("*.partial"))


def test_an_interrupt_says_what_is_kept_and_the_next_run_goes_on(
    root: Path, cache: Path, log: Path, logged: list[str]
) -> None:
    assert "Warning: interrupted: 20 of 30 images are prepared and kept for next time" in interrupted(root, cache)
    records = records_of([f"{i}.png" for i in range(30)], Wounded(str(root), log=str(log)))
    store = prepare(records, SIZE, cache, workers=0)
    assert "20 of them were finished before and are kept" in logged
    assert decoded(log) == Counter(f"{i}.png" for i in range(20, 30))
    assert_same(store, records, cache / "fresh")


def damage_pixels(folder: Path, row: int) -> None:
    file = folder / "images.npy"
    content = bytearray(file.read_bytes())
    content[-30 * SIZE * SIZE + row * SIZE * SIZE + 5] ^= 1
    file.write_bytes(content)


def cut_journal(folder: Path) -> None:
    file = folder / "chunks.jsonl"
    file.write_bytes(file.read_bytes()[:-7])


def lie_in_journal(folder: Path) -> None:
    file = folder / "chunks.jsonl"
    file.write_text(file.read_text().replace(",16,", ",20,", 1))


def cut_pixels(folder: Path) -> None:
    os.truncate(folder / "images.npy", 3000)


DAMAGES: list[tuple[Callable[[Path], None], range]] = [
    (lambda folder: damage_pixels(folder, 9), range(8, 12)),
    (cut_journal, range(16, 20)),
    (cut_pixels, range(20)),
    (lambda folder: (folder / "images.npy").unlink(), range(20)),
    (lambda folder: (folder / "chunks.jsonl").unlink(), range(20)),
    (lambda folder: (folder / "chunks.jsonl").write_bytes(b"\xff\x00 []\n12345678 [1,2]\n\n"), range(20)),
]


@pytest.mark.parametrize(("damage", "again"), DAMAGES)
def test_what_was_damaged_since_is_prepared_again(
    root: Path, cache: Path, log: Path, damage: Callable[[Path], None], again: range
) -> None:
    interrupted(root, cache)
    damage(next(cache.iterdir()))
    records = records_of([f"{i}.png" for i in range(30)], Wounded(str(root), log=str(log)))
    store = prepare(records, SIZE, cache, workers=0)
    assert decoded(log) == Counter(f"{i}.png" for i in (*again, *range(20, 30)))
    assert_same(store, records, cache / "fresh")
    assert verify(store) == []


def test_added_and_changed_images_alone_are_decoded(root: Path, cache: Path, log: Path, logged: list[str]) -> None:
    names = write_images(root, 30)
    (root / "7.png").write_text("no image")
    source = Wounded(str(root), log=str(log))
    prepare(records_of(names, source), SIZE, cache)
    decoded(log)
    for name, shade in (("new.png", 9), ("3.png", 8)):
        Image.new("L", (40, 40), shade).save(root / name)
    records = records_of(["new.png", *(n for n in reversed(names) if n != "11.png")], source)
    store = prepare(records, SIZE, cache)
    assert decoded(log) == Counter(["new.png", "3.png", "7.png"])
    assert "27 of them are taken over from an earlier store" in logged
    assert_same(store, records, cache / "fresh")
    assert verify(store) == []


def test_images_are_not_taken_over_from_a_damaged_store_or_another_root(root: Path, cache: Path, log: Path) -> None:
    names, source = write_images(root, 30), Wounded(str(root), log=str(log))
    damage_pixels(prepare(records_of(names, source), SIZE, cache).path, 9)
    decoded(log)
    store = prepare(records_of(names[:-1], source), SIZE, cache)
    assert decoded(log) == Counter(f"{i}.png" for i in range(8, 12))
    assert_same(store, records_of(names[:-1], source), cache / "fresh")
    other = root.parent / "other"
    other.mkdir()
    for name in names[:-1]:  # the same names, sizes and times, but other images
        content = np.asarray(Image.open(root / name))
        Image.fromarray(255 - content).save(other / name, compress_level=0)
        Image.fromarray(content).save(root / name, compress_level=0)
        for file in (root / name, other / name):
            os.utime(file, ns=(10**18, 10**18))
    prepare(records_of(names[:-1], source), SIZE, cache)
    decoded(log)
    elsewhere = Wounded(str(other), log=str(log))
    prepare(records_of(names[:-2], elsewhere), SIZE, cache)
    assert decoded(log).total() == 28


def test_an_image_whose_earlier_store_vanishes_is_decoded(root: Path, tmp_path: Path) -> None:
    gone = Copy(Pixels(tmp_path / "gone.npy", 128, SIZE, 9), 3, PreparedImage("digest", "", "", "key"))
    pixels = Pixels.create(tmp_path / "images.npy", 1, SIZE)
    source = FileSource(str(root))
    path = write_images(root, 1)[0]
    finished = next(run(source, pixels, [Chunk(0, ((path, "key", gone),))], 0))
    assert finished.images[0].digest == digest(source.read(path)[0])
    assert pixels.read(0, 1) == square(source.read(path)[0], SIZE).tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (64, 9), (130, 70)])
def test_digest_and_checksum_against_zlib(shape: tuple[int, int], tmp_path: Path) -> None:
    """Runs compare digests with those of older ones, so the formula must not change with the library that computes it."""
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    marks = [zlib.crc32(image[top : top + 64].tobytes()).to_bytes(4, "little") for top in range(0, shape[0], 64)]
    named = hashlib.blake2b(np.array(shape, np.int64).tobytes() + b"".join(marks), digest_size=16).hexdigest()
    assert digest(image) == digest(np.asfortranarray(image)) == named

    side = shape[0]
    pixels = Pixels.create(tmp_path / "images.npy", 2, side)
    images = np.random.default_rng(1).integers(0, 256, (2, side, side)).astype(np.uint8)
    assert pixels.write(0, images) == zlib.crc32(images.tobytes())


def test_a_finished_store_clears_the_interrupted_one_that_it_holds(root: Path, cache: Path, log: Path) -> None:
    interrupted(root, cache)
    left = next(cache.iterdir())
    few = records_of([f"{i}.png" for i in range(10)], Wounded(str(root), log=str(log)))
    prepare(few, SIZE, cache)
    assert decoded(log).total() == 0
    assert left.exists(), "ten of its images are here, ten are not"
    Image.new("L", (40, 40)).save(root / "30.png")
    prepare(records_of([f"{i}.png" for i in range(31)], Wounded(str(root), log=str(log))), SIZE, cache)
    assert decoded(log).total() == 11
    assert not left.exists()


def test_verify_names_damaged_images_and_the_next_preparation_repairs_them(
    root: Path, cache: Path, log: Path, logged: list[str]
) -> None:
    names, source = write_images(root, 30), Wounded(str(root), log=str(log))
    store = prepare(records_of(names, source), SIZE, cache)
    assert verify(store) == []
    damage_pixels(store.path, 9)
    decoded(log)
    assert verify(store) == ["8.png", "9.png", "10.png", "11.png"]
    store = prepare(records_of(names, source), SIZE, cache)
    assert any("damaged" in line for line in logged)
    assert decoded(log) == Counter(["8.png", "9.png", "10.png", "11.png"])
    assert_same(store, records_of(names, source), cache / "fresh")
    os.truncate(store.path / "images.npy", 5000)
    assert verify(store) == names


@pytest.mark.parametrize("name", ["images.npy", "images.csv", "store.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "garbage"])
def test_a_store_that_is_not_whole_is_made_whole(root: Path, cache: Path, name: str, how: str) -> None:
    records = records_of(write_images(root, 10), FileSource(str(root)))
    file = prepare(records, SIZE, cache).path / name
    if how == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"[1]\n\x00\xff")
    store = prepare(records, SIZE, cache)
    assert_same(store, records, cache / "fresh")
    assert not list(cache.glob("*.partial"))


def test_two_preparations_of_one_store_share_the_work(root: Path, cache: Path, log: Path, logged: list[str]) -> None:
    records = records_of(write_images(root, 30), Wounded(str(root), slow=0.02, log=str(log)))
    found: list[Store] = []

    def work() -> None:
        found.append(prepare(records, SIZE, cache, workers=0))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoded(log) == Counter(records.table["path"])
    assert sum("waiting" in line for line in logged) == 2
    assert len({store.path for store in found}) == 1
    assert [folder.name for folder in cache.iterdir()] == [found[0].path.name]
    assert sorted(file.name for file in found[0].path.iterdir()) == [
        "chunks.jsonl",
        "images.csv",
        "images.npy",
        "preparation.json",
        "store.json",
    ]


def test_a_store_that_would_not_fit_is_refused_before_it_is_begun(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(root)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    records = records_of(write_images(root, 30), FileSource(str(root)))
    with pytest.raises(ZooError, match=r"30 images at 300×300 take 3 MB, .* has only 1 MB free\. .*ZOO_CACHE"):
        prepare(records, 300, cache)
    assert not list(cache.rglob("images.npy"))
    assert prepare(records, SIZE, cache).size == SIZE


def test_a_disk_that_is_full_all_the_same_is_an_error_that_leaves_nothing_large(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    records = records_of(write_images(root, 30), FileSource(str(root)))
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(ZooError, match=r"No space left on device.*ZOO_CACHE"):
            prepare(records, SIZE, cache)
    assert not list(cache.rglob("images.npy"))
    with monkeypatch.context() as patch:
        patch.setattr(Pixels, "write", full)
        with pytest.raises(ZooError, match="No space left on device"):
            prepare(records, SIZE, cache)
    assert_same(prepare(records, SIZE, cache, workers=0), records, cache / "fresh")


def test_a_kill_just_before_the_store_appears_costs_nothing(
    root: Path, cache: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*arguments: object) -> None:
        raise SystemExit

    records = records_of(write_images(root, 30), Wounded(str(root), log=str(log)))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(SystemExit):
            prepare(records, SIZE, cache)
    assert [folder.suffix for folder in cache.iterdir()] == [".partial"]
    decoded(log)
    store = prepare(records, SIZE, cache)
    assert decoded(log).total() == 0
    assert_same(store, records, cache / "fresh")


def test_a_kill_just_after_the_pixels_are_created_leaves_no_store_that_others_cannot_take_from(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = records_of(write_images(root, 5), FileSource(str(root)))
    create = Pixels.create

    def killed(*arguments: Any) -> None:
        create(*arguments)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Pixels, "create", killed)
        with pytest.raises(SystemExit):
            prepare(records, SIZE, cache)
    (half,) = cache.glob("*.partial")
    (half / ".partial-1-images.csv").touch()
    store = prepare(records, SIZE, cache)
    assert not list(store.path.glob(".partial-*"))
    assert json.loads((store.path / stores.HOW).read_text()) == stores.preparation()


class Changing(Wounded):
    """Somebody replaces the image number 5 while 20 is read."""

    def read(self, path: str) -> tuple[np.ndarray, str]:
        if path == "20.png":
            Image.new("L", (40, 40), 77).save(Path(self.root, "5.png"))
        return super().read(path)


def test_images_that_change_meanwhile_never_get_into_a_store(root: Path, cache: Path, log: Path) -> None:
    names = write_images(root, 30)
    with pytest.raises(ZooError, match="changed while they were prepared"):
        prepare(records_of(names, Changing(str(root), log=str(log))), SIZE, cache)
    decoded(log)
    records = records_of(names, Wounded(str(root), log=str(log)))
    store = prepare(records, SIZE, cache)
    assert (store.images[5] == 77).all()
    assert decoded(log) == Counter(["5.png"])
    assert_same(store, records, cache / "fresh")
    assert not list(cache.glob("*.partial"))
