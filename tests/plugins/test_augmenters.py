"""The built-in augmenters: what each option does to films, and MixUp's shares against SciPy's Beta distribution."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy import ndimage, stats

from zoo.errors import UsageError
from zoo.ops import beta, warp
from zoo.options import validate
from zoo.registry import registry

OFF = {"brightness": 0, "contrast": 0, "shift": 0, "rotation": 0, "zoom": 0, "noise": 0}
RNG = np.random.default_rng(0)


def augment(name: str, images: np.ndarray, labels: np.ndarray | None = None, seed: int = 3, **values: Any) -> Any:
    strategy = registry().get("augmenter", name)
    function = strategy.build(images.shape[1], validate(strategy.Options, values, "augmenter"))
    labels = np.zeros((len(images), 1), "float32") if labels is None else labels
    images, labels = keras.ops.convert_to_tensor(images.astype("float32")), keras.ops.convert_to_tensor(labels)
    return tuple(np.asarray(each) for each in function(images, labels, keras.random.SeedGenerator(seed)))


def films(count: int = 8, size: int = 32, low: int = 60, high: int = 190) -> np.ndarray:
    return RNG.integers(low, high, (count, size, size, 1)).astype("float32")


def blobs(count: int, row: float, column: float, size: int = 65) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    blob = 200 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 3**2))
    return np.repeat(blob[None, ..., None], count, axis=0)


def centres(images: np.ndarray) -> np.ndarray:
    """Centre of mass (row, column) of each film, about the film's centre."""
    return np.array([ndimage.center_of_mass(image[..., 0]) for image in images]) - (images.shape[1] - 1) / 2


def test_none_changes_nothing() -> None:
    images, labels = films(), np.array([[1.0], [np.nan]] * 4, "float32")
    for got, given in zip(augment("none", images, labels), (images, labels), strict=True):
        np.testing.assert_array_equal(got, given)


def test_warp_is_scipys_bilinear_affine_transform() -> None:
    images = films(3, 20)
    matrices = np.array([[0.9, 0.2, -1.5, -0.2, 1.1, 2.0], [1, 0, 0, 0, 1, 0], [-1, 0, 19, 0, 1, 0.25]], "float32")
    got = np.asarray(warp(keras.ops.convert_to_tensor(images), list(matrices.T)))
    for image, result, (a, b, c, d, e, f) in zip(images, got, matrices, strict=True):
        expected = ndimage.affine_transform(image[..., 0], [[e, d], [b, a]], [f, c], order=1, mode="nearest")
        np.testing.assert_allclose(result[..., 0], expected, atol=2e-2)


def test_standard_with_everything_off_changes_nothing() -> None:
    np.testing.assert_array_equal(augment("standard", films_ := films(), **OFF)[0], films_)


def test_brightness_adds_one_number_per_film_within_its_bound() -> None:
    images = films(32)
    change = augment("standard", images, **OFF | {"brightness": 0.2})[0] - images
    assert np.ptp(change, axis=(1, 2, 3)).max() < 1e-3
    per_film = change[:, 0, 0, 0]
    assert np.abs(per_film).max() <= 51
    assert np.ptp(per_film) > 51


def test_contrast_scales_about_the_mean_of_the_film_within_its_bound() -> None:
    images = films(32)
    got = augment("standard", images, **OFF | {"contrast": 0.3})[0]
    np.testing.assert_allclose(got.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=0.01)
    ratio = got.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert ratio.min() >= 0.7 - 1e-3
    assert ratio.max() <= 1.3 + 1e-3
    assert np.ptp(ratio) > 0.3


def test_noise_is_normal_with_a_deviation_of_its_own_per_film_up_to_the_one_asked_for() -> None:
    images = films(128)
    change = augment("standard", images, **OFF | {"noise": 5})[0] - images
    deviation = change.std(axis=(1, 2, 3))
    assert stats.kstest(deviation / 5, "uniform").pvalue > 1e-3
    assert abs(change.mean()) < 0.15
    film = change[deviation.argmax()].ravel()
    assert stats.kstest(film / film.std(), "norm").pvalue > 1e-3


def test_shift_moves_films_within_its_bound() -> None:
    moved = centres(augment("standard", blobs(32, 32, 32), **OFF | {"shift": 0.1})[0])
    assert np.abs(moved).max() <= 6.5 + 0.05
    assert (np.ptp(moved, axis=0) > 6).all()


def test_rotation_turns_about_the_centre_within_its_bound() -> None:
    turned = centres(augment("standard", blobs(32, 32, 48), **OFF | {"rotation": 20})[0])
    np.testing.assert_allclose(np.hypot(*turned.T), 16, atol=0.1)
    angles = np.degrees(np.arctan2(turned[:, 0], turned[:, 1]))
    assert np.abs(angles).max() <= 20.2
    assert np.ptp(angles) > 20


def test_zoom_changes_distances_from_the_centre_within_its_bound() -> None:
    zoomed = centres(augment("standard", blobs(32, 32, 48), **OFF | {"zoom": 0.2})[0])
    assert np.abs(zoomed[:, 0]).max() < 0.05
    ratio = zoomed[:, 1] / 16
    assert ratio.min() >= 0.8 - 0.01
    assert ratio.max() <= 1.2 + 0.01
    assert np.ptp(ratio) > 0.2


def test_flip_mirrors_about_half_of_the_films_and_only_when_asked() -> None:
    images = films(64)
    got = augment("standard", images, **OFF | {"horizontal_flip": True})[0]
    mirrored = np.isclose(got, images[:, :, ::-1], atol=0.01).all(axis=(1, 2, 3))
    same = np.isclose(got, images, atol=0.01).all(axis=(1, 2, 3))
    assert (mirrored | same).all()
    assert 16 < mirrored.sum() < 48
    right = centres(augment("standard", blobs(64, 32, 50))[0])[:, 1]
    assert (right > 0).all()


def test_standard_stays_in_range_leaves_labels_and_depends_on_the_seed() -> None:
    images, labels = films(8, low=0, high=256), np.array([[1.0], [np.nan]] * 4, "float32")
    got, kept = augment("standard", images, labels, brightness=0.5, noise=30)
    assert got.min() >= 0
    assert got.max() <= 255
    np.testing.assert_array_equal(kept, labels)
    assert not np.allclose(augment("standard", images, seed=3)[0], augment("standard", images, seed=4)[0])


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    shares = np.asarray(beta(4000, alpha, keras.random.SeedGenerator(1))).astype(float)
    assert ((shares >= 0) & (shares <= 1)).all()
    middle = shares[(shares > 1e-6) & (shares < 1 - 1e-6)]  # float32 rounds the rest to the ends
    ends = stats.beta.cdf([1e-6, 1 - 1e-6], alpha, alpha)
    assert abs(len(middle) / 4000 - np.diff(ends)[0]) < 0.03
    uniform = (stats.beta.cdf(middle, alpha, alpha) - ends[0]) / np.diff(ends)[0]
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


def test_mixup_blends_films_and_labels_by_the_same_share() -> None:
    count = 64
    images = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, 4, 4, 1))
    labels = np.eye(count, dtype="float32")
    got, mixed = augment("mixup", images, labels, alpha=1.0)
    assert np.ptp(got, axis=(1, 2, 3)).max() == 0
    np.testing.assert_allclose(got[:, 0, 0, 0], mixed @ np.arange(count), atol=1e-4)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    assert ((mixed > 0).sum(axis=1) <= 2).all()
    assert len(np.unique(mixed.max(axis=1))) > count // 2  # a share per film, not per batch


def test_mixup_keeps_unknown_labels_unknown_in_both_films() -> None:
    labels = np.ones((6, 2), "float32")
    labels[2, 0] = np.nan
    mixed = augment("mixup", films(6), labels)[1]
    expected = np.zeros((6, 2), bool)
    expected[2:4, 0] = True  # the film itself, and the one it is blended into
    np.testing.assert_array_equal(np.isnan(mixed), expected)
    np.testing.assert_allclose(mixed[~expected], 1)


@pytest.mark.parametrize("alpha", [0, -1, 1.5])
def test_mixup_refuses_alpha_outside_its_range(alpha: float) -> None:
    with pytest.raises(UsageError, match=r"augmenter\.alpha"):
        augment("mixup", films(), alpha=alpha)
