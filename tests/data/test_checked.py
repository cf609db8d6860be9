"""Prepared images whose bytes were changed after they were written: noticed on first use, named, and mended."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prepared import records_of, write_images

from zoo.core.errors import DataError
from zoo.data import checked
from zoo.data.images import FileSource
from zoo.data.journal import Finished, PreparedImage
from zoo.data.store import Store, prepare

COUNT, SIZE = 130, 8  # three blocks: 64, 64 and 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    write_images(root, COUNT, 12)
    return root


@pytest.fixture
def store(root: Path, tmp_path: Path) -> Callable[[], Store]:
    records = records_of([f"{i}.png" for i in range(COUNT)], FileSource(str(root)))
    return lambda: prepare(records, SIZE, tmp_path)


def flip(file: Path, place: int) -> None:
    """Change one bit at a place, counted from the end where it is negative."""
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def place_of(row: int) -> int:
    """The place of the last byte of an image in the file, from its end."""
    return (row - COUNT + 1) * SIZE * SIZE - 1


READS: dict[str, Callable[[Any], Any]] = {
    "one": lambda images: images[70],
    "slice": lambda images: images[60:75],
    "rows": lambda images: images[np.array([3, 70, 129])],
    "list": lambda images: images[[70]],
    "mask": lambda images: images[np.arange(COUNT) == 70],
    "pixels": lambda images: images[70, 2:5],
    "new axis": lambda images: images[None],
    "all": lambda images: images[...],
    "pixel mask": lambda images: images[np.ones((COUNT, SIZE, SIZE), bool)],
    "loop": list,
    "arithmetic": lambda images: images + np.uint8(1),
}


@pytest.mark.parametrize("how", READS)
def test_a_changed_byte_is_noticed_however_its_image_is_read(store: Callable[[], Store], how: str) -> None:
    whole = READS[how](store().images)
    flip(store().path / "images.npy", place_of(100))  # of another image in the same block
    with pytest.raises(DataError, match=r"the prepared images 65 to 128 of the store .* no longer have the checksum"):
        READS[how](store().images)
    mended = READS[how](store().images)  # it was given up
    assert np.array_equal(np.array(mended), np.array(whole))


def test_the_message_names_the_store_and_the_command_and_other_blocks_can_be_read(
    store: Callable[[], Store], root: Path
) -> None:
    before = store()
    plain = np.array(before.images[...])
    flip(before.path / "images.npy", place_of(0))
    images = store().images
    assert np.array_equal(images[64:], plain[64:])
    assert type(images[64:]) is np.ndarray
    command = f"zoo data prepare --data images --root {root} --image-size {SIZE}"
    with pytest.raises(DataError, match=f"{re.escape(str(before.path))} .*{re.escape(command)}$"):
        images[5]
    with pytest.raises(DataError):  # not the first time only
        images[5]


def test_only_the_damaged_block_is_prepared_again(store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    flip(store().path / "images.npy", place_of(129))
    with pytest.raises(DataError, match="images 129 to 130 of the store"):
        store().images[129]
    read: list[str] = []
    original = FileSource.read
    monkeypatch.setattr(FileSource, "read", lambda self, path: read.append(path) or original(self, path))  # type: ignore[func-returns-value]
    store().images[...]
    assert read == ["128.png", "129.png"]


@pytest.mark.parametrize("name", ["images.csv", "store.json", "chunks.jsonl"])
@pytest.mark.parametrize("place", [0, 40, -5])
def test_a_changed_byte_in_its_tables_never_changes_what_is_read(
    store: Callable[[], Store], name: str, place: int
) -> None:
    before = store()
    flip(before.path / name, min(place, (before.path / name).stat().st_size - 2))
    after = store()
    assert after.table.equals(before.table)
    assert np.array_equal(after.images[...], np.array(before.images))
    if name != "store.json":  # where a number may be written in another way
        assert (after.path / "images.csv").read_text().splitlines()[1:] == [
            ",".join(row) for row in before.table.itertuples(index=False)
        ]


def test_a_store_without_checksums_is_prepared_anew(store: Callable[[], Store]) -> None:
    before = store()
    (before.path / "chunks.jsonl").unlink()
    flip(before.path / "images.npy", place_of(3))
    after = store()
    assert (after.path / "chunks.jsonl").is_file()
    assert not np.array_equal(np.load(after.path / "images.npy")[3], np.zeros((SIZE, SIZE)))
    after.images[...]


def test_a_block_is_compared_once(store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = checked.crc32
    store()
    images = store().images
    monkeypatch.setattr(checked, "crc32", lambda data: seen.append(len(data)) or original(data))  # type: ignore[func-returns-value]
    for rows in (slice(0, 5), [1, 129], slice(None), slice(None)):
        images[rows]
    assert seen == [64 * SIZE * SIZE, 2 * SIZE * SIZE, 64 * SIZE * SIZE]


@pytest.mark.parametrize("starts", [[0, 1], [0, 3], [0, 2, 2], [-2, 2]])
def test_a_journal_that_does_not_name_each_image_once_is_no_journal(starts: list[int], tmp_path: Path) -> None:
    image = PreparedImage("", "", "", "")
    with pytest.raises(ValueError, match="the journal"):
        checked.Blocks([Finished(start, 0, (image, image)) for start in starts], 4, tmp_path, "")


def test_damage_that_tensorflow_meets_in_its_threads_ends_in_the_error_that_names_it(
    store: Callable[[], Store],
) -> None:
    from zoo.engine.feed import inference_feed

    flip(store().path / "images.npy", place_of(100))
    images = store().images
    with pytest.raises(DataError, match="the prepared images 65 to 128"), checked.naming_damage(images):
        list(inference_feed(images, np.arange(COUNT), 32))
    with pytest.raises(KeyError), checked.naming_damage(np.zeros(3)):
        raise KeyError
