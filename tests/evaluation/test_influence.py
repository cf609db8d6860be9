"""How patients move metrics, against derivatives of scikit-learn's weighted metrics and a brute-force Obuchowski."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from zoo.evaluation import influence

NUMBER, PATIENTS = 60, 14


def make_images(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with unknowns, scores with ties, and patients with several images."""
    rng = np.random.default_rng(seed)
    y = (rng.random((NUMBER, 2)) < 0.4).astype(float)
    y[rng.random(y.shape) < 0.1] = np.nan
    return y, rng.integers(-3, 4, y.shape) + np.nan_to_num(y), rng.integers(0, PATIENTS, NUMBER)


def derivative(metric, codes: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """By how much a weighted metric changes as each patient gets more weight."""
    found = []
    for patient in range(PATIENTS):
        more = (codes == patient) * step
        found.append((metric(1 + more) - metric(1 - more)) / (2 * step))
    return np.array(found)


@pytest.mark.parametrize("seed", range(3))
def test_influences_are_the_derivatives_by_a_patient_s_weight(seed: int) -> None:
    y, scores, codes = make_images(seed)
    positive = scores > 0
    found = influence.of_labels(y, scores, positive, codes, PATIENTS)
    for k in (0, 1):
        use = ~np.isnan(y[:, k])
        truth, s, decided = y[use, k], scores[use, k], positive[use, k]
        weighted = {
            "auprc": lambda w, t=truth, s=s, u=use: sk.average_precision_score(t, s, sample_weight=w[u]),
            "sensitivity": lambda w, t=truth, d=decided, u=use: sk.recall_score(t, d, sample_weight=w[u]),
            "precision": lambda w, t=truth, d=decided, u=use: sk.precision_score(t, d, sample_weight=w[u]),
            "f1": lambda w, t=truth, d=decided, u=use: sk.f1_score(t, d, sample_weight=w[u]),
            "mcc": lambda w, t=truth, d=decided, u=use: sk.matthews_corrcoef(t, d, sample_weight=w[u]),
            "balanced_accuracy": lambda w, t=truth, d=decided, u=use: sk.balanced_accuracy_score(
                t, d, sample_weight=w[u]
            ),
        }
        for name, metric in weighted.items():
            number = found[name].clusters[k]
            own = found[name].by_patient[:, k] / np.sqrt(number / (number - 1))
            np.testing.assert_allclose(own, derivative(metric, codes), atol=1e-6, err_msg=name)
            assert found[name].value[k] == pytest.approx(metric(np.ones(NUMBER)))


def obuchowski(y: np.ndarray, s: np.ndarray, codes: np.ndarray) -> float:
    """The clustered variance of an AUROC from Obuchowski (1997), equations of section 2, over all pairs."""
    x, z = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    psi = (s[x][:, None] > s[z][None]) + 0.5 * (s[x][:, None] == s[z][None])
    theta, m, n = psi.mean(), len(x), len(z)
    v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
    people = np.unique(codes)
    a = np.array([(v10[codes[x] == p] - theta).sum() for p in people])
    b = np.array([(v01[codes[z] == p] - theta).sum() for p in people])
    i, i10, i01 = len(people), len(np.unique(codes[x])), len(np.unique(codes[z]))
    s10, s01 = i10 / ((i10 - 1) * m) * (a**2).sum(), i01 / ((i01 - 1) * n) * (b**2).sum()
    return s10 / m + s01 / n + 2 * i / (i - 1) * (a * b).sum() / (m * n)


def test_with_as_many_images_of_each_patient_the_auroc_s_variance_is_obuchowski_s() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(40), 4)
    y = np.repeat(rng.random(40) < 0.4, 4).astype(float)  # a patient's images are of one class: no correction differs
    s = y + rng.normal(size=40)[codes] + 0.5 * rng.normal(size=160)
    found = influence.ranked("auroc", y[:, None], s[:, None], codes, 40)
    assert (found.by_patient**2).sum() == pytest.approx(obuchowski(y, s, codes), rel=1e-12)
    assert found.clusters[0] == pytest.approx(min(y[::4].sum(), 40 - y[::4].sum()))


def test_the_effective_number_of_patients_counts_equal_ones_fully_and_one_big_one_little() -> None:
    weights = np.array([[1, 3, 100, 0], [1, 3, 1, 0], [1, 3, 1, 0], [1, 3, 1, 0.0]])
    np.testing.assert_allclose(influence.effective(weights), [4, 4, 2, 0])


def test_a_mean_over_labels_adds_what_a_patient_does_to_each() -> None:
    y, scores, codes = make_images(0)
    found = influence.ranked("auroc", y, scores, codes, PATIENTS)
    mean = influence.mean(found)
    np.testing.assert_allclose(mean.by_patient[:, 0], found.by_patient.mean(axis=1))
    assert mean.value == pytest.approx(found.value.mean())
    assert mean.freedom[0] >= found.freedom.min()
    same = influence.ranked("auroc", y[:, [0, 0]], scores[:, [0, 0]], codes, PATIENTS)
    assert influence.mean(same).freedom == pytest.approx(same.freedom[:1])  # two equal labels know no more than one
    assert influence.mean(same).variance == pytest.approx((same.by_patient[:, 0] ** 2).sum())


def test_weights_that_depend_on_the_images_move_the_mean_too() -> None:
    y, scores, codes = make_images(1)
    y = np.nan_to_num(y)
    table = influence.Confusion(
        *(influence.by_patient(p, codes, PATIENTS) for p in influence.metrics.parts(y, scores > 0))
    )
    found, positives = influence.decided(table)["sensitivity"], influence.by_patient(y > 0.5, codes, PATIENTS)
    own = influence.mean(found, positives.sum(axis=0), positives).by_patient[:, 0]
    plain = influence.image_means(
        np.where(y.ravel() > 0.5, scores.ravel() > 0, np.nan)[:, None], np.repeat(codes, 2), PATIENTS
    )
    # weighted by positives, the mean sensitivity is the share of all positive labels found
    assert np.corrcoef(own, plain.by_patient[:, 0])[0, 1] > 0.999


def test_a_label_on_too_few_patients_adds_what_cannot_be_seen() -> None:
    y = np.zeros((30, 2))
    y[:2, 0] = y[:12, 1] = 1
    scores = np.random.default_rng(0).normal(size=y.shape) + 3 * y
    found = influence.ranked("auroc", y, scores, np.arange(30), 30)
    assert found.unseen[0] > 0.05
    assert found.unseen[1] == 0
    assert influence.mean(found).variance[0] > found.unseen[0] / 4


def test_the_mean_of_labels_whose_influences_cancel_has_no_spread() -> None:
    positive = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    found = influence.mean(influence.image_means(positive, np.arange(5), 5))
    assert (found.value[0], found.variance[0]) == (0.5, 0.0)
    assert np.isfinite(found.freedom[0])
