"""The audit of a dataset, alone or with others: from images to issues and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.audit import checks
from zoo.data.audit.images import AuditImages
from zoo.data.audit.near import CORRELATION, THRESHOLD, Pairs, confirmed


@dataclass(frozen=True)
class Audit:
    """What an audit found. `images` has the images of all datasets, the audited one first; `issues` has a row per issue.

    `pairs` are the confirmed near-duplicates, including identical images, as rows of `images`; `proposed` is the number of
    pairs that the hashes proposed (None: not searched).
    """

    images: pd.DataFrame
    issues: pd.DataFrame
    pairs: Pairs
    proposed: int | None
    threshold: int
    correlation: float
    known: tuple[str, ...]  # datasets whose patients are known
    drawn: frozenset[str]  # datasets whose validation or test is still to be drawn

    @property
    def name(self) -> str:
        return str(self.images["dataset"].iloc[0])

    @property
    def leaks(self) -> int:
        return int((self.issues["weight"] == checks.LEAK).sum())

    @property
    def clean(self) -> bool:
        return self.leaks == 0

    @property
    def patients_known(self) -> bool:
        """Whether leaks by patient can be checked in the audited dataset."""
        return self.name in self.known

    def count_issues(self) -> dict[str, int]:
        """Issues of each kind, in the order they are shown."""
        return {str(kind): int(count) for kind, count in self.issues["kind"].value_counts(sort=False).items()}

    def summary(self) -> dict[str, Any]:
        """Counts as plain values, for JSON; `clean` is None where no leak was found and the patients are not known."""
        sides = {}
        for name, own in self.images.groupby("dataset", sort=False):
            parts = {
                str(split or "no split"): {"images": len(each), "patients": self._patients(str(name), each)}
                for split, each in own.groupby("split", sort=True)
            }
            looked = int((own["digest"] != "").sum())
            patients = self._patients(str(name), own)
            sides[str(name)] = {"images": len(own), "looked_at": looked, "patients": patients, "splits": parts}
        return {
            "datasets": sides,
            "issues": self.count_issues(),
            "leaks": self.leaks,
            "clean": None if self.clean and not self.patients_known else self.clean,
            "patients_known": self.patients_known,
            "near_duplicates": None
            if self.proposed is None
            else {
                "threshold_bits": self.threshold,
                "least_correlation": self.correlation,
                "proposed_by_hash": self.proposed,
                "confirmed_by_pixels": len(self.pairs),
            },
        }

    def _patients(self, name: str, images: pd.DataFrame) -> int | None:
        return int(images["patient"].nunique()) if name in self.known else None


def audit(
    datasets: Sequence[AuditImages],
    *,
    near: bool = True,
    threshold: int = THRESHOLD,
    correlation: float = CORRELATION,
) -> Audit:
    """Audit the first dataset, and what the others share with it.

    Args:
        datasets: with distinct names.
        near: whether to search near-duplicates.
        threshold: bits, of 256, in which their hashes may differ.
        correlation: least correlation of their pixels.
    """
    images = pd.concat([each.table for each in datasets], ignore_index=True)
    pairs = Pairs(np.empty(0, int), np.empty(0, int), np.empty(0, int), np.empty(0))
    proposed: int | None = None
    if near and any(each.pixels.looked for each in datasets):
        hashes = np.concatenate([each.hashes for each in datasets])
        rows = np.flatnonzero((images["digest"] != "").to_numpy())
        pairs, proposed = confirmed(hashes, _Pixels(datasets), rows, threshold, correlation)
    known = tuple(each.name for each in datasets if each.patients_known)
    drawn = frozenset(each.name for each in datasets if not {"val", "test"} <= set(each.table["split"]))
    first = datasets[0]
    found = _find(images, pairs, known, drawn)
    found += checks.faults_of(first.name, first.listing.faults, first.table)
    return Audit(images, checks.issue_table(found), pairs, proposed, threshold, correlation, known, drawn)


def _find(images: pd.DataFrame, pairs: Pairs, known: Sequence[str], drawn: frozenset[str]) -> list[checks.Issue]:
    of_patients = images[images["dataset"].isin(known)]
    name = images["dataset"].iloc[0]
    found = [
        *checks.shared_patients(of_patients),
        *checks.identical(images),
        *checks.near_duplicates(images, pairs, set(drawn)),
        *checks.contradictory(of_patients),
        *checks.unreadable(images),
    ]
    return [
        each for each in found if name in (each.dataset, each.other_dataset)
    ]  # issues of the others alone do not count


def again(found: Audit, kept: np.ndarray) -> pd.DataFrame:
    """The leaks and risks that remain among the images `kept` (a mask over `found.images`), as issues."""
    place = np.cumsum(kept) - 1
    pairs = found.pairs.take(kept[found.pairs.first] & kept[found.pairs.second])
    pairs = Pairs(place[pairs.first], place[pairs.second], pairs.distance, pairs.correlation)
    images = found.images[kept].reset_index(drop=True)
    left = checks.issue_table(_find(images, pairs, found.known, found.drawn))
    return left[left["weight"] != checks.FAULT].reset_index(drop=True)


class _Pixels:
    """The prepared pixels of all datasets by row of the joint table."""

    def __init__(self, datasets: Sequence[AuditImages]) -> None:
        self.pixels = [each.pixels for each in datasets]
        self.starts = np.cumsum([0, *(len(each.table) for each in datasets)])

    def __call__(self, row: int) -> np.ndarray:
        which = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.pixels[which][row - int(self.starts[which])]
