"""The store: made once, found again, complete or not there, and never stopped by a bad image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from prepared import records_of, write_images

from zoo.core.errors import ZooError
from zoo.core.locks import LOCK
from zoo.core.records import Records
from zoo.data.images import FileSource
from zoo.data.resize import square
from zoo.data.store import prepare


def make_records(root: Path, count: int, size: int = 40) -> Records:
    return records_of(write_images(root, count, size), FileSource(str(root)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


def test_a_store_is_made_once_and_found_again(root: Path, tmp_path: Path, logged: list[str]) -> None:
    records = make_records(root, 5)
    first = prepare(records, 16, tmp_path / "cache")
    files = sorted(file.name for file in first.path.iterdir())
    (first.path / LOCK).touch()  # as a kill leaves it that comes once the store is published
    again = prepare(records, 16, tmp_path / "cache")
    assert sorted(file.name for file in again.path.iterdir()) == files
    assert len(logged) == 1
    assert "5 images at 16×16" in logged[0]
    assert first.path == again.path
    np.testing.assert_array_equal(first.images, again.images)
    assert prepare(records, 20, tmp_path / "cache").images.shape == (5, 20, 20)


def test_pixels_are_those_of_the_image_where_no_resampling_is_needed(root: Path, tmp_path: Path) -> None:
    store = prepare(make_records(root, 3), 40, tmp_path / "cache")
    for i in range(3):
        np.testing.assert_array_equal(store.images[i], np.asarray(Image.open(root / f"{i}.png")))


def test_a_changed_image_makes_another_store(root: Path, tmp_path: Path) -> None:
    records = make_records(root, 3)
    before = prepare(records, 16, tmp_path / "cache")
    Image.new("L", (40, 40), 7).save(root / "1.png")
    after = prepare(records, 16, tmp_path / "cache")
    assert before.fingerprint != after.fingerprint
    assert (after.images[1] == 7).all()


def test_bad_images_are_set_aside_with_a_reason_and_the_rest_goes_on(root: Path, tmp_path: Path) -> None:
    records = make_records(root, 4)
    (root / "1.png").write_text("this is a letter")
    (root / "2.png").unlink()
    store = prepare(records, 16, tmp_path / "cache")
    reasons = store.table["reason"].tolist()
    assert [bool(r) for r in reasons] == [False, True, True, False]
    assert "not an image" in reasons[1]


def test_not_one_readable_image_is_an_error_with_the_first_reason(root: Path, tmp_path: Path) -> None:
    records = make_records(root, 2)
    for i in range(2):
        (root / f"{i}.png").write_bytes(b"")
    with pytest.raises(ZooError, match=r"not one of the 2 images can be read; the first, 0\.png"):
        prepare(records, 16, tmp_path / "cache")


def test_processes_and_one_process_make_the_same_store(root: Path, tmp_path: Path) -> None:
    records = make_records(root, 150, size=20)
    serial = prepare(records, 10, tmp_path / "a", workers=0)
    parallel = prepare(records, 10, tmp_path / "b", workers=2)
    np.testing.assert_array_equal(serial.images, parallel.images)
    pd.testing.assert_frame_equal(serial.table, parallel.table)


def test_identical_images_have_the_same_digest_whatever_their_file(root: Path, tmp_path: Path) -> None:
    records = make_records(root, 3)
    Image.open(root / "0.png").save(root / "2.png", compress_level=0)
    digest = prepare(records, 16, tmp_path / "cache").table["digest"]
    assert digest[0] == digest[2] != digest[1]


def test_an_unwritable_cache_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    with pytest.raises(ZooError, match="ZOO_CACHE"):
        prepare(make_records(root, 2), 16, tmp_path / "cache")


def test_images_are_padded_to_a_square_so_that_proportions_stay() -> None:
    image = np.full((20, 40), 200, np.uint8)
    result = square(image, 40)
    assert result.shape == (40, 40)
    assert (result[10:30] == 200).all()
    assert (result[:10] == 0).all()
    assert (result[30:] == 0).all()


@pytest.mark.parametrize(("side", "size", "most"), [(64, 16, 2), (72, 16, 4), (63, 16, 12), (40, 32, 40)])
def test_resampling_averages_what_it_shrinks(side: int, size: int, most: int) -> None:
    checkerboard = (np.indices((side, side)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert np.abs(square(checkerboard, size).astype(int) - 100).max() <= most


def test_a_whole_factor_is_averaged_exactly() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    means = image.reshape(16, 4, 16, 4).mean(axis=(1, 3))
    assert np.abs(square(image, 16) - means).max() <= 0.5


@pytest.mark.parametrize("size", [20, 50, 96, 224])
def test_a_shrunk_image_is_near_its_local_means(size: int) -> None:
    """Against plain averages over the exact area that each pixel covers."""
    y, x = np.indices((300, 300))
    image = (128 + 60 * np.sin(x / 17) + 60 * np.cos(y / 23)).astype(np.uint8)
    edges = np.arange(size + 1) * 300 / size
    cover = np.clip(np.minimum.outer(edges[1:], np.arange(1, 301)) - np.maximum.outer(edges[:-1], np.arange(300)), 0, 1)
    means = cover @ image @ cover.T * (size / 300) ** 2
    assert np.abs(square(image, size) - means).mean() < 1.5


def test_without_kornia_another_store_is_made(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    records = make_records(root, 3)
    full = prepare(records, 16, tmp_path / "cache")
    monkeypatch.setattr("zoo.data.store.fast_png", lambda: None)
    logged.clear()
    without = prepare(records, 16, tmp_path / "cache")
    assert without.path != full.path
    assert len(logged) == 1, "images of the other preparation were taken over"
