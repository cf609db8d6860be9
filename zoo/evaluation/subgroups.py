"""How well a classifier does on groups of images: by sex, age band, view, or any other column of the predictions table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.core.errors import UsageError, unknown
from zoo.evaluation import metrics
from zoo.evaluation.bootstrap import auroc_replicates, patient_codes, percentile_interval, weight_chunks
from zoo.evaluation.evaluate import Interval
from zoo.evaluation.plain import plain
from zoo.evaluation.predictions import Predictions

DEFAULT_COLUMNS = ("sex", "age", "view")
AGES = (("0-17", 0.0), ("18-39", 18.0), ("40-59", 40.0), ("60-79", 60.0), ("80+", 80.0))  # name, youngest in years
UNKNOWN = "unknown"
MACRO = "macro"
FEW_IMAGES = 10  # of a class: with fewer, a group's numbers are marked as small
FEW_PATIENTS = 20
MOST_VALUES = 8  # of a number column that are groups each; with more, quartiles
MOST_GROUPS = 30  # of a text column
_SHOWN = 5  # clear gaps that the notes spell out


@dataclass(frozen=True)
class Group:
    """One group of images and one label, or the mean over the labels ("macro").

    `images` counts the group's images with the label known, `patients` theirs. For macro, images are those with any label
    known, positives and negatives the sums over the labels, and the metrics means over the labels where they are
    defined. A gap is this group minus all other images (`auroc_gap` below 0 and `fnr_gap` above 0 are to the group's
    disadvantage); for macro it is the mean of the labels' gaps. `small`: fewer than 10 positive or negative images, or
    fewer than 20 patients.
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
    fnr_gap: Interval
    small: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None."""
        return dict(plain(self))


@dataclass(frozen=True)
class _Measures:
    """AUROC and sensitivity of one set of images: the values `(K,)` and the resampled ones `(R, K)`."""

    auroc: np.ndarray
    sensitivity: np.ndarray
    drawn_auroc: np.ndarray
    drawn_sensitivity: np.ndarray


def subgroups(
    predictions: Predictions,
    thresholds: Mapping[str, float],
    columns: Sequence[str] | None = None,
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[Group, ...]:
    """Measure every group of images beside all the others, which share the draws of patients.

    Text is grouped by value, age (years) by the bands 0-17, 18-39, 40-59, 60-79 and 80+, another number with more than 8
    distinct values by quartiles. Images without a value form the group "unknown". A column with one group has no gap.

    Args:
        predictions: the images of one split.
        thresholds: a probability per label; a multiclass task takes the most probable class.
        columns: of the predictions table; without them those of `DEFAULT_COLUMNS` that it has.
        replicates: resamples of the patients; 0 leaves the intervals undefined.
        level: of the intervals, in (0, 1).
        seed: of the resampling.

    Returns:
        Column by column and group by group: a row per label, and first "macro" where there are several labels.

    Raises:
        UsageError: the table has no such column, or one with so many values that they are no groups.
        DataError: there are no images, a logit is not finite, or an image is named twice.
    """
    predictions.check("predictions")
    if columns is None:
        columns = [c for c in DEFAULT_COLUMNS if c in predictions.table.columns]
    missing = [label for label in predictions.task.labels if label not in thresholds]
    if missing and not predictions.task.exclusive:
        raise ValueError(f"no threshold is given for {', '.join(missing)}")
    names = {column: _groups_of(predictions.table, column) for column in columns}
    masks = {(column, group): names[column] == group for column in names for group in pd.unique(names[column])}
    if patient_codes(predictions.table["patient"])[1] < 2:
        replicates = 0
    measured = _measure(predictions, thresholds, list(masks.values()), replicates, seed)
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


def subgroup_notes(groups: Sequence[Group], level: float = 0.95) -> tuple[str, ...]:
    """Sentences on the clear gaps (their interval excludes 0), with the caution that many were looked at, on groups too
    small to judge, and on columns with one group only."""
    notes = []
    by_column: dict[str, list[Group]] = {}
    for group in groups:
        by_column.setdefault(group.column, []).append(group)
    for column, rows in by_column.items():
        found = {row.name for row in rows}
        if found == {UNKNOWN}:
            notes.append(f"The {column} of every image is unknown: there are no groups to compare.")
        elif len(found) == 1:
            notes.append(f"All images are of one group by {column} ({found.pop()}): there is no gap to measure.")
    clear, looked_at = _clear_gaps(by_column)
    if clear:
        several = len({g.label for g in groups}) > 1
        shown = "; ".join(_said(group, gap, what, several) for group, gap, what in clear[:_SHOWN])
        more = f"; and {len(clear) - _SHOWN} more" if len(clear) > _SHOWN else ""
        notes.append(f"Clear gaps to all other images: {shown}{more}.")
        notes.append(
            f"{looked_at} gaps were looked at: where there is no real difference, about {(1 - level) * 100:.0f} of 100 such "
            "intervals exclude 0 by chance. A gap is a question to follow up, not a finding."
        )
    means = [g for g in groups if g.label == MACRO]
    small = [f"{g.column} {g.name}" for g in means or groups if g.small]
    if small:
        notes.append(
            f"Too few images to judge (fewer than {FEW_IMAGES} of a class, or {FEW_PATIENTS} patients): {', '.join(small)}."
        )
    few = sum(g.small for g in groups if g.label != MACRO)
    if means and few:
        notes.append(
            f"Label by label, {few} of {len(groups) - len(means)} groups have fewer than {FEW_IMAGES} images of a class or "
            f"{FEW_PATIENTS} patients: read those with care."
        )
    return tuple(notes)


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
    for digits in (4, 9, 17):  # as few as tell the ends apart
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
    predictions: Predictions, thresholds: Mapping[str, float], masks: list[np.ndarray], replicates: int, seed: int
) -> dict[bytes, _Measures]:
    """Measure the images of every mask and of its complement, all with the same draws of patients."""
    sets = {m.tobytes(): m for mask in masks for m in (mask, ~mask) if m.any()}
    if not sets:
        return {}
    # outside its set an image counts as unknown: the draws stay those of all patients
    labels = np.concatenate([np.where(m[:, None], predictions.labels, np.nan) for m in sets.values()], axis=1)
    scores = np.tile(predictions.scores, len(sets))
    called = np.tile(metrics.decisions(predictions.task, predictions.logits, thresholds), len(sets))
    patients = predictions.table["patient"]
    drawn_auroc = auroc_replicates(labels, scores, patients, replicates, seed)
    found, positive = ((labels > 0.5) & called).astype(np.float64), (labels > 0.5).astype(np.float64)
    pieces = [(w @ found, w @ positive) for w in weight_chunks(patients, replicates, seed)]
    empty = np.empty((0, labels.shape[1]))
    hits, all_positive = (np.concatenate([empty, *(p[i] for p in pieces)]) for i in (0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        sensitivity, drawn_sensitivity = found.sum(axis=0) / positive.sum(axis=0), hits / all_positive
    auroc = np.array([metrics.auroc(labels[:, k], scores[:, k]) for k in range(labels.shape[1])])
    outputs = predictions.task.outputs
    parts = {key: slice(i * outputs, (i + 1) * outputs) for i, key in enumerate(sets)}
    return {
        key: _Measures(auroc[part], sensitivity[part], drawn_auroc[:, part], drawn_sensitivity[:, part])
        for key, part in parts.items()
    }


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
    nothing = np.full(task.outputs, np.nan)
    none_drawn = np.full_like(own.drawn_auroc, np.nan)
    columns = {
        "auroc": (own.auroc, own.drawn_auroc),
        "sensitivity": (own.sensitivity, own.drawn_sensitivity),
        "false_negative_rate": (1 - own.sensitivity, 1 - own.drawn_sensitivity),
        "auroc_gap": (own.auroc - rest.auroc, own.drawn_auroc - rest.drawn_auroc) if rest else (nothing, none_drawn),
        "fnr_gap": (rest.sensitivity - own.sensitivity, rest.drawn_sensitivity - own.drawn_sensitivity)
        if rest
        else (nothing, none_drawn),
    }
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
        rows.append(
            Group(
                column,
                name,
                label,
                images,
                people,
                positives,
                negatives,
                **{
                    metric: mean_interval(value[members], drawn[:, members], level)
                    for metric, (value, drawn) in columns.items()
                },
                small=min(positives, negatives) < FEW_IMAGES or people < FEW_PATIENTS,
            )
        )
    return rows


def mean_interval(values: np.ndarray, drawn: np.ndarray, level: float) -> Interval:
    """The mean over the labels where the value is defined, `(K,)`, with the interval of its replicates `(R, K)`.

    A replicate is the mean over those of these labels that are defined in it.
    """
    defined = ~np.isnan(values)
    if not defined.any():
        return Interval(np.nan, np.nan, np.nan)
    drawn = drawn[:, defined]
    known = ~np.isnan(drawn)
    with np.errstate(invalid="ignore"):
        means = np.where(known, drawn, 0.0).sum(axis=1) / known.sum(axis=1)
    low, high, _ = percentile_interval(means, level)
    return Interval(float(values[defined].mean()), low, high)


def _clear_gaps(by_column: Mapping[str, list[Group]]) -> tuple[list[tuple[Group, Interval, str]], int]:
    """The gaps whose interval excludes 0, the means over labels first, then by size; and how many were looked at.

    A group is judged where neither it nor the rest is small. Of two groups, which have one gap between them, the one at
    a disadvantage is named.
    """
    clear, looked_at = [], 0
    for rows in by_column.values():
        two = len({row.name for row in rows}) == 2
        for row in rows:
            others = [r for r in rows if r.label == row.label and r.name != row.name]
            if row.small or not others or _few(others):
                continue
            for what, gap, sign in (("AUROC", row.auroc_gap, -1), ("false-negative rate", row.fnr_gap, 1)):
                if np.isnan(gap.low) or (two and sign * gap.value <= 0):
                    continue
                looked_at += 1
                if gap.low > 0 or gap.high < 0:
                    clear.append((row, gap, what))
    clear.sort(key=lambda each: (each[0].label != MACRO, -abs(each[1].value)))
    return clear, looked_at


def _few(rows: Sequence[Group]) -> bool:
    """Whether the images of these groups together are as few as those of a small one."""
    images = min(sum(r.positives for r in rows), sum(r.negatives for r in rows))
    return images < FEW_IMAGES or sum(r.patients for r in rows) < FEW_PATIENTS


def _said(group: Group, gap: Interval, what: str, several: bool) -> str:
    name = f" for {group.label}" if several and group.label != MACRO else ""
    mean = "macro " if group.label == MACRO else ""
    return f"{group.column} {group.name}, {mean}{what}{name} {'+' if gap.value > 0 else ''}{gap}"
