"""Non-inferiority and equivalence: direction, bounds, and the error rate at the margin."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from zoo.core.errors import UsageError
from zoo.core.tasks import Task
from zoo.evaluation import Interval, Predictions
from zoo.evaluation.comparison import Comparison, Difference, compare, measure
from zoo.evaluation.margins import against_margin


def comparison(low: float, high: float, first: str = "a", second: str = "b") -> Comparison:
    difference = Interval((low + high) / 2, low, high)
    overall = Difference("macro", 0.8, 0.8 - difference.value, difference, 0.01, 30.0, 0.5, 0.5, math.nan)
    return Comparison(first, second, "auroc", 100, 50, 2, overall, {}, None)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.01, 0.05, "noninferior"),
        (-0.01, 0.015, "equivalent"),
        (-0.01, 0.03, "noninferior"),
        (-0.03, 0.03, "inconclusive"),
        (-0.03, 0.01, "inconclusive"),
        (-0.02, 0.01, "inconclusive"),  # the bound itself is not above it
        (-0.06, -0.03, "inferior"),
        (math.nan, math.nan, "undefined"),
    ],
)
def test_the_outcome_follows_from_both_bounds(low: float, high: float, outcome: str) -> None:
    found = against_margin(comparison(low, high), "b", 0.02)
    assert found.outcome == outcome
    assert (found.new, found.reference, found.margin) == ("a", "b", 0.02)


def test_a_run_that_is_better_within_the_margin_is_equivalent() -> None:
    found = against_margin(comparison(0.005, 0.015), "b", 0.02)
    assert found.outcome == "equivalent"
    assert found.noninferior


def test_the_reference_is_subtracted_wherever_it_stands() -> None:
    found = against_margin(comparison(0.01, 0.05), "a", 0.02)
    assert (found.new, found.reference) == ("b", "a")
    assert (found.difference.low, found.difference.high) == (-0.05, -0.01)
    assert found.outcome == "inconclusive"
    assert dataclasses.replace(found, margin=0.005).outcome == "inferior"
    with pytest.raises(ValueError, match="'c' is none of"):
        against_margin(comparison(0.01, 0.05), "c", 0.02)


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.0, math.nan])
def test_a_margin_is_between_0_and_1(margin: float) -> None:
    with pytest.raises(UsageError, match="margin is the largest loss that does not matter"):
        against_margin(comparison(0.01, 0.05), "a", margin)


def runs(seed: int, loss: float) -> Comparison:
    """A run that is worse than the reference by exactly `loss` of AUROC, in expectation; two images of a patient."""
    rng = np.random.default_rng(seed)
    y = (rng.random(120) < 0.4).astype(float)
    shared = np.repeat(rng.normal(size=60), 2)
    best = 0.85
    table = pd.DataFrame({"image": [str(i) for i in range(120)], "patient": [str(i // 2) for i in range(120)]})
    found = []
    for name, area in (("new", best - loss), ("reference", best)):
        noise = (shared + rng.normal(size=120)) / math.sqrt(2)
        logits = (noise + y * math.sqrt(2) * norm.ppf(area))[:, None]
        images = Predictions(Task("binary", ("A",)), table, y[:, None], logits)
        found.append(measure(name, images))
    return compare(*found)


def test_at_the_margin_noninferiority_is_claimed_in_one_of_forty() -> None:
    claimed = np.mean([bool(against_margin(runs(seed, 0.1), "reference", 0.1).noninferior) for seed in range(60)])
    assert claimed <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 60)
    assert np.mean([bool(against_margin(runs(seed, 0.0), "reference", 0.3).equivalent) for seed in range(10)]) > 0.8
