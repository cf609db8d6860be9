"""The analysis of reader studies against a published example, brute force and limiting cases."""

from __future__ import annotations

import csv
import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from zoo.evaluation.delong import delong, paired_test
from zoo.evaluation.mrmc import MRMC, mean_over_readers, obuchowski_rockette
from zoo.evaluation.mrmc_auroc import jackknife_aurocs, one_shot_variance

VAN_DYKE = Path(__file__).parent / "golden" / "van_dyke.csv"


def van_dyke() -> tuple[np.ndarray, np.ndarray]:
    """Labels `(114,)` and ratings `(114, 2, 5)` of Van Dyke et al. 1993: MRI of the aorta, single spin echo and cine."""
    with VAN_DYKE.open() as file:
        rows = list(csv.DictReader(file))
    ratings = np.array([[int(c) for c in r["without dissection"] + r["with dissection"]] for r in rows], dtype=float)
    return np.repeat([0.0, 1.0], [69, 45]), ratings.reshape(2, 5, 114).transpose(2, 0, 1)


def analyse(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> MRMC:
    images, count, number = scores.shape
    found = jackknife_aurocs(labels, scores.reshape(images, -1), np.arange(images) if patients is None else patients)
    shape = (count, number)
    names = tuple("ABC"[:count]), tuple(f"r{j}" for j in range(1, number + 1))
    return obuchowski_rockette(*names, found.aurocs.reshape(shape), found.covariance.reshape(shape * 2))


def study(seed: int, images: int = 24, modalities: int = 2, readers: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(images) % 3 == 0).astype(float)
    case = rng.normal(size=(images, 1, 1)) + labels[:, None, None]
    return labels, np.round(2 * (case + rng.normal(size=(images, modalities, readers))))


def test_van_dyke_as_the_university_of_iowa_s_program_prints_it() -> None:
    """OR-DBM MRMC 2.51 (Schartz, Hillis, Pesce & Berbaum): trapezoidal areas, jackknife, all printed digits."""
    labels, scores = van_dyke()
    found = analyse(labels, scores)
    assert [round(v, 8) for v in found.values["A"].values()] == [
        *(0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066),
    ]
    assert [round(v, 8) for v in found.values["B"].values()] == [
        *(0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169),
    ]
    printed = {"var_reader": 0.00153500, "var_interaction": 0.00020040, "cov1": 0.00034661}
    printed |= {"cov2": 0.00034407, "cov3": 0.00023903, "var_error": 0.00080229}
    assert {name: round(value, 8) for name, value in found.components.items()} == printed
    assert round(found.f, 2) == 4.46
    assert (found.df1, round(found.df2, 2)) == (1, 15.26)
    assert (round(found.p, 4), round(found.p_fixed, 4)) == (0.0517, 0.0193)
    (pair,) = found.pairs
    random, fixed = pair.random, pair.fixed
    assert [round(v, 5) for v in (random.value.value, random.standard_error)] == [-0.04380, 0.02075]
    assert [round(v, 5) for v in (random.value.low, random.value.high)] == [-0.08796, 0.00036]
    assert (round(random.df, 2), round(random.p, 4)) == (15.26, 0.0517)
    assert [round(v, 5) for v in (fixed.standard_error, fixed.value.low, fixed.value.high)] == [
        *(0.01872, -0.08049, -0.00711),
    ]
    for name, mean, error, df, low, high in (
        ("A", 0.89703704, 0.03317360, 12.74, 0.82522360, 0.96885048),
        ("B", 0.94083736, 0.02156637, 12.71, 0.89413783, 0.98753689),
    ):
        own = found.means[name]
        assert [round(v, 8) for v in (own.value.value, own.standard_error)] == [mean, error]
        assert (round(own.df, 2), round(own.value.low, 8), round(own.value.high, 8)) == (df, low, high)


def test_the_jackknife_is_the_one_that_leaves_patients_out() -> None:
    labels, scores = study(0)
    patients = np.array([i // 3 if i < 12 else i for i in range(24)])  # four patients with images of both classes
    flat = scores.reshape(24, -1)
    flat[5, 2] = math.nan  # not read
    values = []
    for patient in np.unique(patients):
        keep = patients != patient
        columns = [flat[keep & ~np.isnan(flat[:, k]), k] for k in range(6)]
        known = [labels[keep & ~np.isnan(flat[:, k])] for k in range(6)]
        values.append([delong(y, x[:, None]).aurocs[0] for x, y in zip(columns, known, strict=True)])
    number = len(values)
    found = jackknife_aurocs(labels, flat, patients)
    np.testing.assert_allclose(found.covariance, np.cov(np.array(values).T) * (number - 1) ** 2 / number, atol=1e-15)


def test_with_one_reader_it_is_delong_s_test() -> None:
    labels, scores = study(1, images=60, readers=1)
    found = delong(labels, scores.reshape(60, 2))
    result = obuchowski_rockette(("A", "B"), ("r",), found.aurocs.reshape(2, 1), found.covariance.reshape(2, 1, 2, 1))
    test = paired_test(labels, scores[:, 0, 0], scores[:, 1, 0])
    (pair,) = result.pairs
    assert pair.fixed.value.value == test.difference
    assert pair.fixed.standard_error == pytest.approx(test.standard_error, rel=1e-12)
    assert (pair.fixed.p, result.p_fixed) == (pytest.approx(test.p, rel=1e-12), pytest.approx(test.p, rel=1e-12))
    assert math.isnan(result.p)  # one reader says nothing about readers
    assert math.isnan(pair.random.p)


def test_identical_modalities_differ_by_nothing() -> None:
    labels, scores = study(2)
    found = analyse(labels, scores[:, [0, 0], :])
    assert (found.f, found.p, found.p_fixed) == (0, 1, 1)
    assert (found.pairs[0].random.value.value, found.pairs[0].random.p, found.pairs[0].fixed.p) == (0, 1, 1)
    assert one_shot_variance(labels, scores[:, 0], scores[:, 0], np.arange(24)) == 0


def test_two_modalities_are_their_differences_reader_by_reader() -> None:
    labels, scores = study(3)
    found = jackknife_aurocs(labels, scores.reshape(24, 6), np.arange(24))
    a, b = slice(0, 3), slice(3, 6)
    covariance = found.covariance
    own = covariance[a, a] + covariance[b, b] - covariance[a, b] - covariance[b, a]
    direct = mean_over_readers(found.aurocs[a] - found.aurocs[b], own)
    random = analyse(labels, scores).pairs[0].random
    assert (direct.value.value, direct.p) == (pytest.approx(random.value.value), pytest.approx(random.p))
    assert (direct.standard_error, direct.df) == (pytest.approx(random.standard_error), pytest.approx(random.df))


def brute_one_shot(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray) -> float:
    """Every two pairs of images, `(N, J)` scores: the squared mean minus the mean product of those that share nothing."""
    negative, positive, readers = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1), range(scores.shape[1])
    success = {
        (i, j, r): (scores[j, r] > scores[i, r]) + 0.5 * (scores[j, r] == scores[i, r])
        for i in negative
        for j in positive
        for r in readers
    }
    products = [
        success[i, j, r] * success[k, m, s]
        for (i, j, r), (k, m, s) in itertools.product(success, success)
        if (r != s or len(readers) == 1) and not {patients[i], patients[j]} & {patients[k], patients[m]}
    ]
    return float(np.mean(list(success.values())) ** 2 - np.mean(products))


@pytest.mark.parametrize("readers", [1, 3])
@pytest.mark.parametrize("several", [False, True])
def test_the_one_shot_variance_is_that_of_every_two_pairs(readers: int, several: bool) -> None:
    labels, scores = study(4, images=14, readers=readers)
    patients = np.array([0, 0, 0, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 9]) if several else np.arange(14)
    found = one_shot_variance(labels, scores[:, 0], None, patients)
    assert found == pytest.approx(brute_one_shot(labels, scores[:, 0], patients), abs=1e-14)


def test_the_one_shot_variance_of_van_dyke_is_near_that_of_the_analysis_of_variance() -> None:
    labels, scores = van_dyke()
    variance = one_shot_variance(labels, scores[:, 0], scores[:, 1], np.arange(114))
    assert math.sqrt(variance) == pytest.approx(0.02075, rel=0.05)


def test_a_score_without_a_class_has_no_auroc() -> None:
    found = jackknife_aurocs(np.array([1.0, 1, math.nan]), np.ones((3, 1)), np.arange(3))
    assert np.isnan(found.aurocs).all()
    assert np.isnan(found.covariance).all()
    assert math.isnan(one_shot_variance(np.array([1.0, 1]), np.ones((2, 2)), None, np.arange(2)))
