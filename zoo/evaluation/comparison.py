"""Two runs on the same images: their paired difference, its interval, and whether the data can tell them apart.

Both runs are measured in the same resamples of the patients, so what makes a resample easy or hard cancels out of the
difference. Two runs whose intervals overlap widely can still be told apart, and this is how.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation import metrics
from zoo.evaluation.bootstrap import auroc_replicates, patient_codes, percentile_interval, resample
from zoo.evaluation.delong import paired_test
from zoo.evaluation.evaluate import Interval, short
from zoo.evaluation.plain import plain
from zoo.evaluation.predictions import Predictions

# Metrics that are defined or not by the labels alone: a mean over labels then covers the same labels for both runs.
METRICS = ("auroc", "auprc", "sensitivity", "specificity", "f1", "accuracy", "balanced_accuracy")
AT_THRESHOLD = METRICS[2:]
TITLES = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "balanced_accuracy": "balanced accuracy"}
ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """One metric of two runs and the first minus the second, with its interval.

    `p` is the two-sided p of the paired bootstrap, `p_holm` the same after Holm's correction for the comparisons made
    beside it, `p_delong` that of DeLong's test where it holds; each NaN where it cannot be given.
    """

    label: str
    first: float
    second: float
    difference: Interval
    p: float
    p_holm: float
    p_delong: float

    @property
    def told_apart(self) -> bool:
        """Whether the corrected p is below .05."""
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Comparison:
    """Two runs compared on the same images: over all labels, and for several labels label by label.

    `overall.label` is the one label, "macro" for a mean over the labels, or "all" for what a multiclass task has only once.
    `no_delong` says why DeLong's test is not given, and is empty where it is.
    """

    first: str
    second: str
    metric: str
    images: int
    patients: int
    overall: Difference
    per_label: dict[str, Difference]
    no_delong: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None."""
        return dict(plain(self))


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one run: of all images and in every resample of the patients, for each label and for all.

    `predictions` are in the order of the images' names, which with equal patients makes the resamples of two runs the
    same. `values` is `(K,)`, `drawn` `(R, K)`; `overall` and `overall_drawn` `(R,)` are the binary task's own or the
    macro average.
    """

    name: str
    predictions: Predictions
    metric: str
    values: np.ndarray
    drawn: np.ndarray
    overall: float
    overall_drawn: np.ndarray


def measure(
    name: str,
    predictions: Predictions,
    metric: str = "auroc",
    thresholds: Mapping[str, float] | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Measured:
    """Prepare a run for comparisons.

    Args:
        name: of the run, for messages.
        predictions: its images.
        metric: one of `METRICS`.
        thresholds: the run's own, a probability per label; needed for the metrics in `AT_THRESHOLD` unless multiclass.
        replicates: resamples of the patients; none are drawn where all images are of one patient.
        seed: of the resamples.

    Raises:
        DataError: there are no images, a logit is not finite, or an image is named twice.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is none of {METRICS}")
    predictions.check(f"predictions of {name}")
    names = predictions.table["image"].astype(str).to_numpy()
    order = np.argsort(names, kind="stable")
    table = predictions.table.iloc[order].reset_index(drop=True)
    ordered = Predictions(predictions.task, table, predictions.labels[order], predictions.logits[order])
    if patient_codes(table["patient"])[1] < 2:
        replicates = 0
    values, drawn, overall, overall_drawn = _measure(ordered, metric, thresholds, replicates, seed)
    return Measured(name, ordered, metric, values, drawn, float(overall), overall_drawn)


def _measure(
    images: Predictions, metric: str, thresholds: Mapping[str, float] | None, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    labels, scores, patients = images.labels, images.scores, images.table["patient"]
    columns = range(images.task.outputs)
    if metric == "auroc":
        values = np.array([metrics.auroc(labels[:, k], scores[:, k]) for k in columns])
        drawn = auroc_replicates(labels, scores, patients, replicates, seed)
        return values, drawn, _mean(values), _mean(drawn)
    if metric in AT_THRESHOLD:
        positive = metrics.decisions(images.task, images.logits, thresholds or {})
    else:
        positive = np.zeros(labels.shape, dtype=bool)
    found = resample(labels, scores, positive, patients, replicates, seed)
    drawn = found.labels[metric]
    if metric == "auprc":
        values = np.array([metrics.auprc(labels[:, k], scores[:, k]) for k in columns])
        return values, drawn, _mean(values), _mean(drawn)
    table = metrics.confusion(labels, positive)
    rates, pooled = metrics.rates(table), metrics.rates(table.total())
    overall = metrics.averages(images.task, rates, pooled, table.tp + table.fn)["macro"][metric]
    micro = {name: found.micro[name] for name in pooled}
    averages = metrics.averages(images.task, {name: found.labels[name] for name in rates}, micro, found.positives)
    return rates[metric], drawn, overall, averages["macro"][metric]


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is defined; NaN where nothing is."""
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(values, axis=-1) / defined.sum(axis=-1))


def compare(first: Measured, second: Measured, *, level: float = 0.95) -> Comparison:
    """Compare two runs measured with the same replicates and seed.

    The p values of labels are corrected over the labels; that of the whole is not, see `corrected`.

    Raises:
        DataError: the images, their labels or their patients differ; see `differences` for what does.
    """
    if first.metric != second.metric:
        raise ValueError(f"one run has {first.metric}, the other {second.metric}")
    found = differences(first.name, first.predictions, second.name, second.predictions)
    if found:
        raise DataError(f"{first.name} and {second.name} cannot be compared: {'; '.join(found)}.")
    images = first.predictions
    codes, patients = patient_codes(images.table["patient"])
    if (codes != patient_codes(second.predictions.table["patient"])[0]).any():
        raise DataError(
            f"{first.name} and {second.name} cannot be compared: they give the same images to different patients."
        )
    several = images.task.outputs > 1
    reason = _no_delong(first.metric, len(images), patients)
    rows = []
    for k, label in enumerate(images.task.labels):
        p_delong = math.nan
        if not reason:
            scores = (each.predictions.scores[:, k] for each in (first, second))
            p_delong = paired_test(images.labels[:, k], *scores).p
        values, drawn = (float(first.values[k]), float(second.values[k])), first.drawn[:, k] - second.drawn[:, k]
        rows.append(_difference(label, *values, drawn, level, p_delong))
    if several:
        drawn = first.overall_drawn - second.overall_drawn
        averaged = not (images.task.exclusive and first.metric in ("accuracy", "balanced_accuracy"))
        overall = _difference("macro" if averaged else "all", first.overall, second.overall, drawn, level, math.nan)
        reason = reason or "it compares single labels, not a mean over them"
    else:
        overall = rows[0]
    adjusted = holm([row.p for row in rows])
    per_label = {r.label: dataclasses.replace(r, p_holm=p) for r, p in zip(rows, adjusted, strict=True)}
    return Comparison(
        first.name, second.name, first.metric, len(images), patients, overall, per_label if several else {}, reason
    )


def corrected(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The comparisons with the p of each whole corrected for there being several."""
    adjusted = holm([each.overall.p for each in comparisons])
    return tuple(
        dataclasses.replace(each, overall=dataclasses.replace(each.overall, p_holm=p))
        for each, p in zip(comparisons, adjusted, strict=True)
    )


def _difference(
    label: str, first: float, second: float, drawn: np.ndarray, level: float, p_delong: float
) -> Difference:
    value = first - second
    low, high, _ = percentile_interval(drawn, level) if not math.isnan(value) else (math.nan, math.nan, 0)
    p = bootstrap_p(drawn) if not math.isnan(low) else math.nan
    return Difference(label, first, second, Interval(value, low, high), p, p, p_delong)


def bootstrap_p(differences: np.ndarray) -> float:
    """Two-sided p of "no difference" from resampled differences `(R,)`, NaN among them left out.

    Twice the smaller of the shares at or below and at or above zero, which is 1 − level where the percentile interval of
    that level touches zero; one is added to counts and number, so that p is never 0 but at least 2 / (R + 1) (Davison &
    Hinkley, Bootstrap Methods and their Application, 1997, sections 4.2 and 5.2).
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return math.nan
    fewest = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (fewest + 1) / (len(defined) + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm, Scandinavian Journal of Statistics 6, 1979) for several comparisons.

    The smallest of n p values is multiplied by n, the next by n − 1 and so on, none getting smaller than the one before
    it nor larger than 1. A NaN stays one and does not count.
    """
    p = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    result = np.full(len(p), np.nan)
    result[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in result]


def _no_delong(metric: str, images: int, patients: int) -> str:
    if metric != "auroc":
        return "it compares AUROCs only"
    if patients < images:
        return f"it takes images as independent, and these {images:,} images are of {patients:,} patients"
    return ""


def differences(first: str, a: Predictions, second: str, b: Predictions) -> list[str]:
    """What keeps two runs out of one table, as phrases with counts and an example: task, images or labels."""
    found = []
    if a.task != b.task:
        found.append(f"{first} predicts {task_text(a.task)}, {second} {task_text(b.task)}")
    rows_a, rows_b = (dict(zip(each.table["image"].astype(str), range(len(each)), strict=True)) for each in (a, b))
    only_a, only_b = (sorted(set(x) - set(y)) for x, y in ((rows_a, rows_b), (rows_b, rows_a)))
    if only_a or only_b:
        parts = [
            f"{_images(len(only))} only in {name}, such as '{only[0]}'"
            for name, only in ((first, only_a), (second, only_b))
            if only
        ]
        found.append(f"they were measured on different images ({'; '.join(parts)})")
    elif a.task == b.task:
        images = sorted(rows_a)
        x, y = a.labels[[rows_a[i] for i in images]], b.labels[[rows_b[i] for i in images]]
        differ = ((x != y) & ~(np.isnan(x) & np.isnan(y))).any(axis=1)
        if differ.any():
            example = images[int(differ.argmax())]
            found.append(f"the labels differ on {differ.sum():,} of {_images(len(a))}, such as '{example}'")
    return found


def task_text(task: Task) -> str:
    """A task in a few words: "binary (Abnormal)", "multilabel (14 labels)"."""
    inside = ", ".join(task.labels) if len(task.labels) <= 3 else f"{len(task.labels)} labels"
    return f"{task.kind} ({inside})"


def verdict(comparison: Comparison) -> str:
    """One sentence: is one of the two better, or can the data not tell."""
    found, name = comparison.overall, metric_name(comparison)
    first, second = comparison.first, comparison.second
    value, p = found.difference, p_text(found.p_holm)
    if math.isnan(value.value):
        return f"{first} and {second} cannot be compared: {name} is undefined on these images."
    if math.isnan(found.p_holm):
        why = (
            "all images are of one patient"
            if comparison.patients < 2
            else "there are too few patients, or no resamples"
        )
        return f"The {name} of {first} minus that of {second} is {short(value.value)}, without an interval: {why}."
    if not found.told_apart:
        return f"The data cannot tell {first} and {second} apart: {name} difference {value}, p {p}."
    better, worse, sign = (first, second, 1) if value.value > 0 else (second, first, -1)
    bounds = sorted((sign * value.low, sign * value.high))
    return f"{better} is better than {worse}: {name} difference {Interval(sign * value.value, *bounds)}, p {p}."


def metric_name(comparison: Comparison) -> str:
    """What the overall number is called: "AUROC", "macro AUROC"."""
    title = TITLES.get(comparison.metric, comparison.metric)
    return f"macro {title}" if comparison.overall.label == "macro" else title


def p_text(p: float) -> str:
    """A p value as tables show it: ".012", "<.001", "–"."""
    return "<.001" if p < 0.0005 else short(p)


def _images(count: int) -> str:
    return f"{count:,} image{'s' if count != 1 else ''}"
