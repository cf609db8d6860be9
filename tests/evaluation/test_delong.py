"""DeLong's variance and test, against the pairwise definition of the 1988 paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from zoo.evaluation.bootstrap import auroc_replicates
from zoo.evaluation.delong import delong, paired_test


def pairwise(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUROCs and covariance straight from the paper's equations 2 to 6: every pair of images, no ranks."""
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


def test_the_standard_error_is_near_that_of_the_bootstrap_where_images_are_independent() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, 400).astype(float)
    shared = rng.normal(size=400)
    scores = np.column_stack([labels + shared, labels * 0.7 + shared + 0.5 * rng.normal(size=400)])
    patients = np.arange(400)
    drawn = [auroc_replicates(labels[:, None], scores[:, [k]], patients, 1000, 0)[:, 0] for k in range(2)]
    assert paired_test(labels, *scores.T).standard_error == pytest.approx(np.std(drawn[0] - drawn[1]), rel=0.1)


def obuchowski(labels: np.ndarray, scores: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The covariance of clustered AUROCs from Obuchowski (1997), section 2, over all pairs and all patients."""
    x, z = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    m, n, people = len(x), len(z), np.unique(codes)
    parts = []
    for s in scores.T:
        psi = (s[x][:, None] > s[z]) + 0.5 * (s[x][:, None] == s[z])
        v10, v01, theta = psi.mean(axis=1), psi.mean(axis=0), psi.mean()
        t10 = np.array([v10[codes[x] == p].sum() - theta * (codes[x] == p).sum() for p in people])
        t01 = np.array([v01[codes[z] == p].sum() - theta * (codes[z] == p).sum() for p in people])
        parts.append((t10, t01))
    i10, i01, i = len(np.unique(codes[x])), len(np.unique(codes[z])), len(people)
    found = np.empty((len(parts), len(parts)))
    for r, (a10, a01) in enumerate(parts):
        for c, (b10, b01) in enumerate(parts):
            s10, s01 = i10 / ((i10 - 1) * m) * (a10 @ b10), i01 / ((i01 - 1) * n) * (a01 @ b01)
            s11 = i / (i - 1) * (a10 @ b01 + a01 @ b10)
            found[r, c] = s10 / m + s01 / n + s11 / (m * n)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_with_several_images_per_patient_the_covariance_is_obuchowski_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, codes = rng.integers(0, 2, 60).astype(float), rng.integers(0, 15, 60)
    scores = np.round(labels[:, None] + rng.normal(size=(15, 3))[codes] + rng.normal(size=(60, 3)), seed % 3)
    found = delong(labels, scores, codes)
    assert found.covariance == pytest.approx(obuchowski(labels, scores, codes), abs=1e-14)
    alone = delong(labels, scores, np.arange(60))
    assert alone.covariance == pytest.approx(pairwise(labels, scores)[1], abs=1e-14)
    assert paired_test(labels, scores[:, 0], scores[:, 1], codes).standard_error > 0


def test_copies_of_images_do_not_make_a_clustered_test_surer() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80).astype(float)
    scores = labels[:, None] + rng.normal(size=(80, 2))
    once = paired_test(labels, *scores.T)
    copied = paired_test(np.tile(labels, 5), *np.tile(scores.T, 5), np.tile(np.arange(80), 5))
    assert copied.standard_error == pytest.approx(once.standard_error)


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


# the 43 complete records of DeLong, DeLong and Clarke-Pearson (1988): albumin, total protein, 10 - K-G score, and the outcome
RECORDS = """
    3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1
    3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0
    2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1
    3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0
    3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1
    3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def test_the_published_example() -> None:
    """Areas, standard errors and tests of SAS/STAT User's Guide, PROC LOGISTIC, "Comparing Receiver Operating
    Characteristic Curves", which analyses these data by DeLong's method."""
    albumin, protein, reversed_score, labels = np.array([float(each) for each in RECORDS.split()]).reshape(-1, 4).T
    score = 10 - reversed_score
    found = delong(labels, np.stack([score, albumin, protein], axis=1))
    np.testing.assert_allclose(found.aurocs, [0.7258, 0.7366, 0.6478], atol=5e-5)
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), [0.1028, 0.0927, 0.1000], atol=5e-5)
    for other, difference, error, p in ((albumin, 0.0108, 0.0953, 0.9102), (protein, -0.0780, 0.1046, 0.4561)):
        test = paired_test(labels, other, score)
        np.testing.assert_allclose([test.difference, test.standard_error, test.p], [difference, error, p], atol=5e-5)
