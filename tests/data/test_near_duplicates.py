"""Near-duplicates: found exactly as by comparing every pair, confirmed by pixels, unmoved by what people do to files."""

from __future__ import annotations

import io

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.data.audit import near


def image(seed: int, size: int = 64) -> np.ndarray:
    """Two dark lungs with ribs and vessels of their own, between a bright middle and bright sides."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    values = 200 - 120 * np.exp(-(((x - 0.3) / 0.12) ** 2 + ((y - 0.5) / 0.3) ** 2))
    values -= 120 * np.exp(-(((x - 0.7) / 0.12) ** 2 + ((y - 0.5) / 0.3) ** 2))
    for _ in range(12):
        a, b, c = rng.random(3)
        values += 40 * np.sin(6 * np.pi * (a * x + b * y) * 2 + 6 * c) * np.exp(-((x - b) ** 2 + (y - c) ** 2) / 0.08)
    return np.clip(values, 0, 255).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 60),
    st.integers(0, 90),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([7, 2048]),
)
def test_the_search_finds_the_pairs_that_brute_force_finds(
    seed: int, count: int, threshold: int, words: int, block: int
) -> None:
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2, (max(count // 4, 1), 64 * words))
    bits = centres[rng.integers(0, len(centres), count)] ^ (rng.random((count, 64 * words)) < rng.uniform(0, 0.3))
    hashes = np.packbits(bits.astype(bool), axis=1).view(np.uint64)
    distance = (bits[:, None, :] != bits[None, :, :]).sum(axis=2)
    expected = {
        (i, j, distance[i, j]) for i in range(count) for j in range(i + 1, count) if distance[i, j] <= threshold
    }
    half = count // 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_BLOCK", block)
        found = list(zip(*near.pairs_within(hashes, threshold), strict=True))
        between = list(zip(*near.pairs_between(hashes[:half], hashes[half:], threshold), strict=True))
    assert between == sorted((i, j - half, d) for i, j, d in expected if i < half <= j)
    assert set(found) == expected
    assert len(found) == len(expected)
    assert found == sorted(found)


def test_no_image_has_no_pair() -> None:
    none = np.zeros((0, 4), np.uint64)
    for pairs in (near.pairs_within(none, 10), near.pairs_between(none, none, 10)):
        assert [len(part) for part in pairs] == [0, 0, 0]


def test_the_hash_is_that_of_imagehash() -> None:
    hashes = [near.perceptual_hash(image(seed)) for seed in (0, 1)]
    theirs = [imagehash.phash(Image.fromarray(image(seed)), hash_size=16) for seed in (0, 1)]
    assert near.distances(np.array(hashes), np.array([0]), np.array([1])).tolist() == [theirs[0] - theirs[1]]


def jpeg(pixels: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=40)
    return np.asarray(Image.open(file))


def shrunk(pixels: np.ndarray) -> np.ndarray:
    small = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)
    return np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))


CHANGES = {
    "recompressed": jpeg,
    "resized": shrunk,
    "brighter": lambda p: np.clip(p * 1.15, 0, 255).astype(np.uint8),
    "less contrast": lambda p: (p * 0.7 + 40).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_other_images_are_not(change: str) -> None:
    images = np.stack([*(image(seed) for seed in range(30)), *(CHANGES[change](image(seed)) for seed in range(10))])
    hashes = np.array([near.perceptual_hash(each) for each in images])
    pairs, proposed = near.confirmed(hashes, lambda row: images[row], np.arange(len(images)))
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(i, i + 30) for i in range(10)]
    assert proposed >= 10


def test_pixels_decide_where_hashes_agree() -> None:
    images = np.stack([image(0), image(1), np.full((64, 64), 90, np.uint8), np.full((64, 64), 90, np.uint8)])
    hashes = np.zeros((4, 4), np.uint64)
    pairs, proposed = near.confirmed(hashes, lambda row: images[row], np.arange(4), threshold=0)
    assert proposed == 6
    assert len(pairs) == 0  # an empty image correlates with nothing


def test_the_correlation_is_pearson_s_of_the_details() -> None:
    a, b = image(3), image(4)
    fine = []
    for each in (a, b):
        from scipy.ndimage import gaussian_filter

        fine.append((each - gaussian_filter(each.astype(float), 4)).ravel())
    expected = np.corrcoef(*fine)[0, 1]
    found = near.correlations(lambda row: (a, b)[row], np.array([0]), np.array([1]))
    assert found[0] == pytest.approx(expected, abs=1e-4)
