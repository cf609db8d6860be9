"""DeLong's variance and test, against the pairwise definition of the 1988 paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm, rankdata
from sklearn.metrics import roc_auc_score

from zoo.evaluation.bootstrap import auroc_replicates
from zoo.evaluation.delong import delong, midranks, paired_test


def pairwise(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs and covariance straight from the paper's equations 2 to 6: every pair of films, no ranks."""
    x, y = scores[labels == 1], scores[labels == 0]
    m, n, columns = len(x), len(y), scores.shape[1]
    kernel = np.empty((columns, m, n))
    for k in range(columns):
        for i in range(m):
            for j in range(n):
                kernel[k, i, j] = 1.0 if y[j, k] < x[i, k] else 0.5 if y[j, k] == x[i, k] else 0.0
    theta = kernel.sum(axis=(1, 2)) / (m * n)
    v10, v01 = kernel.sum(axis=2) / n, kernel.sum(axis=1) / m
    s10, s01 = np.zeros((columns, columns)), np.zeros((columns, columns))
    for r in range(columns):
        for s in range(columns):
            s10[r, s] = ((v10[r] - theta[r]) * (v10[s] - theta[s])).sum() / (m - 1)
            s01[r, s] = ((v01[r] - theta[r]) * (v01[s] - theta[s])).sum() / (n - 1)
    return theta, s10 / m + s01 / n


@given(arrays(float, st.integers(1, 40), elements=st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.5])))
def test_midranks_are_average_ranks(values: np.ndarray) -> None:
    assert midranks(values) == pytest.approx(rankdata(values))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_variance_and_covariance_are_those_of_the_pairwise_definition(seed: int, decimals: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, 36)])
    scores = np.round(labels[:, None] * 0.8 + rng.normal(size=(40, 3)), decimals)
    found = delong(labels, scores)
    aurocs, covariance = pairwise(labels, scores)
    assert found.aurocs == pytest.approx(aurocs, abs=1e-12)
    assert found.aurocs == pytest.approx([roc_auc_score(labels, scores[:, k]) for k in range(3)])
    assert found.covariance == pytest.approx(covariance, abs=1e-14)


def test_the_test_is_the_normal_one_on_the_pairwise_variance() -> None:
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 80)
    first, second = labels * 2 + rng.normal(size=80), labels * 0.4 + rng.normal(size=80)
    found = paired_test(labels, first, second)
    aurocs, covariance = pairwise(labels, np.column_stack([first, second]))
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    z = (aurocs[0] - aurocs[1]) / error
    assert (found.difference, found.standard_error, found.z) == pytest.approx((aurocs[0] - aurocs[1], error, z))
    assert found.p == pytest.approx(2 * norm.sf(abs(z)))
    assert paired_test(labels, second, first).z == pytest.approx(-found.z)
    assert 0 < found.p < 0.05


def test_the_standard_error_is_near_that_of_the_bootstrap_where_films_are_independent() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 400).astype(float)
    shared = rng.normal(size=400)
    scores = np.column_stack([labels + shared, labels * 0.7 + shared + 0.5 * rng.normal(size=400)])
    patients = np.arange(400)
    drawn = [auroc_replicates(labels[:, None], scores[:, [k]], patients, 1000, 0)[:, 0] for k in range(2)]
    assert paired_test(labels, *scores.T).standard_error == pytest.approx(np.std(drawn[0] - drawn[1]), rel=0.1)


def test_unknown_labels_are_left_out() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 50).astype(float)
    scores = rng.normal(size=(50, 2))
    unknown = np.where(np.arange(50) % 5 == 0, np.nan, labels)
    kept = ~np.isnan(unknown)
    assert paired_test(unknown, *scores.T) == paired_test(labels[kept], *scores[kept].T)


def test_scores_that_rank_alike_differ_by_nothing_with_p_one() -> None:
    rng = np.random.default_rng(2)
    labels, scores = rng.integers(0, 2, 30), rng.normal(size=30)
    found = paired_test(labels, scores, np.exp(scores))
    assert (found.difference, found.z, found.p) == (0, 0, 1)


@pytest.mark.parametrize("positives", [0, 1, 9, 10])
def test_too_few_of_a_class_is_undefined(positives: int) -> None:
    labels = (np.arange(10) < positives).astype(float)
    scores = np.random.default_rng(0).normal(size=(10, 2))
    found = delong(labels, scores)
    assert np.isnan(found.aurocs).all() == (positives in (0, 10))
    assert np.isnan(found.covariance).all()
    assert math.isnan(paired_test(labels, *scores.T).p)


def test_a_perfect_and_a_perfectly_wrong_score_have_no_variance_and_no_p() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = paired_test(labels, labels * 1.0, -labels * 1.0)
    assert found.difference == 1
    assert math.isnan(found.p)
