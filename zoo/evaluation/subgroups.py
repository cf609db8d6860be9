"""Performance on groups of images: by sex, age band, view, or any other column of the predictions table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

import zoo.evaluation.metrics as metrics
from zoo.core.errors import UsageError, unknown
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.influence import Influence, image_means, mean, ranked
from zoo.evaluation.interval import (
    UNDEFINED,
    Interval,
    difference,
    interval_p,
    intervals,
    spread_interval,
    without_bounds,
)
from zoo.evaluation.p_values import ALPHA, holm
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

DEFAULT_COLUMNS = ("sex", "age", "view")
AGES = (("0-17", 0.0), ("18-39", 18.0), ("40-59", 40.0), ("60-79", 60.0), ("80+", 80.0))  # name, youngest in years
UNKNOWN = "unknown"
MACRO = "macro"
FEW_IMAGES = 10  # of a class: with fewer, a group's numbers are marked as small
FEW_PATIENTS = 20
MOST_VALUES = 8  # of a number column that are groups each; with more, quartiles
MOST_GROUPS = 30  # of a text column


@dataclass(frozen=True)
class Group(Serialisable):
    """One group of images and one label, or the mean over the labels ("macro").

    `images` counts the group's images with the label known, `patients` theirs. For macro, images are those with any label
    known, positives and negatives the sums over the labels, and the metrics means over the labels where they are
    defined. A gap is this group minus all other images (`auroc_gap` below 0 and `fnr_gap` above 0 are to the group's
    disadvantage); for macro it is the mean of the labels' gaps. Its interval is put together from both sides (`difference`), which
    takes their patients as different: where a patient is on both it is too wide. `auroc_gap_p` and `fnr_gap_p` are the p of no
    gap, from the same intervals. `small`: fewer than 10 positive or negative images, or fewer than 20
    patients; its gaps have no interval and no p.
    """

    column: str
    name: str
    label: str
    images: int
    patients: int
    positives: int
    negatives: int
    auroc: Interval
    sensitivity: Interval
    false_negative_rate: Interval
    auroc_gap: Interval
    auroc_gap_p: float
    fnr_gap: Interval
    fnr_gap_p: float
    small: bool


@dataclass(frozen=True)
class Gap:
    """A group's clear difference to all other images, with its own interval; see `clear_gaps`."""

    column: str
    name: str
    label: str
    metric: Literal["auroc", "false_negative_rate"]
    difference: Interval


@dataclass(frozen=True)
class Gaps:
    """The clear gaps, means over labels first, then by size, and the number of gaps that were examined for them."""

    clear: tuple[Gap, ...] = ()
    examined: int = 0


@dataclass(frozen=True, eq=False)
class _Measures:
    """AUROC and sensitivity of one set of images, of each label."""

    auroc: Influence
    sensitivity: Influence

    def interval(self, metric: str, members: Sequence[int], level: float) -> Interval:
        """Of one label, or of the mean over several."""
        found: Influence = getattr(self, metric).of(members)
        if len(members) > 1:
            return spread_interval(metric, mean(found), 0, level)
        return intervals({metric: found}, level)[metric][0]


def subgroups(
    predictions: Predictions,
    thresholds: Mapping[str, float],
    columns: Sequence[str] | None = None,
    *,
    level: float = 0.95,
) -> tuple[Group, ...]:
    """Measure every group of images beside all the others.

    Text is grouped by value, age (years) by the bands 0-17, 18-39, 40-59, 60-79 and 80+, another number with more than 8
    distinct values by quartiles. Images without a value form the group "unknown". A column with one group has no gap.

    Args:
        predictions: the images of one split.
        thresholds: a probability per label; a multiclass task takes the most probable class.
        columns: of the predictions table; without them those of `DEFAULT_COLUMNS` that it has.
        level: of the intervals, in (0, 1).

    Returns:
        Column by column and group by group: a row per label, and first "macro" where there are several labels.

    Raises:
        UsageError: the table has no such column, or one with so many values that they are no groups.
        DataError: there are no images, a logit is not finite, or an image is named twice.
    """
    predictions.check("predictions")
    if columns is None:
        columns = [c for c in DEFAULT_COLUMNS if c in predictions.table.columns]
    names = {column: _groups_of(predictions.table, column) for column in columns}
    masks = {(column, group): names[column] == group for column in names for group in pd.unique(names[column])}
    measured = _measure(predictions, thresholds, list(masks.values()))
    rows: list[Group] = []
    for column, values in names.items():
        for group in _ordered(values, column):
            mask = masks[column, group]
            rows += _rows(predictions, column, group, mask, measured, level)
    return tuple(rows)


def group_names(values: pd.Series, column: str) -> np.ndarray:
    """Name the group of each image, text `(N,)`, by the rules of `subgroups`; a missing value is "unknown"."""
    text = values.astype(str).str.strip()
    missing = values.isna() | (text == "")
    is_age = column.lower() == "age"
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    numbers = pd.to_numeric(values.mask(missing), errors="coerce") if numeric or is_age else None
    if numbers is None or (numbers.isna() & ~missing).any():
        return text.mask(missing, UNKNOWN).to_numpy(dtype=object)
    array = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if is_age:
        return _bands(array)
    return _quartiles(array) if len(np.unique(array[np.isfinite(array)])) > MOST_VALUES else _each(array)


def _groups_of(table: pd.DataFrame, column: str) -> np.ndarray:
    valid = [c for c in table.columns if c not in ("image", "patient")]
    if column not in valid:
        raise unknown("column of the predictions", column, valid)
    names = group_names(table[column], column)
    number = len(pd.unique(names))
    if number > MOST_GROUPS:
        raise UsageError(
            f"the column '{column}' has {number} different values, such as '{names[0]}': with more than {MOST_GROUPS} "
            "they are no groups to compare. Choose a column with fewer."
        )
    return names


def _bands(years: np.ndarray) -> np.ndarray:
    known = np.isfinite(years) & (years >= 0)
    lowest = np.array([low for _, low in AGES])
    band = np.searchsorted(lowest, np.where(known, years, 0.0), side="right") - 1
    return np.where(known, np.array([name for name, _ in AGES], dtype=object)[band], UNKNOWN)


def _quartiles(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    edges = np.unique(np.quantile(values[known], (0.25, 0.5, 0.75)))
    part = np.where(known, np.searchsorted(edges, np.where(known, values, 0.0), side="left"), -1)
    ends = {p: (values[part == p].min(), values[part == p].max()) for p in np.unique(part[known])}
    named = {-1: UNKNOWN}
    for digits in (4, 9, 17):  # as few as distinguish the ends
        text = {p: tuple(_number(v, digits) for v in pair) for p, pair in ends.items()}
        named |= {p: low if low == high else f"{low} to {high}" for p, (low, high) in text.items()}
        if len({t for pair in text.values() for t in pair}) == len({v for pair in ends.values() for v in pair}):
            break
    return np.array([named[p] for p in part.tolist()], dtype=object)


def _each(values: np.ndarray) -> np.ndarray:
    return np.array([_number(v, 17) if np.isfinite(v) else UNKNOWN for v in values.tolist()], dtype=object)


def _number(value: float, digits: int) -> str:
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value)) if digits >= 17 else f"{value:.{digits}g}"


def _ordered(names: np.ndarray, column: str) -> list[str]:
    """The groups that there are: from low to high or by name, the unknown last."""

    def place(name: str) -> tuple[bool, float, str]:
        start = dict(AGES).get(name) if column.lower() == "age" else None
        try:
            return name == UNKNOWN, float(name.split(" to ")[0]) if start is None else start, name
        except ValueError:
            return name == UNKNOWN, np.inf, name

    return sorted(pd.unique(names), key=place)


def _measure(
    predictions: Predictions, thresholds: Mapping[str, float], masks: list[np.ndarray]
) -> dict[bytes, _Measures]:
    """Measure the images of every mask and of its complement."""
    positive = metrics.decisions(predictions.task, predictions.logits, thresholds)
    codes, number = patient_codes(predictions.table["patient"])
    scores = predictions.scores
    measured = {}
    for mask in (each for one in masks for each in (one, ~one) if each.any()):
        if mask.tobytes() not in measured:
            labels = np.where(mask[:, None], predictions.labels, np.nan)
            found = np.where(labels > 0.5, positive.astype(np.float64), np.nan)  # whether each positive image is found
            sensitivity = image_means(found, codes, number)
            measured[mask.tobytes()] = _Measures(ranked("auroc", labels, scores, codes, number), sensitivity)
    return measured


def _rows(
    predictions: Predictions,
    column: str,
    name: str,
    mask: np.ndarray,
    measured: Mapping[bytes, _Measures],
    level: float,
) -> list[Group]:
    own, rest = measured[mask.tobytes()], measured.get((~mask).tobytes())
    labels, task = predictions.labels[mask], predictions.task
    patients = predictions.table["patient"][mask].reset_index(drop=True)
    sets: list[tuple[str, list[int]]] = [(label, [k]) for k, label in enumerate(task.labels)]
    if task.outputs > 1:
        sets.insert(0, (MACRO, list(range(task.outputs))))
    rows = []
    for label, members in sets:
        known = ~np.isnan(labels[:, members])
        some = known.any(axis=1)
        images, people = int(some.sum()), patient_codes(patients[some])[1]
        positives = int((labels[:, members] > 0.5).sum())
        negatives = int(known.sum()) - positives
        auroc, sensitivity = (own.interval(metric, members, level) for metric in ("auroc", "sensitivity"))
        auroc_gap, auroc_gap_p = _gap("auroc", own, rest, members, level)
        sensitivity_gap, fnr_gap_p = _gap("sensitivity", own, rest, members, level)
        small = min(positives, negatives) < FEW_IMAGES or people < FEW_PATIENTS
        counts = (images, people, positives, negatives)
        missed, fnr_gap = _turned(sensitivity, 1.0), _turned(sensitivity_gap, 0.0)
        gaps = (auroc_gap, auroc_gap_p, fnr_gap, fnr_gap_p)
        if small:  # too few to say
            gaps = (without_bounds(auroc_gap), math.nan, without_bounds(fnr_gap), math.nan)
        rows.append(Group(column, name, label, *counts, auroc, sensitivity, missed, *gaps, small))
    return rows


def _gap(
    metric: str, own: _Measures, rest: _Measures | None, members: Sequence[int], level: float
) -> tuple[Interval, float]:
    """This group minus all other images, over the labels where both are defined, and the p of there being no difference."""
    if rest is None:
        return UNDEFINED, math.nan
    sides = [getattr(each, metric).value for each in (own, rest)]
    both = [k for k in members if not (np.isnan(sides[0][k]) or np.isnan(sides[1][k]))]
    if not both:
        return UNDEFINED, math.nan

    def gap(level: float) -> Interval:
        one, two = (each.interval(metric, both, level) for each in (own, rest))
        return difference(one, two)

    return gap(level), interval_p(gap)


def _turned(found: Interval, top: float) -> Interval:
    """`top` minus a value."""
    return Interval(top - found.value, top - found.high, top - found.low)


def clear_gaps(groups: Sequence[Group]) -> Gaps:
    """The gaps of groups of `subgroups` that are significant after Holm's correction for all that were examined.

    A gap is examined where neither the group nor the rest is small. Of two groups, which have one gap between them, the one
    at a disadvantage is named.
    """
    examined: list[tuple[Gap, float]] = []
    for group in groups:
        rest = [g for g in groups if (g.column, g.label) == (group.column, group.label) and g.name != group.name]
        if group.small or not rest or _few(rest):
            continue
        gaps: tuple[tuple[Literal["auroc", "false_negative_rate"], Interval, float, int], ...] = (
            ("auroc", group.auroc_gap, group.auroc_gap_p, -1),
            ("false_negative_rate", group.fnr_gap, group.fnr_gap_p, 1),
        )
        for metric, gap, p, sign in gaps:
            if not np.isnan(p) and (len(rest) > 1 or sign * gap.value > 0):
                examined.append((Gap(group.column, group.name, group.label, metric, gap), p))
    adjusted = holm([p for _, p in examined])
    clear = [gap for (gap, _), p in zip(examined, adjusted, strict=True) if p < ALPHA]
    clear.sort(key=lambda each: (each.label != MACRO, -abs(each.difference.value)))
    return Gaps(tuple(clear), len(examined))


def _few(rows: Sequence[Group]) -> bool:
    """Whether the images of these groups together are as few as those of a small one."""
    images = min(sum(r.positives for r in rows), sum(r.negatives for r in rows))
    return images < FEW_IMAGES or sum(r.patients for r in rows) < FEW_PATIENTS
