"""The numbers behind the curves, and figures that are the same every time and fit any page."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve, roc_curve

from zoo.evaluation.interval import Interval
from zoo.report import figures
from zoo.report.curves import GRID, Curves, curves, pr_points, roc_points, thin


def draw(number: int = 400, ties: bool = False, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(number) < 0.3).astype(float)
    scores = labels + rng.normal(size=number)
    return labels, np.round(scores, 1) if ties else scores


def example(number: int = 400, replicates: int = 100) -> Curves:
    labels, scores = draw(number)
    patients = pd.Series(np.arange(number) // 2).astype(str)
    return curves(("Mass",), labels[:, None], scores[:, None], patients, replicates=replicates)[0]


@pytest.mark.parametrize("ties", [False, True])
def test_curve_points_are_those_of_scikit_learn(ties: bool) -> None:
    labels, scores = draw(ties=ties)
    rate, sensitivity = roc_points(labels, scores)
    expected = roc_curve(labels, scores, drop_intermediate=False)
    np.testing.assert_allclose([rate, sensitivity], expected[:2])
    recall, precision = pr_points(labels, scores)
    expected_precision, expected_recall, _ = precision_recall_curve(labels, scores)
    np.testing.assert_allclose(recall[::-1], expected_recall[:-1])
    np.testing.assert_allclose(precision[::-1], expected_precision[:-1])


def test_unknown_labels_are_left_out_and_one_class_has_no_curve() -> None:
    labels, scores = draw()
    some = np.append(labels, [np.nan, np.nan])
    np.testing.assert_array_equal(roc_points(some, np.append(scores, [9.0, -9.0])), roc_points(labels, scores))
    patients = pd.Series(np.arange(10).astype(str))
    assert roc_points(np.ones(10), np.arange(10.0))[0].size == 0
    assert pr_points(np.full(10, np.nan), np.arange(10.0))[0].size == 0
    assert curves(("a",), np.zeros((10, 1)), np.arange(10.0)[:, None], patients) == ()


def test_bands_are_the_percentiles_of_resampled_patients() -> None:
    labels, scores = draw(240)
    patients = pd.Series([f"p{i // 3:03d}" for i in range(240)])
    found = curves(("a",), labels[:, None], scores[:, None], patients, replicates=80, seed=4)[0]
    rng = np.random.default_rng(4)  # the plain way: repeat the images of every drawn patient
    sensitivity, precision = [], []
    for _ in range(80):
        rows = np.concatenate([np.arange(3 * p, 3 * p + 3) for p in rng.integers(0, 80, 80)])
        rate, hit, _ = roc_curve(labels[rows], scores[rows], drop_intermediate=False)
        sensitivity.append(np.interp(0.2, rate, hit))
        right, recall, _ = precision_recall_curve(labels[rows], scores[rows])
        precision.append(right[recall >= 0.5 - 1e-9][-1])
    at, half = np.flatnonzero(np.isclose(GRID, 0.2))[0], np.flatnonzero(np.isclose(GRID, 0.5))[0]
    np.testing.assert_allclose([found.roc.low[at], found.roc.high[at]], np.quantile(sensitivity, [0.025, 0.975]))
    np.testing.assert_allclose([found.pr.low[half], found.pr.high[half]], np.quantile(precision, [0.025, 0.975]))


def test_bands_contain_the_curve() -> None:
    found = example(600, 300)
    inner = (GRID > 0.03) & (GRID < 0.97)
    value = np.interp(GRID, found.roc.x, found.roc.y)
    assert (found.roc.low <= value)[inner].all()
    assert (value <= found.roc.high)[inner].all()
    first = np.searchsorted(found.pr.x, GRID[inner] - 1e-9)
    value = found.pr.y[first]
    assert (found.pr.low[inner] <= value).mean() > 0.97
    assert (value <= found.pr.high[inner]).mean() > 0.97


def test_one_patient_has_curves_without_bands() -> None:
    labels, scores = draw(50)
    found = curves(("a",), labels[:, None], scores[:, None], pd.Series(["p"] * 50))[0]
    assert np.isnan(found.roc.low).all()
    assert np.isnan(found.pr.high).all()
    assert "<svg" in figures.roc_figure(found, "a")


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(0, 5))
def test_a_thinned_curve_is_the_same_line_to_the_eye(number: int, seed: int) -> None:
    labels, scores = draw(number, seed=seed)
    x, y = roc_points(labels, scores)
    few, heights = thin(x, y)
    assert len(few) <= len(x)
    if len(x):
        # along the diagonal direction a monotone staircase has one point for each x + y
        grid = np.linspace(0, 2, 501)
        np.testing.assert_allclose(np.interp(grid, few + heights, few), np.interp(grid, x + y, x), atol=2.1 / 512)


def test_many_images_make_a_small_figure() -> None:
    labels, scores = draw(25_000)
    patients = pd.Series((np.arange(25_000) // 3).astype(str))
    found = curves(("a",), labels[:, None], scores[:, None], patients, replicates=20)[0]
    assert len(found.roc.x) > 20_000
    assert len(figures.roc_figure(found, "a")) < 40_000
    assert len(figures.pr_figure(found, "a")) < 60_000


def test_a_figure_is_the_same_every_time_and_its_ids_are_its_own() -> None:
    found = example()
    first, again, other = (figures.roc_figure(found, title) for title in ("Mass", "Mass", "Nodule"))
    assert first == again
    ids = [set(re.findall(r'\bid="([^"]+)"', each)) for each in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    used = set(re.findall(r'href="#([^"]+)"', first)) | set(re.findall(r"url\(#([^)]+)\)", first))
    assert used == ids[0]


def test_a_figure_takes_the_colour_of_the_page_and_keeps_text_as_text() -> None:
    drawn = figures.pr_figure(example(), "Mass")
    root = ElementTree.fromstring(drawn)
    assert {"Mass", "precision (PPV)"} <= {each.text for each in root.iter("text")}
    assert "currentColor" in drawn
    assert "var(--blue" in drawn
    assert figures.INK not in drawn
    assert "#000000" not in drawn
    assert "font-family" not in drawn
    assert "width" in root.attrib
    assert "height" not in root.attrib
    assert "viewBox" in root.attrib


@pytest.mark.parametrize("name", ["$x^$ & <b>", "</svg><script>", "tab\there\x00", "x" * 300, "Ödem 肺"])
def test_any_name_can_stand_over_a_figure(name: str) -> None:
    root = ElementTree.fromstring(figures.roc_figure(example(60, 10), name))
    texts = [each.text for each in root.iter("text")]
    shown = next(text for text in texts if text and text[:1] == name[:1])
    assert len(shown) <= 38
    if len(name) < 38 and name.isprintable():
        assert shown == name


def test_training_figures_show_what_was_recorded() -> None:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.4], "val_auroc": [0.6, np.nan], "val_auprc": [np.nan] * 2})
    names = [name for name, _ in figures.training_figures(history, 2)]
    assert names == ["loss", "validation AUROC and AUPRC"]
    one = pd.DataFrame({"epoch": [1], "loss": [0.5], "val_loss": [0.6], "lr": [1e-4]})
    assert len(figures.training_figures(one, None)) == 2
    assert figures.training_figures(pd.DataFrame({"epoch": [1]}), 1) == ()


def test_a_forest_says_where_a_value_is_undefined() -> None:
    undefined = Interval(math.nan, math.nan, math.nan)
    rows = [("sex F", Interval(0.7, 0.6, 0.8), False), ("age 80+", undefined, True), ("view", Interval(1, 1, 1), True)]
    drawn = figures.forest_figure(rows, math.nan, "AUROC")
    texts = {e.text for e in ElementTree.fromstring(drawn).iter("text")}
    assert {"sex F", "age 80+", "undefined"} <= texts


def test_written_numbers_keep_their_digits() -> None:
    with figures._drawing() as (figure, axes):
        axes.set_yticks([0.005, 0.0125])
        text = figures.svg(figure)
    assert ">0.0050<" in text
    assert ">0.0125<" in text
