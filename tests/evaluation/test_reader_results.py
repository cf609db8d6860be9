"""Readers evaluated from their scores: the true order, errors at the stated rate, and designs with gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from zoo.evaluation.agreement import panel_agreement
from zoo.evaluation.mrmc import obuchowski_rockette
from zoo.evaluation.mrmc_auroc import jackknife_aurocs
from zoo.evaluation.readers import Model, evaluate_readers
from zoo.evaluation.readings import Readings
from zoo.report.reader_sentences import sentences


def readings(labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> Readings:
    """Scores `(N, I, J)` of one label."""
    count, modalities, readers = scores.shape
    return Readings(
        source="made up",
        labels=("Effusion",),
        modalities=tuple("AB"[:modalities]),
        readers=tuple(f"r{j}" for j in range(readers)),
        images=np.arange(count).astype(str).astype(object),
        patients=(np.arange(count) if patients is None else patients).astype(str).astype(object),
        scores=scores[None],
        reference=labels[:, None].astype(float),
    )


def scores_of(rng: np.random.Generator, labels: np.ndarray, skills: tuple[float, ...], cases: np.ndarray) -> np.ndarray:
    """One modality: what the label is worth to each reader, plus a part of the case that all of them share."""
    shared = rng.normal(size=int(cases.max()) + 1)[cases]
    return (np.outer(labels, skills) + shared[:, None] + rng.normal(size=(len(labels), len(skills))))[:, None, :]


def test_readers_of_known_skill_are_found_in_their_order() -> None:
    rng = np.random.default_rng(0)
    labels, patients = (np.arange(900) % 3 == 0).astype(float), np.arange(900) // 3
    skills = (0.5, 2.0, 1.2, 3.2)
    found = evaluate_readers(readings(labels, scores_of(rng, labels, skills, patients), patients))
    (modality,) = found.labels[0].modalities
    order = sorted(range(4), key=lambda j: modality.readers[j].auroc.value)
    assert order == sorted(range(4), key=skills.__getitem__)
    for pair in modality.pairs:
        assert pair.p_holm < 0.05
        assert (pair.minus.value.value > 0) == (skills[int(pair.first[1])] > skills[int(pair.second[1])])


def test_equal_readers_are_rarely_told_to_differ() -> None:
    """Three equal readers, 40 patients with two images: the share of 200 studies with any difference is near 5%."""
    rng, wrong = np.random.default_rng(1), 0
    labels, patients = np.repeat(np.arange(40) % 2, 2).astype(float), np.repeat(np.arange(40), 2)
    for _ in range(200):
        table = readings(labels, scores_of(rng, labels, (1.0, 1.0, 1.0), patients), patients)
        (modality,) = evaluate_readers(table).labels[0].modalities
        wrong += any(pair.p_holm < 0.05 for pair in modality.pairs)
    assert wrong <= 0.05 * 200 + 2 * math.sqrt(200 * 0.05 * 0.95)


def test_equal_modalities_are_called_different_in_about_five_of_a_hundred_studies() -> None:
    """Roe & Metz' model with readers that vary: 400 studies of 4 readers and 60 images."""
    rng, p = np.random.default_rng(2), []
    labels = np.repeat([1.0, 0.0], 30)
    for _ in range(400):
        skill = 0.15 * rng.normal(size=(2, 1, 4)) + 0.15 * rng.normal(size=(2, 2, 4))
        case = 0.6 * rng.normal(size=(60, 1, 1)) + 0.5 * rng.normal(size=(60, 2, 1)) + 0.4 * rng.normal(size=(60, 1, 4))
        scores = 1.2 * labels[:, None, None] + skill[labels.astype(int)] + case + 0.5 * rng.normal(size=(60, 2, 4))
        found = jackknife_aurocs(labels, scores.reshape(60, 8), np.arange(60))
        names = ("A", "B"), tuple("wxyz")
        p.append(obuchowski_rockette(*names, found.aurocs.reshape(2, 4), found.covariance.reshape(2, 4, 2, 4)).p)
    rate = float(np.mean(np.array(p) < 0.05))
    assert 0.05 - 2.6 * math.sqrt(0.05 * 0.95 / 400) <= rate <= 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 400)


def test_each_reader_is_measured_on_what_he_read() -> None:
    rng = np.random.default_rng(3)
    labels = (np.arange(120) % 2).astype(float)
    one = scores_of(rng, labels, (1.5, 1.5, 1.5), np.arange(120))
    scores = np.concatenate([one, one + rng.normal(size=one.shape)], axis=1)
    scores[:40, :, 0] = np.nan  # the first reader has not read a third, the third nothing in the second modality
    scores[:, 1, 2] = np.nan
    result = evaluate_readers(readings(labels, scores)).labels[0]
    assert not result.crossed
    assert [reader.images for reader in result.modalities[0].readers] == [80, 120, 120]
    assert math.isnan(result.modalities[1].readers[2].auroc.value)
    assert result.mrmc is not None
    assert result.mrmc.readers == ("r0", "r1")
    assert result.mrmc.pairs[0].one_shot is None
    alone = jackknife_aurocs(labels[40:], scores[40:, 0, :1], np.arange(80)).aurocs[0]
    assert result.mrmc.values["A"]["r0"] == alone


def test_a_model_that_is_a_reader_does_not_differ_from_him() -> None:
    rng = np.random.default_rng(4)
    labels = (np.arange(100) % 2).astype(float)
    scores = scores_of(rng, labels, (1.0, 2.0), np.arange(100))
    own = scores[:, 0, :1]
    found = (
        evaluate_readers(readings(labels, scores), Model("net", own, (own > 1).astype(float))).labels[0].modalities[0]
    )
    first, second = found.readers
    assert first.minus is not None
    assert second.minus is not None
    assert (first.minus.value.value, first.minus.p) == (0, 1)
    expected = jackknife_aurocs(labels, scores[:, 0], np.arange(100))
    assert second.minus.value.value == expected.aurocs[0] - expected.aurocs[1]
    variance = expected.covariance @ [1, -1] @ [1, -1]
    assert second.minus.standard_error == pytest.approx(math.sqrt(variance))


def test_a_model_stands_in_for_the_reader_left_out() -> None:
    panel = np.array([[1, 1, 1], [0, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 1, 1]], dtype=float)
    right = np.array([1, 0, 1, 0, 1, 0], dtype=float)
    found = panel_agreement(panel, right, np.arange(6).astype(str), ("a", "b", "c"), replicates=50)
    # against b and c, who are evenly divided on two images, a says 1, 0, 1, 0 of the other four and they 1, 0, 0, 1
    assert found.images == 2  # for b: a and c agree on two
    assert found.readers["a"].value == 0
    assert found.model is not None
    assert found.model["a"].value == 0
    copied = panel_agreement(panel, None, np.arange(6).astype(str), ("a", "b", "c"), replicates=50)
    assert copied.model is None
    assert copied.readers["a"].value == 0


def test_one_reader_speaks_for_himself() -> None:
    rng = np.random.default_rng(5)
    labels = (np.arange(80) % 2).astype(float)
    one = scores_of(rng, labels, (1.5,), np.arange(80))
    results = evaluate_readers(readings(labels, np.concatenate([one, rng.normal(size=one.shape)], axis=1)))
    said = sentences(results)[0]
    assert "cannot be compared for readers like these" in said
    assert "For r0 alone the difference is ." in said
    assert results.reference == "made up"  # the table has the labels
