"""The built-in augmenters: what each option does to images, and MixUp's shares against SciPy's Beta distribution."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from scipy import ndimage, stats

from zoo.core.errors import UsageError
from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.nn.ops import beta, warp

OFF = {"brightness": 0, "contrast": 0, "shift": 0, "rotation": 0, "zoom": 0, "noise": 0}
RNG = np.random.default_rng(0)


def augment(name: str, images: np.ndarray, labels: np.ndarray | None = None, seed: int = 3, **values: Any) -> Any:
    strategy = registry().get("augmenter", name)
    function = strategy.build(images.shape[1], validate(strategy.Options, values, "augmenter"))
    labels = np.zeros((len(images), 1), "float32") if labels is None else labels
    images, labels = keras.ops.convert_to_tensor(images.astype("float32")), keras.ops.convert_to_tensor(labels)
    return tuple(np.asarray(each) for each in function(images, labels, keras.random.SeedGenerator(seed)))


def make_images(count: int = 8, size: int = 32, low: int = 60, high: int = 190) -> np.ndarray:
    return RNG.integers(low, high, (count, size, size, 1)).astype("float32")


def blobs(count: int, row: float, column: float, size: int = 65) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    blob = 200 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 3**2))
    return np.repeat(blob[None, ..., None], count, axis=0)


def centres(images: np.ndarray) -> np.ndarray:
    """Centre of mass (row, column) of each image, about the image's centre."""
    return np.array([ndimage.center_of_mass(image[..., 0]) for image in images]) - (images.shape[1] - 1) / 2


def test_none_changes_nothing() -> None:
    images, labels = make_images(), np.array([[1.0], [np.nan]] * 4, "float32")
    for got, given in zip(augment("none", images, labels), (images, labels), strict=True):
        np.testing.assert_array_equal(got, given)


def test_warp_is_scipys_bilinear_affine_transform() -> None:
    images = make_images(3, 20)
    matrices = np.array([[0.9, 0.2, -1.5, -0.2, 1.1, 2.0], [1, 0, 0, 0, 1, 0], [-1, 0, 19, 0, 1, 0.25]], "float32")
    got = np.asarray(warp(keras.ops.convert_to_tensor(images), list(matrices.T)))
    for image, result, (a, b, c, d, e, f) in zip(images, got, matrices, strict=True):
        expected = ndimage.affine_transform(image[..., 0], [[e, d], [b, a]], [f, c], order=1, mode="nearest")
        np.testing.assert_allclose(result[..., 0], expected, atol=2e-2)


def test_standard_with_everything_off_changes_nothing() -> None:
    np.testing.assert_array_equal(augment("standard", images_ := make_images(), **OFF)[0], images_)


def test_brightness_adds_one_number_per_image_within_its_bound() -> None:
    images = make_images(32)
    change = augment("standard", images, **OFF | {"brightness": 0.2})[0] - images
    assert np.ptp(change, axis=(1, 2, 3)).max() < 1e-3
    per_image = change[:, 0, 0, 0]
    assert np.abs(per_image).max() <= 51
    assert np.ptp(per_image) > 51


def test_contrast_scales_about_the_mean_of_the_image_within_its_bound() -> None:
    images = make_images(32)
    got = augment("standard", images, **OFF | {"contrast": 0.3})[0]
    np.testing.assert_allclose(got.mean(axis=(1, 2, 3)), images.mean(axis=(1, 2, 3)), atol=0.01)
    ratio = got.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert ratio.min() >= 0.7 - 1e-3
    assert ratio.max() <= 1.3 + 1e-3
    assert np.ptp(ratio) > 0.3


def test_noise_is_normal_with_a_deviation_of_its_own_per_image_up_to_the_one_asked_for() -> None:
    images = make_images(128)
    change = augment("standard", images, **OFF | {"noise": 5})[0] - images
    deviation = change.std(axis=(1, 2, 3))
    assert stats.kstest(deviation / 5, "uniform").pvalue > 1e-3
    assert abs(change.mean()) < 0.15
    image = change[deviation.argmax()].ravel()
    assert stats.kstest(image / image.std(), "norm").pvalue > 1e-3


def test_shift_moves_images_within_its_bound() -> None:
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


def test_flip_mirrors_about_half_of_the_images_and_only_when_asked() -> None:
    images = make_images(64)
    got = augment("standard", images, **OFF | {"horizontal_flip": True})[0]
    mirrored = np.isclose(got, images[:, :, ::-1], atol=0.01).all(axis=(1, 2, 3))
    same = np.isclose(got, images, atol=0.01).all(axis=(1, 2, 3))
    assert (mirrored | same).all()
    assert 16 < mirrored.sum() < 48
    right = centres(augment("standard", blobs(64, 32, 50))[0])[:, 1]
    assert (right > 0).all()


def test_standard_stays_in_range_leaves_labels_and_depends_on_the_seed() -> None:
    images, labels = make_images(8, low=0, high=256), np.array([[1.0], [np.nan]] * 4, "float32")
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


def test_mixup_blends_images_and_labels_by_the_same_share() -> None:
    count = 64
    images = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, 4, 4, 1))
    labels = np.eye(count, dtype="float32")
    got, mixed = augment("mixup", images, labels, alpha=1.0)
    assert np.ptp(got, axis=(1, 2, 3)).max() == 0
    np.testing.assert_allclose(got[:, 0, 0, 0], mixed @ np.arange(count), atol=1e-4)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    assert ((mixed > 0).sum(axis=1) <= 2).all()
    assert len(np.unique(mixed.max(axis=1))) > count // 2  # a share per image, not per batch


def test_mixup_of_white_images_is_white() -> None:
    white = np.full((256, 4, 4, 1), 255.0, "float32")
    got = augment("mixup", white, alpha=1.0)[0]
    assert got.max() <= 255
    np.testing.assert_allclose(got, white, rtol=1e-6)


def test_mixup_keeps_unknown_labels_unknown_in_both_images() -> None:
    labels = np.ones((6, 2), "float32")
    labels[2, 0] = np.nan
    mixed = augment("mixup", make_images(6), labels)[1]
    expected = np.zeros((6, 2), bool)
    expected[2:4, 0] = True  # the image itself, and the one it is blended into
    np.testing.assert_array_equal(np.isnan(mixed), expected)
    np.testing.assert_allclose(mixed[~expected], 1)


@pytest.mark.parametrize("alpha", [0, -1, 1.5])
def test_mixup_refuses_alpha_outside_its_range(alpha: float) -> None:
    with pytest.raises(UsageError, match=r"augmenter\.alpha"):
        augment("mixup", make_images(), alpha=alpha)


def painted(count: int, size: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Images of one grey level each, the image's number, with labels that name the image."""
    images = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, size, size, 1))
    return np.array(images), np.eye(count, dtype="float32")


def test_cutmix_mixes_labels_by_the_pixels_it_replaced() -> None:
    images, labels = painted(64)
    got, mixed = augment("cutmix", images, labels)
    other = (np.arange(64) - 1) % 64
    share = (got[..., 0] == other[:, None, None]).mean(axis=(1, 2))
    assert set(np.unique(got)) <= set(range(64))  # pasted, not blended
    np.testing.assert_allclose(mixed[np.arange(64), other], share, atol=1e-6)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)
    assert np.ptp(share) > 0.5
    for image, value in zip(got[..., 0], other, strict=True):
        rows, columns = np.nonzero(image == value)
        if len(rows):  # a full rectangle
            assert len(rows) == np.ptp(rows + 0.0) * np.ptp(columns) + np.ptp(rows) + np.ptp(columns) + 1


def test_cutmix_draws_its_rectangles_as_the_paper_does() -> None:
    """The side before clipping is √(1 - λ) with λ uniform: seen in the rectangles that touch no edge."""
    images, labels = painted(256, 50)
    got = augment("cutmix", images, labels, alpha=1.0)[0][..., 0]
    pasted = got == ((np.arange(256) - 1) % 256)[:, None, None]
    touching = pasted[:, 0].any(axis=1) | pasted[:, -1].any(axis=1) | pasted[:, :, 0].any(1) | pasted[:, :, -1].any(1)
    heights, widths = pasted.any(axis=2).sum(axis=1), pasted.any(axis=1).sum(axis=1)
    assert np.abs(heights - widths)[~touching].max() <= 1
    area = np.mean(pasted)  # E[area after clipping] for side s: s²(1 - s/4)², s² uniform
    side = np.sqrt(np.linspace(0, 1, 10001))
    assert abs(area - np.mean((side * (1 - side / 4)) ** 2)) < 0.05


def test_cutmix_keeps_unknown_labels_unknown_where_images_were_mixed() -> None:
    images, labels = painted(6)
    labels[2, 0] = np.nan
    mixed = augment("cutmix", images, labels, seed=1)[1]
    expected = np.zeros((6, 6), bool)
    expected[2:4, 0] = True
    np.testing.assert_array_equal(np.isnan(mixed), expected)
    for got, given in zip(augment("cutmix", images, labels, probability=0), (images, labels), strict=True):
        np.testing.assert_array_equal(got, given)


@pytest.mark.parametrize(("fill", "low", "high"), [("noise", 0, 255), ("mean", 100, 150), ("black", 0, 0)])
def test_erasing_covers_one_rectangle_of_the_area_and_ratio_asked_for(fill: str, low: int, high: int) -> None:
    images = make_images(64, 100, 120, 131)
    got, _ = augment("erasing", images, probability=1, min_area=0.1, max_area=0.3, aspect=0.5, fill=fill)
    covered = (got != images)[..., 0]
    areas, ratios = [], []
    for image, mask in zip(got[..., 0], covered, strict=True):
        rows, columns = np.nonzero(mask)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        inside = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert ((inside >= low) & (inside <= high)).all()
        assert mask.sum() >= 0.85 * height * width  # noise and mean meet a pixel's own value now and then
        areas.append(height * width / 1e4)
        ratios.append(height / width)
    assert 0.09 < min(areas) < 0.15
    assert 0.25 < max(areas) < 0.32
    assert 0.46 < min(ratios) < 0.7
    assert 1.4 < max(ratios) < 2.15


def test_erasing_leaves_the_other_images_and_all_labels() -> None:
    images, labels = make_images(200, 16), np.tile(np.array([[1.0, np.nan]], "float32"), (200, 1))
    got, kept = augment("erasing", images, labels, probability=0.3)
    np.testing.assert_array_equal(kept, labels)
    assert 30 < (got != images).any(axis=(1, 2, 3)).sum() < 90
    with pytest.raises(UsageError, match=r"min_area 0\.5 is larger than max_area 0\.2"):
        augment("erasing", images, min_area=0.5)


def test_elastic_displaces_smoothly_by_the_deviation_asked_for() -> None:
    """An image of its own columns shows the displacement along them."""
    size, count = 64, 48
    ramp = np.broadcast_to(np.arange(size, dtype="float32")[None, None, :, None], (count, size, size, 1))
    moved = augment("elastic", np.array(ramp), alpha=0.02, sigma=0.1)[0]
    field = (moved - ramp)[:, :, 8:-8, 0]  # away from the edge nothing is cut off
    np.testing.assert_allclose(field.std(axis=0).mean(), 0.02 * size, rtol=0.15)
    assert np.abs(field.mean()) < 0.3
    # smoothed white noise has a Gaussian autocorrelation with the deviation √2 σ
    for lag in (3, 9):
        product = (field[:, lag:] * field[:, :-lag]).mean() / (field**2).mean()
        assert abs(product - np.exp(-((lag / (2 * 0.1 * size)) ** 2))) < 0.06
    assert abs(np.corrcoef(field[0].ravel(), field[1].ravel())[0, 1]) < 0.8  # another field for each image


def test_elastic_of_no_size_changes_nothing() -> None:
    images = make_images(3)
    np.testing.assert_array_equal(augment("elastic", images, alpha=0)[0], images)


def clahe_formula(image: np.ndarray, tiles: int, limit: float) -> np.ndarray:
    """Pixel by pixel, from the definition: clipped histograms of the tiles, bilinear between their centres."""
    height, width = image.shape
    tall, wide = -(-height // tiles), -(-width // tiles)
    whole = np.pad(image, ((0, tiles * tall - height), (0, tiles * wide - width)), mode="reflect").astype(int)
    curves = np.zeros((tiles, tiles, 256))
    for i, j in np.ndindex(tiles, tiles):
        tile = whole[i * tall : (i + 1) * tall, j * wide : (j + 1) * wide]
        histogram = np.bincount(tile.ravel(), minlength=256).astype(float)
        excess = np.maximum(histogram - limit * tile.size / 256, 0)
        curves[i, j] = 255 * np.cumsum(histogram - excess + excess.sum() / 256) / tile.size
    result = np.zeros(image.shape)
    for y, x in np.ndindex(*image.shape):
        row, column = (y + 0.5) / tall - 0.5, (x + 0.5) / wide - 0.5
        for i in (int(np.floor(row)), int(np.floor(row)) + 1):
            for j in (int(np.floor(column)), int(np.floor(column)) + 1):
                share = (1 - abs(row - i)) * (1 - abs(column - j))
                result[y, x] += share * curves[np.clip(i, 0, tiles - 1), np.clip(j, 0, tiles - 1), int(image[y, x])]
    return result


@pytest.mark.parametrize(("size", "tiles", "limit"), [(32, 4, 2.0), (33, 8, 3.0), (20, 1, 40.0)])
def test_clahe_is_its_definition(size: int, tiles: int, limit: float) -> None:
    images = np.clip(make_images(3, size) * np.linspace(0.2, 1.3, size, dtype="float32")[:, None], 0, 255).round()
    got = augment("clahe", images, probability=1, tiles=tiles, clip_limit=limit)[0]
    for image, result in zip(images[..., 0], got[..., 0], strict=True):
        np.testing.assert_allclose(result, np.minimum(clahe_formula(image, tiles, limit), 255), atol=0.01)


def test_clahe_equalises_about_half_of_the_images_or_all_without_chance() -> None:
    images, strategy = make_images(64), registry().get("augmenter", "clahe")
    got = augment("clahe", images)[0]
    every = augment("clahe", images, probability=1)[0]
    changed = (got != images).any(axis=(1, 2, 3))
    assert 16 < changed.sum() < 48
    np.testing.assert_array_equal(got[changed], every[changed])
    np.testing.assert_array_equal(every, augment("clahe", images, probability=1, seed=9)[0])
    for probability, random in ((0, False), (0.5, True), (1, False)):
        assert strategy.effect(strategy.Options(probability=probability)).random is random
    with pytest.raises(UsageError, match=r"8 tiles per side need images of at least 16 pixels, not 12"):
        augment("clahe", make_images(2, 12))


def test_randaugment_of_magnitude_zero_changes_nothing_and_flips_only_when_asked() -> None:
    images = make_images(64)
    np.testing.assert_array_equal(augment("randaugment", images, magnitude=0)[0], images)
    got = augment("randaugment", images, magnitude=0, horizontal_flip=True)[0]
    mirrored = np.isclose(got, images[:, :, ::-1], atol=0.01).all(axis=(1, 2, 3))
    assert 16 < mirrored.sum() < 48
    right = centres(augment("randaugment", blobs(64, 32, 56), magnitude=10)[0])[:, 1]
    assert (right > 0).all()


def test_randaugment_draws_the_number_of_operations_asked_for() -> None:
    """A flat image shows brightness and gamma alone: two of twelve operations, of either sign."""
    flat = np.full((600, 8, 8, 1), 128.0, "float32")
    level = augment("randaugment", flat, operations=1, magnitude=10)[0].mean(axis=(1, 2, 3))
    brightness, gamma = 0.2 * 255, [255 * (128 / 255) ** np.exp(s * 0.5) for s in (1, -1)]
    for expected in (128 + brightness, 128 - brightness, *gamma):
        assert 8 <= (np.abs(level - expected) < 0.5).sum() <= 48  # 600 / 24 = 25
    equalised = np.abs(level - 191.5) < 0.5  # a flat image equalised is white; half of the way
    assert 25 <= equalised.sum() <= 85
    still = np.isclose(level, 128, atol=0.01).mean()
    assert 0.66 < still < 0.84
    twice = augment("randaugment", flat, operations=3, magnitude=10)[0].mean(axis=(1, 2, 3))
    assert np.isclose(twice, 128, atol=0.01).mean() < still - 0.2


def test_randaugment_moves_within_its_bounds() -> None:
    blob = blobs(300, 16, 16, 33)
    moved = np.abs(centres(augment("randaugment", blob, operations=1, magnitude=10)[0])).max(axis=0)
    np.testing.assert_allclose(moved, 3.3, atol=0.1)
    half = np.abs(centres(augment("randaugment", blob, operations=1, magnitude=5)[0])).max(axis=0)
    np.testing.assert_allclose(half, 1.65, atol=0.1)


@pytest.mark.parametrize("name", ["cutmix", "erasing", "elastic", "clahe", "randaugment", "clahe+elastic+cutmix"])
def test_the_seed_decides_all(name: str) -> None:
    images, labels = make_images(16, low=0, high=256), np.eye(16, dtype="float32")
    first, again, other = (augment(name, images, labels, seed=seed) for seed in (3, 3, 4))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(first[0], other[0])
    assert first[0].min() >= 0
    assert first[0].max() <= 255
