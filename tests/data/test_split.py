"""Splits: no patient on two sides, every split its share, the same draw for the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zoo.core.errors import DataError
from zoo.data.split import assign, check_leaks, grouped_split, join_groups, limit_images


def cohort(patients: int, seed: int, prevalence: tuple[float, ...] = (0.3, 0.05)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    sick = rng.random((patients, len(prevalence))) < prevalence  # disease belongs to the patient
    return groups, sick[groups].astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(patients=st.integers(10, 200), seed=st.integers(0, 10**6))
def test_no_patient_is_separated_and_every_image_has_a_split(patients: int, seed: int) -> None:
    groups, labels = cohort(patients, seed)
    split = grouped_split(groups, labels, {"val": 0.2, "test": 0.3}, seed)
    assert pd.Series(split).groupby(groups).nunique().max() == 1
    assert set(split) <= {"train", "val", "test"}


def test_each_split_holds_its_share_of_images_and_of_every_label() -> None:
    groups, labels = cohort(2000, 1)
    split = grouped_split(groups, labels, {"val": 0.1, "test": 0.2}, 0)
    for name, share in (("val", 0.1), ("test", 0.2), ("train", 0.7)):
        inside = split == name
        assert inside.mean() == pytest.approx(share, abs=0.01)
        for k in range(labels.shape[1]):
            held = labels[inside, k].sum() / labels[:, k].sum()
            assert held == pytest.approx(share, abs=0.02)


@settings(max_examples=25, deadline=None)
@given(patients=st.integers(400, 900), seed=st.integers(0, 10**6), val=st.sampled_from([0.1, 0.2]))
def test_patients_with_many_images_are_shared_out_like_those_with_one(patients: int, seed: int, val: float) -> None:
    """As in hospitals: most have one image, some have dozens, and the sick have more."""
    rng = np.random.default_rng(seed)
    sick = rng.random((patients, 2)) < (0.4, 0.1)
    sizes = np.minimum(rng.geometric(np.where(sick.any(axis=1), 0.2, 0.6)), 40)
    groups = np.repeat(np.arange(patients), sizes)
    labels = (sick[groups] & (rng.random((len(groups), 2)) < 0.8)).astype(np.float32)
    split = grouped_split(groups, labels, {"val": val, "test": 0.2}, seed)
    images = pd.DataFrame({"split": split, "patient": groups}).groupby("split")["patient"].agg(["size", "nunique"])
    mean = images["size"] / images["nunique"]
    assert mean.to_numpy() == pytest.approx(len(groups) / patients, rel=0.15)
    for name, share in (("val", val), ("test", 0.2)):
        assert (split == name).mean() == pytest.approx(share, abs=0.02)
        assert labels[split == name, 0].sum() == pytest.approx(share * labels[:, 0].sum(), rel=0.1, abs=3)


def test_a_rare_label_reaches_every_split_where_a_plain_draw_would_miss_one() -> None:
    groups, labels = np.arange(300), np.zeros((300, 2), np.float32)
    labels[:10, 1] = 1
    for seed in range(20):
        split = grouped_split(groups, labels, {"val": 0.1, "test": 0.2}, seed)
        assert {"val", "test", "train"} <= set(split[labels[:, 1] == 1])


@settings(max_examples=60, deadline=None)
@given(patients=st.integers(6, 40), seed=st.integers(0, 10**6), prevalence=st.sampled_from([0.1, 0.3, 0.9]))
def test_of_few_patients_every_split_has_both_classes_where_there_are_enough(
    patients: int, seed: int, prevalence: float
) -> None:
    groups, labels = cohort(patients, seed, (prevalence,))
    split = grouped_split(groups, labels, {"val": 0.1, "test": 0.2}, seed)
    assert pd.Series(split).groupby(groups).nunique().max() == 1
    holders = [len(np.unique(groups[labels[:, 0] == value])) for value in (0, 1)]
    for value, number in enumerate(holders):
        without = {name for name in ("val", "test", "train") if not (labels[split == name, 0] == value).any()}
        assert not without or number < 3


def test_the_draw_follows_the_seed() -> None:
    groups, labels = cohort(100, 3)
    draw = [grouped_split(groups, labels, {"test": 0.3}, seed).tolist() for seed in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]


def test_unknown_labels_do_not_disturb_the_draw() -> None:
    groups, labels = cohort(200, 4)
    labels[::3] = np.nan
    split = grouped_split(groups, labels, {"val": 0.2}, 0)
    assert (split == "val").mean() == pytest.approx(0.2, abs=0.03)


def test_published_lists_are_kept_and_only_validation_is_drawn() -> None:
    groups, labels = cohort(300, 5)
    published = np.where(groups < 60, "test", "train_val").astype(object)
    split = assign(published, groups, labels, seed=0, val_fraction=0.1)
    assert ((split == "test") == (published == "test")).all()
    assert (split == "val").sum() == pytest.approx(0.1 * (published == "train_val").sum(), rel=0.15)


def test_fractions_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match="leave something to train on"):
        grouped_split(np.arange(4), np.zeros((4, 1)), {"val": 0.5, "test": 0.5}, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 25)), min_size=1, max_size=40))
def test_patients_that_share_an_image_are_joined_as_connected_components(pairs: list[tuple[int, int]]) -> None:
    patients, images = (np.array(column) for column in zip(*pairs, strict=True))
    nodes = coo_array((np.ones(len(pairs)), (patients, images + 13)), shape=(39, 39))
    _, component = connected_components(nodes, directed=False)
    joined = join_groups(patients.astype(str), images.astype(str))
    expected = component[patients]
    assert ((joined[:, None] == joined) == (expected[:, None] == expected)).all()


def test_a_patient_on_two_sides_is_an_error_that_names_them() -> None:
    table = pd.DataFrame({"patient": ["a", "b", "b"], "image": ["1", "2", "3"]})
    with pytest.raises(DataError, match="patient b in test and train"):
        check_leaks(np.array(["train", "train", "test"], dtype=object), table, np.array(["x", "y", "z"]))


def test_identical_images_across_splits_mark_the_earlier_copy() -> None:
    table = pd.DataFrame({"patient": list("abcd"), "image": list("1234")})
    split = np.array(["train", "val", "test", "train"], dtype=object)
    copies = check_leaks(split, table, np.array(["same", "same", "same", "other"]))
    assert copies.tolist() == [True, True, False, False]


def test_limit_takes_whole_patients_and_keeps_the_shares_of_the_published_splits() -> None:
    groups, _ = cohort(400, 6)
    table = pd.DataFrame({"patient": groups.astype(str), "split": np.where(groups < 100, "test", "train_val")})
    rows = limit_images(table, 200, 0)
    taken = table.iloc[rows]
    assert 190 <= len(rows) <= 215
    assert (table[table["patient"].isin(taken["patient"])].index == rows).all()
    assert (taken["split"] == "test").mean() == pytest.approx((table["split"] == "test").mean(), abs=0.05)
    assert (limit_images(table, 10**6, 0) == np.arange(len(table))).all()
