"""The OOD detector flags what is no chest X-ray and keeps its word on those that are."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from zoo.config.resolve import resolve
from zoo.core.errors import DataError, ZooError
from zoo.core.registry import registry
from zoo.data.pipeline import read_records
from zoo.data.resize import square
from zoo.data.store import prepare
from zoo.inference.features import with_features
from zoo.inference.image_statistics import contrast, image_statistics
from zoo.inference.ood import LEAST, MOST, Neighbours, OODDetector, Subspace, choose, fit_detector, load_detector
from zoo.inference.ood_training import fit_for_run
from zoo.inference.training import train
from zoo.runs.run import Run

SIZE = 64


def drawn(values: np.ndarray) -> np.ndarray:
    """Stand-ins for features: coarse means, as a pooled network has them."""
    coarse = values.reshape(len(values), 4, SIZE // 4, 4, SIZE // 4).mean(axis=(2, 4)).reshape(len(values), -1)
    return np.hstack([coarse, np.full((len(values), 1), 50.0)]).astype(np.float32)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """700 images of as many made-up patients."""
    config = resolve([{"data": {"name": "phantom", "patients": 420}, "task": "binary"}], registry())
    store = prepare(read_records(config, registry()), SIZE, tmp_path_factory.mktemp("store"))
    return np.array(store.images[:700])


@pytest.fixture(scope="module")
def detector(images: np.ndarray) -> OODDetector:
    return fit_detector(drawn(images[:300]), images[:300])


def scores(detector: OODDetector, images: np.ndarray) -> list[bool]:
    return [score.flagged for score in detector.score(drawn(images), images)]


def hand() -> np.ndarray:
    """Bright capsules on black."""
    image = Image.new("L", (256, 256), 8)
    draw = ImageDraw.Draw(image)
    for x, top in ((40, 110), (85, 40), (125, 25), (165, 40), (205, 70)):
        for colour, width in ((90, 26), (220, 10)):
            draw.line([(125, 210), ((125 + x) / 2, 140), (x, top)], fill=colour, width=width)
    draw.rectangle((100, 200, 150, 255), fill=110)
    return square(np.asarray(image), SIZE)


def strangers() -> dict[str, np.ndarray]:
    photographs = [square(np.asarray(Image.fromarray(p).convert("L")), SIZE) for p in load_sample_images().images]
    return {
        "temple": photographs[0],
        "flower": photographs[1],
        "hand": hand(),
        "black": np.zeros((SIZE, SIZE), np.uint8),
        "grey": np.full((SIZE, SIZE), 128, np.uint8),
        "white": np.full((SIZE, SIZE), 255, np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (SIZE, SIZE), dtype=np.uint8),
    }


@pytest.mark.parametrize("kind", list(strangers()))
def test_what_is_no_chest_image_is_flagged(detector: OODDetector, kind: str) -> None:
    image = strangers()[kind][None]
    (score,) = detector.score(drawn(image), image)
    assert score.flagged
    assert score.score > score.threshold == 1
    assert score.reason


def test_inverted_images_are_flagged_with_that_reason(detector: OODDetector, images: np.ndarray) -> None:
    images = 255 - images[300:400]
    found = detector.score(drawn(images), images)
    assert np.mean([score.flagged for score in found]) > 0.95
    assert np.mean(["inverted?" in score.reason for score in found]) > 0.9


def test_blank_images_are_flagged_with_that_reason(detector: OODDetector) -> None:
    image = np.full((1, SIZE, SIZE), 90, np.uint8)
    assert "blank?" in detector.score(drawn(image), image)[0].reason


def test_other_images_of_the_kind_are_flagged_as_seldom_as_promised(detector: OODDetector, images: np.ndarray) -> None:
    flagged = scores(detector, images[300:])
    assert detector.rate == pytest.approx(
        2 * 3 / 301
    )  # ⌈301 × .99⌉ = 298: three in 301 lie above, by each of two checks
    assert np.mean(flagged) < detector.rate + 3 * np.sqrt(detector.rate / len(flagged))


@pytest.mark.slow
def test_the_promised_rate_holds_in_noise() -> None:
    """Where a check has learned its images by heart, those are at other distances than new ones."""
    generator = np.random.default_rng(3)
    values = generator.normal(size=(700, 40)) + 3
    images = generator.integers(60, 200, (700, 16, 16)).astype(np.uint8)
    detector = fit_detector(values[:150], images[:150], false_flags=0.2)
    assert detector.rate == pytest.approx(2 * 15 / 151)
    assert 0.01 < np.mean([v.flagged for v in detector.score(values[150:], images[150:])]) < detector.rate


def test_images_of_a_patient_are_left_out_together() -> None:
    """Six equal images of each patient: with five of them fitted, the sixth would be at distance 0."""
    generator = np.random.default_rng(0)
    features = np.repeat(generator.normal(size=(20, 30)), 6, axis=0)
    images = np.repeat(generator.integers(0, 256, (20, 16, 16)).astype(np.uint8), 6, axis=0)
    patients = np.repeat([f"p{i}" for i in range(20)], 6)
    together, apart = fit_detector(features, images, patients), fit_detector(features, images)
    assert together.pixel_limit > 1.5 * apart.pixel_limit


def test_the_distances_are_those_of_their_formulas() -> None:
    generator = np.random.default_rng(1)
    fitted, new = generator.normal(size=(200, 12)), generator.normal(size=(7, 12)) + 1
    unit = fitted / np.linalg.norm(fitted, axis=1, keepdims=True)
    nearest = [np.sort(np.linalg.norm(unit - x / np.linalg.norm(x), axis=1))[4] for x in new]
    np.testing.assert_allclose(Neighbours.fit(fitted).distance(new), nearest, rtol=1e-4)
    # with every component kept nothing is beside them: the Mahalanobis distance over the root of their number
    covariance = np.cov(fitted, rowvar=False, bias=True)
    difference = new - fitted.mean(axis=0)
    squares = np.einsum("ni,ij,nj->n", difference, np.linalg.inv(covariance), difference)
    np.testing.assert_allclose(Subspace.fit(fitted).distance(new), np.sqrt(squares / 12), rtol=1e-6)


def test_the_layout_ignores_exposure_and_turns_round_with_the_polarity(images: np.ndarray) -> None:
    image = (images[:5] // 2 + 40).astype(np.uint8)
    layout = image_statistics(image)[:, :64]
    brighter = image_statistics((image + 30).astype(np.uint8))[:, :64]
    np.testing.assert_allclose(layout, brighter, atol=1e-4)
    np.testing.assert_allclose(image_statistics(255 - image)[:, :64], -layout, atol=1e-4)
    assert contrast(np.full((1, 8, 8), 7, np.uint8)) == [0]


@pytest.mark.parametrize("size", [16, 28, 75, 224])
def test_statistics_are_finite_at_every_size(size: int) -> None:
    images = np.stack(
        [np.zeros((size, size)), np.full((size, size), 255), np.arange(size * size).reshape(size, -1) % 256]
    )
    assert np.isfinite(image_statistics(images.astype(np.uint8))).all()


def test_features_that_are_not_finite_are_flagged(detector: OODDetector, images: np.ndarray) -> None:
    values = drawn(images[300:302])
    values[1, 3] = np.nan
    assert detector.score(values, images[300:302])[1].flagged


def test_a_saved_and_loaded_detector_gives_the_same_scores(
    detector: OODDetector, images: np.ndarray, tmp_path: Path
) -> None:
    detector.save(tmp_path / "ood.npz")
    loaded = OODDetector.load(tmp_path / "ood.npz")
    images = np.concatenate([images[300:340], 255 - images[300:310]])
    assert loaded.score(drawn(images), images) == detector.score(drawn(images), images)
    assert loaded.rate == detector.rate
    assert [file.name for file in tmp_path.iterdir()] == ["ood.npz"]


def test_the_file_of_the_largest_detector_stays_below_ten_megabytes(detector: OODDetector, tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((MOST, 1536), dtype=np.float32)
    replace(detector, neighbours=Neighbours.fit(features)).save(tmp_path / "ood.npz")
    assert (tmp_path / "ood.npz").stat().st_size < 10e6


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "object", "key", "nan", "version"])
def test_a_damaged_file_is_a_clear_error(detector: OODDetector, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "ood.npz"
    detector.save(file)
    with np.load(file) as archive:
        arrays = dict(archive)
    if damage == "version":
        arrays["version"] = np.array(99)
    elif damage == "nan":
        arrays["axes"] = arrays["axes"] * np.nan
    elif damage == "key":
        del arrays["limits"]
    elif damage == "object":
        arrays["limits"] = np.array([{}, {}], dtype=object)
    np.savez(file, **arrays)
    whole = file.read_bytes()
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no OOD detector"}
    file.write_bytes(contents.get(damage, whole))
    with pytest.raises(
        ZooError, match="version 99" if damage == "version" else "cannot be read as an OOD detector"
    ) as error:
        OODDetector.load(file)
    assert "fit it again" in str(error.value)


def test_too_few_images_or_those_of_another_network_are_errors(detector: OODDetector, images: np.ndarray) -> None:
    with pytest.raises(DataError, match=f"at least {LEAST} validation images, there are 5"):
        fit_detector(drawn(images[:5]), images[:5])
    with pytest.raises(DataError, match="not finite"):
        fit_detector(drawn(images[:30]) * np.nan, images[:30])
    with pytest.raises(ZooError, match="another network"):
        detector.score(drawn(images[:5])[:, :3], images[:5])
    with pytest.raises(ZooError, match="another network"):
        detector.score(drawn(images[:5]), images[:5, :32, :32])
    assert detector.score(drawn(images[:1])[:0], images[:0]) == []


def test_the_choice_among_many_images_is_always_the_same() -> None:
    chosen = choose(5000)
    assert len(chosen) == MOST == len(set(chosen.tolist()))
    assert (choose(5000) == chosen).all()
    assert (np.diff(chosen) > 0).all()


def test_it_costs_little(detector: OODDetector, images: np.ndarray) -> None:
    features = drawn(images[:256])
    start = time.perf_counter()
    detector.score(features, images[:256])
    assert (time.perf_counter() - start) / 256 < 0.02


def trained(patients: int) -> Run:
    layer = {
        "task": "binary",
        "model": {"name": "tiny-cnn", "width": 4, "depth": 1, "dropout": 0.3},
        "image_size": 16,
        "data": {"name": "phantom", "patients": patients},
        "epochs": 1,
        "batch_size": 32,
    }
    return train(resolve([layer], registry()), registry(), Path("runs"), None).run


def test_a_training_leaves_a_detector_and_it_can_be_fitted_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    run = trained(220)
    detector = load_detector(run)
    assert detector is not None
    assert detector.images == len(run.predictions("val").table) >= LEAST
    saved = (run.path / "ood.npz").read_bytes()
    (run.path / "ood.npz").unlink()
    assert load_detector(run) is None
    again = fit_for_run(run, registry())
    assert "validation images" in logged[-1]
    assert again.feature_limit == pytest.approx(detector.feature_limit, rel=1e-4)
    assert again.pixel_limit == detector.pixel_limit
    assert (run.path / "ood.npz").stat().st_size == len(saved)
    flagged = judged(run, detector)
    assert flagged["blank"]
    assert flagged["test"] < 0.25


def judged(run: Run, detector: OODDetector) -> dict[str, float]:
    from zoo.data.run_images import run_images
    from zoo.engine.load import load_network

    found = run_images(run, "test", registry())
    images = found.images[found.rows]
    model = with_features(load_network(run))
    blank = np.zeros((1, *images.shape[1:]), np.uint8)
    rates = {}
    for kind, each in {"test": images, "blank": blank}.items():
        _, features = model.predict(each[..., None], verbose=0)
        rates[kind] = float(np.mean([score.flagged for score in detector.score(features, each)]))
    return rates


def test_a_run_with_few_validation_images_has_no_detector_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    run = trained(30)
    assert load_detector(run) is None
    with pytest.raises(DataError, match="at least"):
        fit_for_run(run, registry())
