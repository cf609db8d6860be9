"""A corpus of broken, odd and hostile files: none crashes, hangs or gets in as another image; each is read or has its reason."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bad_files import ASIDE, GRAY, READ, WHOLE, Case, originals, write_corpus

from zoo.core.records import BadImage, Records
from zoo.data import decode as decoding
from zoo.data import png
from zoo.data.images import ArraySource, FileSource
from zoo.data.store import Store, prepare, verify
from zoo.data.workers import digest

SECONDS_PER_FILE = 10


@dataclass(frozen=True)
class Corpus:
    root: Path
    cases: dict[str, Case]

    @property
    def paths(self) -> list[str]:
        return list(self.cases)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("corpus") / "root"
    root.mkdir()
    return Corpus(root, write_corpus(root))


@pytest.fixture(scope="module")
def store(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The corpus prepared by two processes."""
    names = [f"image {number}" for number in range(len(corpus.cases))]
    table = pd.DataFrame({"image": names, "path": corpus.paths, "patient": names, "Mass": 0.0})
    records = Records(table, ("Mass",), FileSource(str(corpus.root)))
    return prepare(records, 32, tmp_path_factory.mktemp("cache"), workers=2)


def test_there_are_enough_of_them(corpus: Corpus) -> None:
    assert len(corpus.cases) >= 300


TIMED = """
import pickle, signal, sys
from zoo.data.images import FileSource
from zoo.core.records import BadImage
source, paths = pickle.load(sys.stdin.buffer)
for path in paths:
    print(ascii(path), flush=True)
    signal.alarm(int(sys.argv[1]))  # ends the process, whatever native code it is in
    try:
        source.read(path)
    except BadImage:
        pass
print("finished")
"""


def test_none_hangs_or_crashes_the_process_that_reads_it(corpus: Corpus) -> None:
    words = [sys.executable, "-c", TIMED, str(SECONDS_PER_FILE)]
    given = pickle.dumps((FileSource(str(corpus.root)), corpus.paths))
    done = subprocess.run(words, input=given, capture_output=True, check=False)
    last = done.stdout.decode().splitlines()[-1]
    assert (done.returncode, last) == (0, "finished"), f"{last}: {done.stderr.decode()[-500:]}"


def test_each_is_read_or_set_aside_for_its_reason(corpus: Corpus, store: Store, tmp_path: Path) -> None:
    wrong, like = [], {}
    for kind, content in originals().items():
        (tmp_path / kind).write_bytes(content)
        like[kind] = digest(decoding.decode(tmp_path / kind)[0])
    for (path, case), image in zip(corpus.cases.items(), store.table.itertuples(), strict=True):
        outcome = "set aside" if image.reason else "read"
        whole = outcome == "set aside" or image.digest == like[case.like]
        fits = whole if case.outcome == WHOLE else case.outcome not in (READ, ASIDE) or outcome == case.outcome
        said = image.reason or image.note
        if not fits or (case.pattern and not re.search(case.pattern, said)):
            wrong.append(f"{path[:40]!a}: {outcome} ({said}), should be {case}")
    assert not wrong, "\n".join(wrong)
    assert verify(store) == []


def test_reasons_are_short_and_name_no_file_of_the_system(corpus: Corpus, store: Store) -> None:
    for reason in store.table["reason"].unique():
        assert len(reason) <= 130, reason
        assert "\n" not in reason
        assert str(corpus.root) not in reason
        assert "crashed" not in reason


def test_images_set_aside_are_black_and_have_no_digest(store: Store) -> None:
    aside = (store.table["reason"] != "").to_numpy()
    assert 100 < aside.sum() < len(aside) - 100
    assert not store.images[aside].any()
    assert ((store.table["digest"] == "") == aside).all()


def result(source: FileSource, path: str) -> tuple[np.ndarray, str] | None:
    try:
        return source.read(path)
    except BadImage:
        return None


def test_the_fast_decoder_and_pillow_see_the_same_images(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    if png.fast_png() is None:
        pytest.skip("kornia_rs is not installed")
    source, both = FileSource(str(corpus.root)), 0
    fast = {path: result(source, path) for path in corpus.paths}
    monkeypatch.setattr(png, "fast_png", lambda: None)
    for path in corpus.paths:
        here, there = fast[path], result(source, path)
        if here is not None and there is not None:
            both += 1
            np.testing.assert_array_equal(here[0], there[0], err_msg=ascii(path))
            assert here[1] == there[1], path
        elif corpus.cases[path].outcome == WHOLE:
            continue  # whether an image with a damaged comment is read is each decoder's own affair
        else:
            assert here is None, f"{path}: only the fast decoder reads it"
            assert there is None, f"{path}: only Pillow reads it"
    assert both > 80


def test_any_flipped_bit_of_a_png_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, file = originals()["png"], tmp_path / "image.png"
    for way in ("fast", "pillow"):
        if way == "pillow":
            monkeypatch.setattr(png, "fast_png", lambda: None)
        for at in range(0, len(content), 3):
            damaged = bytearray(content)
            damaged[at] ^= 1 << at % 8
            file.write_bytes(damaged)
            try:
                pixels, _ = decoding.decode(file)
            except BadImage:
                continue
            np.testing.assert_array_equal(pixels, GRAY, err_msg=f"{way}, byte {at}")


def test_an_interlaced_png_is_read_like_any_other(corpus: Corpus) -> None:
    np.testing.assert_array_equal(FileSource(str(corpus.root)).read("adam7-0.png")[0], GRAY)


def test_paths_outside_are_read_only_where_that_is_allowed(corpus: Corpus) -> None:
    inside, anywhere = FileSource(str(corpus.root)), FileSource(str(corpus.root), allow_outside=True)
    outside = ["../secret.png", str(corpus.root.parent / "secret.png")]
    for path in outside:
        with pytest.raises(BadImage, match="outside the root"):
            inside.read(path)
        np.testing.assert_array_equal(anywhere.read(path)[0], GRAY)
    with pytest.raises(BadImage, match="not a regular file"):
        anywhere.read("/dev/zero")
    assert inside.fingerprint(outside) != anywhere.fingerprint(outside)
    assert not set(inside.image_keys(outside)) & set(anywhere.image_keys(outside))


def test_a_root_that_is_itself_a_link_is_no_way_out(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(corpus.root)
    source = FileSource(str(tmp_path / "link"))
    np.testing.assert_array_equal(source.read("good.png")[0], GRAY)
    with pytest.raises(BadImage, match="outside the root"):
        source.read("../link2/good.png")
    (corpus.root.parent / "root2").mkdir(exist_ok=True)
    with pytest.raises(BadImage, match="outside the root"):
        source.read(str(corpus.root.parent / "root2" / "image.png"))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    marker, file = tmp_path / "unpickled", tmp_path / "images.npz"
    trap = np.empty(1, object)
    trap[0] = Trap(marker)
    np.savez(file, train_images=trap)
    np.savez(tmp_path / "named.npz", test_images=trap, train_images=GRAY[None])
    with pytest.raises(BadImage):
        ArraySource(str(file)).read("train/0")
    with pytest.raises(BadImage):
        ArraySource(str(tmp_path / "named.npz")).read("test/0")
    np.testing.assert_array_equal(ArraySource(str(tmp_path / "named.npz")).read("train/0")[0], GRAY)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(BadImage):
        ArraySource(str(tmp_path / "pickle.npz")).read("train/0")
    table = pd.DataFrame({"image": ["a"], "path": ["train/0"], "patient": ["a"], "Mass": 0.0})
    records = Records(table, ("Mass",), ArraySource(str(tmp_path / "named.npz")))
    store = prepare(records, 16, tmp_path / "cache")
    np.save(store.path / "images.npy", trap, allow_pickle=True)
    assert prepare(records, 16, tmp_path / "cache").images.shape == (1, 16, 16)
    assert not marker.exists()
    np.load(file, allow_pickle=True)["train_images"]
    assert marker.exists(), "the trap must work, or this test shows nothing"


def test_reading_warns_of_nothing(corpus: Corpus) -> None:
    source = FileSource(str(corpus.root))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in corpus.paths:
            result(source, path)
