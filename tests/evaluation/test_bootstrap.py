"""The patient bootstrap against scikit-learn on the very same drawn weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from zoo.evaluation import auroc_replicates, bootstrap, patient_weights, weight_chunks
from zoo.evaluation.bootstrap import mean_replicates, patient_codes, percentile_interval


def make_images(seed: int, number: int = 60, labels: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with unknowns, scores with many ties, and patients with several images."""
    rng = np.random.default_rng(seed)
    y = (rng.random((number, labels)) < 0.4).astype(float)
    y[rng.random((number, labels)) < 0.1] = np.nan
    return y, rng.integers(-3, 4, (number, labels)).astype(float) + np.nan_to_num(y), rng.integers(0, 12, number)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_every_replicate_equals_scikit_learn_with_the_drawn_weights(seed: int) -> None:
    y, scores, patients = make_images(seed)
    drawn = auroc_replicates(y, scores, patients, 8, seed)
    for r, w in enumerate(patient_weights(patients, 8, seed)):
        for k in (0, 1):
            use = ~np.isnan(y[:, k]) & (w > 0)
            if 0 < y[use, k].sum() < use.sum():
                expected = sk.roc_auc_score(y[use, k], scores[use, k], sample_weight=w[use])
                assert drawn[r, k] == pytest.approx(expected, abs=1e-12)
            else:
                assert math.isnan(drawn[r, k])


def test_a_replicate_is_a_resample_with_repeated_images() -> None:
    y, scores, patients = make_images(3)
    weights = patient_weights(patients, 1, 5)[0].astype(int)
    rows = np.repeat(np.arange(len(y)), weights)
    rows = rows[~np.isnan(y[rows, 0])]
    drawn = auroc_replicates(y, scores, patients, 1, 5)
    assert drawn[0, 0] == pytest.approx(sk.roc_auc_score(y[rows, 0], scores[rows, 0]), abs=1e-12)


def test_weights_are_draws_of_whole_patients() -> None:
    patients = np.array(["b", "a", "a", "c", "b", "a"])
    weights = patient_weights(patients, 200, 1)
    assert weights.shape == (200, 6)
    assert (weights[:, 0] == weights[:, 4]).all()
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert len(np.unique(weights[:, 3])) > 2
    np.testing.assert_array_equal(weights, patient_weights(patients, 200, 1))
    assert (weights != patient_weights(patients, 200, 2)).any()
    assert patient_weights(patients, 0, 1).shape == (0, 6)


def test_draws_follow_names_not_the_order_of_images() -> None:
    patients = np.array(["b", "a", "a", "c"])
    order = np.array([3, 1, 0, 2])
    np.testing.assert_array_equal(patient_weights(patients, 20, 0)[:, order], patient_weights(patients[order], 20, 0))


def test_an_image_without_patient_is_its_own() -> None:
    codes, number = patient_codes(np.array(["a", None, "a", None, "nan", "", " ", ""], dtype=object))
    assert number == 7
    assert codes[0] == codes[2]
    assert len(set(codes.tolist())) == 7


def test_patient_interval_is_wider_where_images_of_a_patient_agree() -> None:
    rng = np.random.default_rng(0)
    truth, effect = (rng.random(60) < 0.5).astype(float), rng.normal(size=60)
    patients = np.repeat(np.arange(60), 10)
    y = truth[patients][:, None]
    scores = (truth + effect)[patients][:, None] + 0.3 * rng.normal(size=(600, 1))
    widths = []
    for units in (patients, np.arange(600)):
        low, high, _ = percentile_interval(auroc_replicates(y, scores, units, 300, 0)[:, 0], 0.95)
        widths.append(high - low)
    assert widths[0] > 2 * widths[1]


def clustered(seed: int, patients: int, simulations: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Binormal scores with patient effects: labels and scores `(N, simulations)`, and the patient of each image.

    Patients have 1 to 9 images, all positive or all negative; 70% of a score's variance within a class is the patient's.
    Positives lie one standard deviation higher, so a positive and a negative image, which are of different patients, are
    in order with probability Φ(1/√2).
    """
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(patients), rng.integers(1, 10, patients))
    truth = (rng.random((patients, simulations)) < 0.5).astype(float)
    effect = truth + math.sqrt(0.7) * rng.normal(size=(patients, simulations))
    return truth[units], effect[units] + math.sqrt(0.3) * rng.normal(size=(len(units), simulations)), units


def coverage(replicates: int, batches: int, simulations: int, by_patient: bool) -> float:
    """Share of simulations whose 95% interval covers the true AUROC."""
    hits = []
    for batch in range(batches):
        y, scores, units = clustered(batch, 150, simulations)
        drawn = auroc_replicates(y, scores, units if by_patient else np.arange(len(units)), replicates, batch)
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        hits.append((low <= TRUE_AUROC) & (high >= TRUE_AUROC))
    return float(np.mean(hits))


TRUE_AUROC = 0.7602499389  # Φ(1 / √2)


@pytest.mark.slow
def test_patient_intervals_cover_the_truth_and_image_intervals_do_not() -> None:
    # 1,000 simulations, 20 each with images of one set of patients: standard error .7% at 95%
    by_patient = coverage(250, 50, 20, by_patient=True)
    by_image = coverage(250, 15, 20, by_patient=False)
    assert 0.93 <= by_patient <= 0.97, by_patient
    assert by_image < 0.9, by_image


def test_auroc_replicates_are_paired_and_undefined_where_they_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    y, scores, patients = make_images(5)
    whole = auroc_replicates(y, scores, patients, 30, 1)
    better = auroc_replicates(y, scores + 3 * np.nan_to_num(y), patients, 30, 1)
    for r, w in enumerate(patient_weights(patients, 30, 1)):
        use = ~np.isnan(y[:, 1])
        expected = [
            sk.roc_auc_score(y[use, 1], s[use, 1], sample_weight=w[use])
            for s in (scores, scores + 3 * np.nan_to_num(y))
        ]
        assert (whole[r, 1], better[r, 1]) == pytest.approx(tuple(expected))
    monkeypatch.setattr(bootstrap, "_CHUNK", 400)
    np.testing.assert_array_equal(auroc_replicates(y, scores, patients, 30, 1), whole)
    broken = scores.copy()
    broken[np.flatnonzero(~np.isnan(y[:, 0]))[0], 0] = np.nan
    broken[np.flatnonzero(np.isnan(y[:, 1]))[0], 1] = np.nan  # no matter: its label is unknown
    found = auroc_replicates(y, broken, patients, 30, 1)
    assert np.isnan(found[:, 0]).all()
    np.testing.assert_array_equal(found[:, 1], whole[:, 1])
    assert auroc_replicates(y, scores, patients, 0, 1).shape == (0, 2)
    assert np.isnan(auroc_replicates(np.ones((60, 1)), scores[:, :1], patients, 3, 1)).all()


@pytest.mark.parametrize("chunk", [None, 1, 7, 100])
def test_weights_come_in_pieces_that_make_up_the_whole(chunk: int | None) -> None:
    patients = make_images(2)[2]
    pieces = list(weight_chunks(patients, 20, 3, chunk))
    assert max(map(len, pieces)) <= (chunk or 20)
    np.testing.assert_array_equal(np.concatenate(pieces), patient_weights(patients, 20, 3))


def test_means_of_every_draw_equal_numpy() -> None:
    _, scores, patients = make_images(4)
    values = np.where(scores > 2, np.nan, scores)
    means = mean_replicates(values, patients, 9, 2)
    for r, w in enumerate(patient_weights(patients, 9, 2)):
        for k in (0, 1):
            use = ~np.isnan(values[:, k])
            assert means[r, k] == pytest.approx(np.average(values[use, k], weights=w[use]))
    assert np.isnan(mean_replicates(np.full((60, 1), np.nan), patients, 2, 0)).all()


def test_undefined_replicates_are_dropped_and_counted() -> None:
    values = np.array([0.2, 0.4, np.nan, 0.6])
    low, high, dropped = percentile_interval(values, 0.5)
    assert (low, high) == pytest.approx(tuple(np.quantile([0.2, 0.4, 0.6], [0.25, 0.75])))
    assert dropped == 1
    low, high, dropped = percentile_interval(np.array([0.2, np.nan, np.nan]), 0.95)
    assert math.isnan(low)
    assert math.isnan(high)
    assert dropped == 2
    assert math.isnan(percentile_interval(np.array([]), 0.95)[0])
