"""Workers of a preparation: images that kill them, scripts without a guard, and what a worker loads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prepared import KILLED, SUPPORT, Wounded, records_of, write_images

from zoo.core.calls import PluginError
from zoo.core.errors import ZooError
from zoo.core.origins import Origin
from zoo.core.registry import registry
from zoo.data import store as stores
from zoo.data.images import FileSource
from zoo.data.journal import Pixels
from zoo.data.store import prepare, verify
from zoo.data.workers import CRASHED, Chunk, run

SIZE = 16


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CHUNK", 4)


def test_an_image_that_kills_its_worker_is_set_aside_and_the_rest_goes_on(root: Path, cache: Path) -> None:
    names = write_images(root, 40)
    records = records_of(names, Wounded(str(root), deadly=("6.png", "7.png")))
    store = prepare(records, SIZE, cache, workers=2)
    reasons = store.table["reason"].to_numpy()
    assert np.flatnonzero(reasons != "").tolist() == [6, 7]
    assert set(reasons[[6, 7]]) == {CRASHED}
    good = [name for name, reason in zip(names, reasons, strict=True) if not reason]
    fresh = prepare(records_of(good, FileSource(str(root))), SIZE, cache / "fresh")
    np.testing.assert_array_equal(store.images[reasons == ""], fresh.images)
    assert not store.images[[6, 7]].any()
    assert verify(store) == []


class Greedy(FileSource):
    """Takes more memory for one image than there is."""

    def read(self, path: str) -> tuple[np.ndarray, str]:
        if path == "1.png":
            raise MemoryError
        return super().read(path)


def test_memory_that_runs_out_sets_its_image_aside(root: Path, cache: Path) -> None:
    store = prepare(records_of(write_images(root, 3), Greedy(str(root))), SIZE, cache, workers=0)
    assert store.table["reason"].tolist() == ["", "not enough memory to read it", ""]
    assert not store.images[1].any()
    assert verify(store) == []


def test_a_decoder_that_kills_every_worker_ends_the_run_and_keeps_the_work(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.setattr("zoo.core.pools.MAX_CRASHES", 1)
    names = write_images(root, 20)
    source = Wounded(str(root), deadly=("12.png", "13.png"))
    with pytest.raises(ZooError, match=r"died on 2 images.*kept"):
        prepare(records_of(names, source), SIZE, cache, workers=1)
    prepare(records_of(names, Wounded(str(root))), SIZE, cache, workers=0)
    assert any("were finished before" in line for line in logged)


CRASHING = KILLED.replace("slow=0.03, log=sys.argv[4])", 'deadly=("6.png",))').replace(", workers=2)", ")")


def test_an_image_that_killed_the_whole_run_is_set_aside_by_the_next_one(root: Path, cache: Path) -> None:
    write_images(root, 60)
    words = [sys.executable, "-c", CRASHING, str(SUPPORT), str(root), str(cache)]
    assert subprocess.run(words, check=False).returncode == 3
    assert subprocess.run(words, check=False).returncode == 0
    images = pd.read_csv(next(cache.glob("*/images.csv")), keep_default_na=False)
    assert images["reason"].to_numpy()[6] == CRASHED
    assert (images["reason"] == "").sum() == 59


def test_a_script_without_a_main_guard_prepares_in_parallel(root: Path, cache: Path, tmp_path: Path) -> None:
    write_images(root, 60)
    script = tmp_path / "script.py"
    unguarded = KILLED.replace('if __name__ == "__main__":\n', "").replace("\n    ", "\n").replace("slow=0.03, ", "")
    script.write_text(textwrap.dedent(unguarded))
    words = [sys.executable, str(script), str(SUPPORT), str(root), str(cache), str(tmp_path / "log")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(pd.read_csv(next(cache.glob("*/images.csv")))) == 60


def test_chunks_are_handed_out_as_they_are_needed(root: Path, tmp_path: Path) -> None:
    names = write_images(root, 4)
    pixels = Pixels.create(tmp_path / "images.npy", 400, SIZE)
    asked = 0

    def chunks() -> Iterator[Chunk]:
        nonlocal asked
        for start in range(0, 400, 4):
            asked += 1
            yield Chunk(start, tuple((name, "", None) for name in names))

    results = run(FileSource(str(root)), pixels, chunks(), 2)
    for done in range(1, 40):
        next(results)
        assert asked <= done + 4
    results.close()


def test_a_worker_starts_without_heavy_libraries() -> None:
    code = "import sys, zoo.data.workers, zoo.data.images; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "zoo.data.workers" in loaded
    assert not {"pandas", "keras", "tensorflow", "jax", "sklearn", "scipy", "matplotlib"} & set(loaded)


class Stumbling(FileSource):
    def read(self, path: str) -> tuple[np.ndarray, str]:
        raise KeyError("PixelData")


def test_an_error_of_a_plugin_s_own_source_names_the_plugin_and_the_image(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = records_of(write_images(root, 4), Stumbling(str(root)))
    with pytest.raises(KeyError):  # of zoo's own source it is an error of zoo
        prepare(records, SIZE, cache, workers=0)
    monkeypatch.setattr(registry(), "origins", (Origin("mine", "zoo-mine", "1.0", __name__),))
    with pytest.raises(
        PluginError, match=r"^plugin mine \(zoo-mine 1.0\) failed in Stumbling.read .* image '0.png': KeyError"
    ):
        prepare(records, SIZE, cache, workers=0)
