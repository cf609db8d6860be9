"""Splits that never separate a patient: the published lists if there are any, else a seeded stratification by patient."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from zoo.core.errors import DataError
from zoo.core.records import SPLITS

# share of images; a published test list leaves only the validation share to draw
VAL_FRACTION, TEST_FRACTION = 0.1, 0.2


def assign(
    published: np.ndarray | None,
    groups: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    val_fraction: float = VAL_FRACTION,
    test_fraction: float = TEST_FRACTION,
) -> np.ndarray:
    """Give every image a split.

    Args:
        published: "train", "val", "test" or "train_val" per image, or None. What the lists leave open is drawn by patient
            from the training images: validation, and test if no list names it.
        groups: `(N,)` patient per image; images of one group stay together.
        labels: `(N, K)` 1, 0 or NaN, to stratify by.
        seed: of the random draw.

    Returns:
        `(N,)` array of "train", "val" and "test".

    Raises:
        DataError: the lists leave nothing to train on.
    """
    split = np.full(len(groups), "train", dtype=object)
    if published is not None:
        split[:] = np.where(published == "train_val", "train", published)
    missing = {
        name: fraction
        for name, fraction in (("val", val_fraction), ("test", test_fraction))
        if not (split == name).any() and fraction > 0
    }
    if missing:
        pool = np.flatnonzero(split == "train")
        if not len(pool):
            raise DataError(
                "the published split leaves no image to train on: every usable image is in validation or test."
            )
        split[pool] = grouped_split(groups[pool], labels[pool], missing, seed)
    return split


def grouped_split(groups: np.ndarray, labels: np.ndarray, fractions: Mapping[str, float], seed: int) -> np.ndarray:
    """Draw splits by group so that each holds its share of the images, of the patients and of every label's positives.

    Greedy iterative stratification (Sechidis et al., ECML 2011) over patients instead of images: patients with the rarest
    label first, large ones before small ones. Each goes to the split where the chi-square distance between what the splits
    have and should have becomes smallest, over labels, images and patients. Patients count too: otherwise a split could
    fill its share of images with patients of one image each. What `fractions` leaves is "train". Of few patients with a
    single label a split may come out with one class alone, on which nothing can be measured: it then gets the smallest training
    patient of the other, as long as training keeps one.
    """
    names = [*fractions, "train"]
    shares = np.array([*fractions.values(), 1 - sum(fractions.values())])
    if (shares <= 0).any():
        raise ValueError(f"split fractions must be positive and leave something to train on: {dict(fractions)}")
    _, group = np.unique(groups, return_inverse=True)
    columns = np.concatenate([labels == 1, labels[:, :1] == 0, np.ones((len(labels), 1), bool)], axis=1).astype(float)
    counts = np.zeros((group.max() + 1, columns.shape[1]))
    np.add.at(counts, group, columns)
    counts = np.append(counts, np.ones((len(counts), 1)), axis=1)  # the patients themselves
    totals = counts.sum(axis=0)
    rarity = np.argsort(np.where(totals > 0, totals, np.inf)[:-1], kind="stable")
    rank = np.argmax(counts[:, rarity] > 0, axis=1)  # position of each group's rarest label
    order = np.random.default_rng(seed).permutation(len(counts))
    # within a label the large groups first: a late large one could overshoot its split
    order = order[np.lexsort((-counts[order, -2], rank[order]))]
    due = shares[:, None] * np.maximum(totals, 1)
    need = shares[:, None] * totals
    chosen = np.empty(len(counts), dtype=int)
    for index in order:
        # half of what the distance falls by: for a label c (need - c/2) / due; a split takes what at least half fits into it
        gain = ((need - counts[index] / 2) / due) @ counts[index]
        best = len(names) - 1 - int(np.argmax(np.round(gain[::-1], 12)))  # of equals the last: training
        chosen[index] = best
        need[best] -= counts[index]
    if labels.shape[1] == 1:
        _complete(chosen, counts, order, len(names) - 1)
    return np.array(names, dtype=object)[chosen[group]]


def _complete(chosen: np.ndarray, counts: np.ndarray, order: np.ndarray, train: int) -> None:
    """Give each drawn split a patient of either class, from training; `counts` begin with positives and negatives."""
    for split in range(train):
        for has in (counts[:, 0] > 0, counts[:, 1] > 0):
            spare = order[has[order] & (chosen[order] == train)]
            if not (has & (chosen == split)).any() and len(spare) > 1:
                chosen[spare[np.argmin(counts[spare, -2])]] = split


def limit_images(table: pd.DataFrame, limit: int, seed: int) -> np.ndarray:
    """Choose about `limit` rows, whole patients only, with each published split keeping its share; returns sorted row numbers."""
    if limit >= len(table):
        return np.arange(len(table))
    rng = np.random.default_rng(seed)
    published = table["split"].astype(str) if "split" in table else pd.Series("all", index=table.index)
    rows: list[np.ndarray] = []
    for _, part in table.reset_index(drop=True).groupby(published.to_numpy(), sort=True):
        wanted = max(1, round(limit * len(part) / len(table)))
        by_patient = list(part.groupby("patient", sort=True).indices.values())
        taken = 0
        for index in rng.permutation(len(by_patient)):
            if taken >= wanted:
                break
            rows.append(part.index.to_numpy()[by_patient[index]])
            taken += len(by_patient[index])
    return np.sort(np.concatenate(rows))


def join_groups(patients: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """Merge patients that share an identical image, so that no split separates the copies; `(N,)` group numbers."""
    _, group = np.unique(patients, return_inverse=True)
    _, first, image = np.unique(digests, return_index=True, return_inverse=True)
    parent = np.arange(group.max() + 1)

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for index in np.flatnonzero(group != group[first[image]]):
        parent[root(group[index])] = root(group[first[image[index]]])
    return np.array([root(g) for g in range(len(parent))])[group]


def check_leaks(split: np.ndarray, table: pd.DataFrame, digests: np.ndarray) -> np.ndarray:
    """Find images that are in two splits; patients in two splits are refused.

    Returns:
        A mask of the training and validation images that are also in a later split.

    Raises:
        DataError: a patient is in two splits; names the patient and the splits.
    """
    patients = pd.DataFrame({"patient": table["patient"].to_numpy(), "split": split})
    sides = patients.groupby("patient")["split"].nunique()
    if (sides > 1).any():
        patient = str(sides.index[sides > 1][0])
        where = " and ".join(sorted(set(patients.loc[patients["patient"] == patient, "split"])))
        raise DataError(
            f"{int((sides > 1).sum()):,} patient(s) are in more than one split, for example patient {patient} in "
            f"{where}: results on such a split would be too good. Correct the lists, or leave the split column out to "
            "have one drawn by patient."
        )
    rank = pd.Series(split).map({name: i for i, name in enumerate(SPLITS)}).to_numpy()
    latest = pd.Series(rank).groupby(digests).transform("max").to_numpy()
    return latest > rank
