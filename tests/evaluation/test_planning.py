"""Sample sizes against pmvalsampsize 0.2.1 (Riley et al. 2021), Buderer 1996, and the intervals of simulated images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from zoo.core.errors import UsageError
from zoo.evaluation.delong import delong
from zoo.evaluation.planning import MEASURES, Requirement, binormal, plan, slope_images

# prevalence, AUROC: pmvalsampsize(type="b", prevalence, cstatistic, lpcstat=log-odds - variance / 2), 95%, default widths
PMVALSAMPSIZE = {(0.08, 0.85): (787, 4422, 3882), (0.3, 0.75): (433, 898, 2859), (0.02, 0.8): (3835, 18839, 15621)}


def found(prevalence: float, auroc: float, **options: Any) -> dict[str, Requirement]:
    return {each.measure: each for each in plan(prevalence, auroc, **options).requirements}


@pytest.mark.parametrize("expected", PMVALSAMPSIZE)
def test_numbers_are_those_of_pmvalsampsize(expected: tuple[float, float]) -> None:
    mine, (auroc, ratio, slope) = found(*expected), PMVALSAMPSIZE[expected]
    assert mine["auroc"].independent == auroc
    assert mine["observed_expected"].independent == pytest.approx(ratio, rel=0.003)  # it steps by .0001 in the error
    assert mine["slope"].independent == pytest.approx(slope, rel=0.01)  # it simulates a million logits


def test_slope_of_normal_logits_is_that_of_pmvalsampsize() -> None:
    # pmvalsampsize(type="b", prevalence=.018, cstatistic=.8, lpnormal=(-5, 2.5))
    assert slope_images([(-5.0, 1.0)], 6.25, 0.2 / 3.92) == pytest.approx(4544, rel=0.01)


def test_sensitivity_and_specificity_are_those_of_buderer() -> None:
    # z² p (1 − p) / (error² × share of the class) for sensitivity .9, specificity .85, within ±.1, prevalence .2
    mine = found(0.2, 0.9, sensitivity=0.9, specificity=0.85, width=0.2)
    assert mine["sensitivity"].independent == 173
    assert mine["specificity"].independent == 62
    assert tuple(mine) == MEASURES


def test_logits_of_the_two_classes_have_the_auroc_and_are_calibrated() -> None:
    parts, variance = binormal(0.1, 0.8)
    rng = np.random.default_rng(0)
    y = rng.random(200_000) < 0.1
    z = rng.normal(np.where(y, parts[1][0], parts[0][0]), math.sqrt(variance))
    assert delong(y.astype(float), z[:, None]).aurocs[0] == pytest.approx(0.8, abs=0.005)
    assert (1 / (1 + np.exp(-z))).mean() == pytest.approx(0.1, abs=0.002)


@pytest.mark.parametrize(("prevalence", "auroc"), [(0.1, 0.8), (0.3, 0.9)])
def test_images_as_planned_give_an_interval_as_wide_as_wanted(prevalence: float, auroc: float) -> None:
    number = found(prevalence, auroc)["auroc"].images
    parts, variance = binormal(prevalence, auroc)
    rng = np.random.default_rng(1)
    widths = []
    for _ in range(60):
        y = rng.random(number) < prevalence
        z = rng.normal(np.where(y, parts[1][0], parts[0][0]), math.sqrt(variance))
        widths.append(2 * 1.96 * math.sqrt(delong(y.astype(float), z[:, None]).covariance[0, 0]))
    assert np.mean(widths) == pytest.approx(0.1, rel=0.1)


def test_images_of_one_patient_count_by_their_correlation() -> None:
    alone, alike, half = (
        found(0.1, 0.8, images_per_patient=m, correlation=r)["auroc"] for m, r in ((1, 1), (4, 1), (4, 0.5))
    )
    assert alone.images == alone.patients == alone.independent
    assert (alike.patients, alike.images) == (alone.patients, 4 * alone.patients)
    assert half.images == pytest.approx(2.5 * alone.images, abs=4)
    assert half.patients == math.ceil(2.5 * alone.images / 4)
    assert plan(0.1, 0.8, images_per_patient=4, correlation=0.5).design_effect == 2.5


def test_the_decisive_measure_needs_most_and_narrower_needs_more() -> None:
    wide, narrow = plan(0.1, 0.8, sensitivity=0.9), plan(0.1, 0.8, sensitivity=0.9, width=0.02)
    assert wide.decisive.measure == "slope"
    assert narrow.decisive.measure == "sensitivity"
    assert narrow.decisive.images > wide.decisive.images


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prevalence": 8.0}, "prevalence lies between 0 and 1, such as 0.05, not 8.0"),
        ({"auroc": 0.5}, "AUROC lies above .5 and below 1"),
        ({"sensitivity": 1.0}, "sensitivity lies between 0 and 1"),
        ({"width": 0.0}, "width lies between 0 and 1"),
        ({"calibration_width": -1.0}, "slope and O/E"),
        ({"images_per_patient": 0.5}, "images per patient"),
        ({"correlation": 2.0}, "correlation of a patient's images"),
        ({"prevalence": 1e-9}, "needs more than 1,000,000,000 images"),
        ({"level": math.nan}, "level lies between 0 and 1"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**{"prevalence": 0.1, "auroc": 0.8} | options)
