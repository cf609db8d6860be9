"""Who is missed and who is alarmed more often than others: gaps in under- and over-diagnosis between groups of patients.

Seyyed-Kalantari et al., "Underdiagnosis bias of artificial intelligence algorithms applied to chest radiographs in
under-served patient populations", Nature Medicine 27 (2021). Equal opportunity (Hardt, Price & Srebro 2016) holds where no
group has a gap in under-diagnosis.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

import zoo.evaluation.metrics as metrics
from zoo.core.tasks import means_normal
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.influence import Influence, image_means, mean
from zoo.evaluation.interval import Interval, difference, intervals, spread_interval
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable
from zoo.evaluation.subgroups import FEW_IMAGES, MACRO, UNKNOWN, group_names

CROSSED = ("sex", "age")
PATIENTS = ("sex", "age", "race")  # columns of patients, not of images: what fairness is about


@dataclass(frozen=True)
class Rate:
    """How often it happens in a group, and that minus how often among all other images.

    `clear`: the difference is not chance, corrected by Holm's method for all that were `examined`: those with at least 10
    images, of 10 patients, that it can happen to in the group and among the others.
    """

    value: Interval
    gap: Interval
    examined: bool
    clear: bool


@dataclass(frozen=True)
class Fairness(Serialisable):
    """One group, a value of `column` or an intersection such as "sex × age", and one label or the mean over labels ("macro").

    `under_diagnosis` is the false-negative rate of a finding and the false-positive rate of a healthy label (`means_normal`),
    `over_diagnosis` the other one; macro is over findings only. `images` have the label known, for macro any
    finding, and `patients` are theirs.
    """

    column: str
    group: str
    label: str
    images: int
    patients: int
    under_diagnosis: Rate
    over_diagnosis: Rate


@dataclass(frozen=True, eq=False)
class _Pair:
    """One rate of being right, "sensitivity" or "specificity", in a group and among all others, of one label or a mean."""

    right: str
    own: Influence
    rest: Influence
    averaged: bool

    def rates(self, level: float) -> tuple[Interval, Interval]:
        """How often it is wrong in the group, and that minus the others'."""
        own, rest = (self._wrong(each, level) for each in (self.own, self.rest))
        return own, difference(own, rest)

    def _wrong(self, found: Influence, level: float) -> Interval:
        if self.averaged:
            right = spread_interval(self.right, found, 0, level)
        else:
            right = intervals({self.right: found}, level)[self.right][0]
        return Interval(1 - right.value, 1 - right.high, 1 - right.low)

    @property
    def enough(self) -> bool:
        sides = (self.own, self.rest)
        return all(each.images[0] >= FEW_IMAGES and each.patients[0] >= FEW_IMAGES for each in sides)


def fairness(
    predictions: Predictions, thresholds: Mapping[str, float], columns: Sequence[str] | None = None, level: float = 0.95
) -> tuple[Fairness, ...]:
    """Measure the groups of patients: column by column, group by group, first the mean over labels where there are several.

    Intervals are by patient (see `interval.intervals`); those of gaps are put together from both sides (MOVER), which takes
    their patients as different: where a patient is on both they are too wide.

    Args:
        predictions: the images of one split, which have been checked.
        thresholds: a probability per label; a multiclass task takes the most probable class.
        columns: of the predictions table; without them sex, age and race as far as they are known, and sex × age.
        level: of the intervals, in (0, 1); 1 − level is the error rate over all gaps together.
    """
    positive = metrics.decisions(predictions.task, predictions.logits, thresholds)
    known = ~np.isnan(predictions.labels)
    has = predictions.labels > 0.5
    # sensitivity of every label, then specificity
    right = np.concatenate([np.where(has, positive, np.nan), np.where(known & ~has, ~positive, np.nan)], axis=1)
    codes, number = patient_codes(predictions.table["patient"])
    found: list[tuple[Fairness, tuple[_Pair, _Pair], list[str]]] = []
    for column, values in _groups(predictions.table, columns).items():
        present = sorted(set(values))
        named = [name for name in present if name != UNKNOWN and len(present) > 1]
        for group in named:
            inside = values == group
            own, rest = (image_means(right[mask], codes[mask], number) for mask in (inside, ~inside))
            for label, members in _labels(predictions.task.labels):
                pairs = _pairs(own, rest, members, predictions.task.labels)
                some = known[:, members].any(axis=1) & inside
                counts = int(some.sum()), len(np.unique(codes[some]))
                rates = (Rate(*pair.rates(level), examined=False, clear=False) for pair in pairs)
                found.append((Fairness(column, group, label, *counts, *rates), pairs, named))
    return _tested(found, 1 - level)


def _groups(table: pd.DataFrame, columns: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The group of each image, by column: those asked for, or those of patients and the intersection of sex and age."""
    wanted = columns if columns is not None else [c for c in PATIENTS if c in table and table[c].notna().any()]
    names = {column: group_names(table[column], column) for column in wanted}
    if columns is None and set(CROSSED) <= set(names):
        first, second = (names[column] for column in CROSSED)
        unknown = (first == UNKNOWN) | (second == UNKNOWN)
        crossed = np.array([f"{a} {b}" for a, b in zip(first, second, strict=True)], dtype=object)
        names[" × ".join(CROSSED)] = np.where(unknown, UNKNOWN, crossed)
    return names


def _labels(labels: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Each label with its place, and the mean over the findings first where there are several."""
    single = [(label, [k]) for k, label in enumerate(labels)]
    findings = [k for k, label in enumerate(labels) if not means_normal(label)]
    return [(MACRO, findings), *single] if len(findings) > 1 else single


def _pairs(own: Influence, rest: Influence, members: Sequence[int], labels: Sequence[str]) -> tuple[_Pair, _Pair]:
    """Under- and over-diagnosis of a label, or of the mean over several findings."""
    made = []
    for name, offset in (("sensitivity", 0), ("specificity", len(labels))):
        sides = [each.of([offset + k for k in members]) for each in (own, rest)]
        if len(members) > 1:
            # over the same labels on both sides
            both = ~np.isnan(sides[0].value) & ~np.isnan(sides[1].value)
            sides = [mean(each, both.astype(float)) for each in sides]
        made.append(_Pair(name, sides[0], sides[1], averaged=len(members) > 1))
    return (made[1], made[0]) if len(members) == 1 and means_normal(labels[members[0]]) else (made[0], made[1])


def _tested(found: Sequence[tuple[Fairness, tuple[_Pair, _Pair], list[str]]], alpha: float) -> tuple[Fairness, ...]:
    """Mark what was examined and what is clear: the interval excludes 0 at Holm's level for all that is left to examine.

    Of two groups, which have one gap between them, the one at a disadvantage is examined, of two alike the first.
    """
    kinds = ("under_diagnosis", "over_diagnosis")
    left = {
        (row, kind): pair
        for row, (each, pairs, named) in enumerate(found)
        for kind, pair in zip(kinds, pairs, strict=True)
        if pair.enough
        and not np.isnan((gap := getattr(each, kind).gap).low)
        and (len(named) != 2 or gap.value > 0 or (gap.value == 0 and each.group == named[0]))
    }
    examined, clear = set(left), set()
    while left:
        level = 1 - alpha / len(left)
        gaps = {place: pair.rates(level)[1] for place, pair in left.items()}
        now = {place for place, gap in gaps.items() if gap.low > 0 or gap.high < 0}
        if not now:
            break
        clear |= now
        left = {place: pair for place, pair in left.items() if place not in now}
    return tuple(
        dataclasses.replace(
            each,
            **{
                kind: dataclasses.replace(
                    getattr(each, kind), examined=(row, kind) in examined, clear=(row, kind) in clear
                )
                for kind in kinds
            },
        )
        for row, (each, _, _) in enumerate(found)
    )
