"""Calibration against scikit-learn, SciPy and exhaustive search."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, log_softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from zoo.core.errors import DataError, UsageError
from zoo.core.tasks import Task
from zoo.evaluation import Note, Predictions, auroc
from zoo.evaluation.calibration import METHODS, Calibration, fit_calibration

TWO = Task("multilabel", ("Mass", "Nodule"))
THREE = Task("multiclass", ("a", "b", "c"))


def predictions(task: Task, labels: np.ndarray, logits: np.ndarray) -> Predictions:
    names = [f"{i}.png" for i in range(len(labels))]
    return Predictions(task, pd.DataFrame({"image": names, "patient": names}), labels, logits)


def drawn(seed: int, images: int = 400, stretch: float = 1.0, shift: float = 0.0) -> Predictions:
    """Two labels whose true log-odds are the logits divided by `stretch`, less `shift`; some labels unknown."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-0.3, 1.5, (images, 2))
    y = (rng.random((images, 2)) < expit(z - shift)).astype(float)
    y[rng.random((images, 2)) < 0.1] = np.nan
    return predictions(TWO, y, stretch * z)


def exclusive(seed: int, images: int, stretch: float) -> Predictions:
    rng = np.random.default_rng(seed)
    z = rng.normal(0, 1.5, (images, 3))
    chosen = (z + rng.gumbel(size=z.shape)).argmax(axis=1)  # a draw from the softmax of z
    return predictions(THREE, np.eye(3)[chosen], stretch * z)


def known(p: Predictions, k: int) -> tuple[np.ndarray, np.ndarray]:
    use = ~np.isnan(p.labels[:, k])
    return p.labels[use, k].astype(float), p.logits[use, k].astype(float)


@pytest.mark.parametrize("seed", [0, 1])
def test_temperature_is_the_best_of_a_dense_grid(seed: int) -> None:
    images = drawn(seed, stretch=2)
    fitted = fit_calibration("temperature", images)
    for k, label in enumerate(TWO.labels):
        y, z = known(images, k)
        grid = np.linspace(0.5, 6, 5501)
        losses = np.logaddexp(0, np.where(y > 0.5, -z, z) / grid[:, None]).mean(axis=1)
        assert fitted.parameters[label]["temperature"] == pytest.approx(grid[np.argmin(losses)], abs=1e-3)


def test_temperature_undoes_a_stretch_of_the_logits() -> None:
    for values in fit_calibration("temperature", drawn(0, images=20_000, stretch=3)).parameters.values():
        assert values["temperature"] == pytest.approx(3, rel=0.05)


def test_multiclass_has_one_temperature_the_best_of_a_grid() -> None:
    images = exclusive(0, 3000, 3)
    fitted = fit_calibration("temperature", images)
    (found,) = {v["temperature"] for v in fitted.parameters.values()}
    grid = np.linspace(2, 4, 2001)
    z, classes = images.logits.astype(float), images.labels.argmax(axis=1)
    losses = [-log_softmax(z / t, axis=1)[np.arange(len(z)), classes].mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], abs=1e-3)
    assert found == pytest.approx(3, rel=0.1)
    p = fitted.probabilities(images.logits)
    np.testing.assert_allclose(p, np.exp(log_softmax(z / found, axis=1)), rtol=1e-12)
    assert (p.argmax(axis=1) == images.probabilities.argmax(axis=1)).all()


def test_multiclass_leaves_out_images_of_unknown_class() -> None:
    images = exclusive(1, 300, 2)
    labels = images.labels.copy()
    labels[:50] = np.nan
    rest = images.where(np.arange(300) >= 50)
    found = fit_calibration("temperature", predictions(THREE, labels, images.logits))
    assert found == fit_calibration("temperature", rest)


@pytest.mark.parametrize("seed", [0, 1])
def test_platt_is_logistic_regression_on_the_smoothed_targets(seed: int) -> None:
    images = drawn(seed, stretch=0.2, shift=2)
    fitted = fit_calibration("platt", images)
    for k, label in enumerate(TWO.labels):
        y, z = known(images, k)
        n1, n0 = y.sum(), (1 - y).sum()
        target = np.where(y > 0.5, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))
        # a smoothed target t is a positive of weight t beside a negative of weight 1 - t
        model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000)
        x = np.concatenate([z, z])[:, None]
        model.fit(x, np.repeat([1, 0], len(z)), np.concatenate([target, 1 - target]))
        assert fitted.parameters[label]["slope"] == pytest.approx(model.coef_[0, 0], rel=1e-4)
        assert fitted.parameters[label]["intercept"] == pytest.approx(model.intercept_[0], rel=1e-4)
        expected = expit(
            fitted.parameters[label]["slope"] * images.logits[:, k] + fitted.parameters[label]["intercept"]
        )
        np.testing.assert_allclose(fitted.probabilities(images.logits)[:, k], expected, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60))
def test_isotonic_is_scikit_learns_within_laplaces_bounds(seed: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.choice(rng.normal(size=distinct).astype(np.float32), 200)
    y = (rng.random(200) < expit(2 * z)).astype(float)
    images = predictions(Task("binary", ("abnormal",)), y[:, None], z[:, None])
    fitted = fit_calibration("isotonic", images)
    new = np.sort(rng.normal(0, 2, 300).astype(np.float32))
    got = fitted.probabilities(new[:, None])[:, 0]
    if fitted.uncalibrated:  # one block, or too few images of a class
        fallen = min(y.sum(), 200 - y.sum()) < 10
        assert fallen or np.ptp(IsotonicRegression().fit_transform(z, y)) == 0
        np.testing.assert_allclose(got, expit(new.astype(float)))
        return
    model = IsotonicRegression(out_of_bounds="clip").fit(z.astype(float), y)
    values = np.clip(model.y_thresholds_, 1 / 202, 201 / 202)
    np.testing.assert_allclose(got, np.interp(new, model.X_thresholds_, values), atol=1e-12)
    assert (np.diff(got) >= 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_ranking_is_kept(method: str) -> None:
    images = drawn(3, stretch=2, shift=1)
    p = fit_calibration(method, images).probabilities(images.logits)
    assert not np.allclose(p, images.probabilities, atol=0.02)
    for k in range(2):
        assert (np.diff(p[np.argsort(images.logits[:, k]), k]) >= 0).all()
        if method != "isotonic":  # which makes images equal
            assert auroc(images.labels[:, k], p[:, k]) == auroc(images.labels[:, k], images.logits[:, k])


@pytest.mark.parametrize("method", METHODS)
def test_round_trip_through_json_is_exact(method: str) -> None:
    images = drawn(4, stretch=2)
    labels = images.labels.copy()
    labels[:, 1] = 0
    fitted = fit_calibration(method, predictions(TWO, labels, images.logits))
    again = Calibration.from_dict(json.loads(json.dumps(fitted.to_dict(), allow_nan=False)))
    assert again == fitted
    np.testing.assert_array_equal(again.probabilities(images.logits), fitted.probabilities(images.logits))


def damage(values: dict[str, Any], what: str) -> dict[str, Any]:
    if what == "label":
        del values["parameters"]["Mass"]
    elif what == "method":
        values["method"] = "magic"
    elif what == "parameter":
        values["parameters"]["Mass"] = {"slope": 1.0}
    else:
        del values["task"]
    return values


@pytest.mark.parametrize("what", ["label", "method", "parameter", "task"])
def test_what_is_no_calibration_is_refused(what: str) -> None:
    with pytest.raises(DataError, match="not a calibration"):
        Calibration.from_dict(damage(fit_calibration("temperature", drawn(0)).to_dict(), what))


@pytest.mark.parametrize("method", METHODS)
def test_labels_with_few_images_of_a_class_stay_as_they_are(method: str) -> None:
    images = drawn(5, stretch=3)
    labels = images.labels.copy()
    labels[:, 1] = np.arange(len(labels)) < 9
    fitted = fit_calibration(method, predictions(TWO, labels, images.logits))
    p = fitted.probabilities(images.logits)
    np.testing.assert_array_equal(p[:, 1], images.probabilities[:, 1])
    assert not np.allclose(p[:, 0], images.probabilities[:, 0], atol=0.02)
    assert fitted.uncalibrated == {"Nodule": Note("few_images", counts=(9, 391))}
    labels[9, 1] = 1
    again = fit_calibration(method, predictions(TWO, labels, images.logits))
    assert again.uncalibrated.get("Nodule", Note("")).kind != "few_images"


@pytest.mark.parametrize("method", METHODS)
def test_inverted_outputs_are_not_turned_round(method: str) -> None:
    images = drawn(6, stretch=-2)
    fitted = fit_calibration(method, images)
    np.testing.assert_array_equal(fitted.probabilities(images.logits), images.probabilities)
    assert set(fitted.uncalibrated) == set(TWO.labels)
    reason = {"temperature": "no_temperature", "platt": "inverted", "isotonic": "not_increasing"}[method]
    assert fitted.uncalibrated["Mass"] == Note(reason)


@pytest.mark.parametrize("method", METHODS)
def test_constant_outputs_stay_as_they_are(method: str) -> None:
    images = drawn(6)
    constant = predictions(TWO, images.labels, np.full_like(images.logits, 0.7))
    assert fit_calibration(method, constant).uncalibrated["Mass"] == Note("constant_output")


def test_separated_images_do_not_run_away() -> None:
    z = np.linspace(-4, 4, 100)[:, None]
    images = predictions(Task("binary", ("abnormal",)), (z > 0).astype(float), z)
    assert fit_calibration("temperature", images).uncalibrated["abnormal"] == Note("separated")
    for method in ("platt", "isotonic"):
        p = fit_calibration(method, images).probabilities(np.array([[-50.0], [-4], [4], [50]]))[:, 0]
        assert 0 < p[0] <= p[1] < 0.05
        assert 0.95 < p[2] <= p[3] <= 1
    sure = predictions(THREE, np.eye(3)[np.arange(60) % 3], 5 * np.eye(3)[np.arange(60) % 3])
    fitted = fit_calibration("temperature", sure)
    assert fitted.uncalibrated["a"] == Note("separated")


def test_few_images_outside_one_class_leave_multiclass_uncalibrated() -> None:
    images = exclusive(2, 200, 2)
    labels = np.eye(3)[np.where(np.arange(200) < 9, 1, 0)]
    found = fit_calibration("temperature", predictions(THREE, labels, images.logits))
    assert found.uncalibrated["c"] == Note("few_outside_one_class", counts=(9, 200))


def test_a_temperature_at_the_end_of_its_range_is_reported() -> None:
    images = drawn(7, stretch=1e-4)
    fitted = fit_calibration("temperature", images)
    assert {v["temperature"] for v in fitted.parameters.values()} == {0.01}
    assert fitted.at_range_end == TWO.labels
    assert fit_calibration("temperature", drawn(7)).at_range_end == ()


def test_unfit_requests_are_refused() -> None:
    images = drawn(8, images=60)
    with pytest.raises(UsageError, match=r"unknown calibration method 'plat'. Did you mean 'platt'\?"):
        fit_calibration("plat", images)
    for method in ("platt", "isotonic"):
        with pytest.raises(UsageError, match="Use temperature"):
            fit_calibration(method, exclusive(0, 60, 1))
    with pytest.raises(DataError, match="NaN or infinite"):
        fit_calibration("platt", predictions(TWO, images.labels, np.full((60, 2), np.nan)))
    with pytest.raises(ValueError, match="shape"):
        fit_calibration("platt", images).probabilities(np.zeros((3, 1)))
