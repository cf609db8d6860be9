"""Two runs on the same images: their paired difference, its interval, and whether it is significant.

Both runs are measured in the same resamples of the patients, so what makes a resample easy or hard cancels out of the
difference: two runs whose intervals overlap widely can still differ significantly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import zoo.evaluation.metrics as metrics
from zoo.core.errors import DataError
from zoo.core.text import count_of
from zoo.evaluation.bootstrap import auroc_replicates, patient_codes, resample
from zoo.evaluation.delong import paired_test
from zoo.evaluation.interval import Interval, interval
from zoo.evaluation.p_values import ALPHA, bootstrap_p, holm
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

# Metrics that are defined or not by the labels alone: a mean over labels then covers the same labels for both runs.
METRICS = ("auroc", "auprc", "sensitivity", "specificity", "f1", "accuracy", "balanced_accuracy")
AT_THRESHOLD = METRICS[2:]


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
    def significant(self) -> bool:
        """Whether the corrected p is below .05."""
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Comparison(Serialisable):
    """Two runs compared on the same images: over all labels, and for several labels label by label.

    `overall.label` is the one label, "macro" for a mean over the labels, or "all" for what a multiclass task has only once.
    `no_delong` is the reason why DeLong's test is not given: another metric than AUROC, several images of one patient (the
    test takes images as independent), or a mean over labels (it compares single labels); None where it is given.
    """

    first: str
    second: str
    metric: str
    images: int
    patients: int
    overall: Difference
    per_label: dict[str, Difference]
    no_delong: Literal["not_auroc", "several_images_per_patient", "mean_over_labels"] | None


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
        replicates: resamples of the patients.
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
    values, drawn, overall, overall_drawn = _measure(ordered, metric, thresholds, replicates, seed)
    return Measured(name, ordered, metric, values, drawn, float(overall), overall_drawn)


def _measure(
    images: Predictions, metric: str, thresholds: Mapping[str, float] | None, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    labels, scores, patients = images.labels, images.scores, images.table["patient"]
    if metric == "auroc":
        values = metrics.by_label(metrics.auroc, labels, scores)
        drawn = auroc_replicates(labels, scores, patients, replicates, seed)
        return values, drawn, metrics.mean_of_defined(values), metrics.mean_of_defined(drawn)
    if metric in AT_THRESHOLD:
        positive = metrics.decisions(images.task, images.logits, thresholds or {})
    else:
        positive = np.zeros(labels.shape, dtype=bool)
    found = resample(labels, scores, positive, patients, replicates, seed)
    drawn = found.labels[metric]
    if metric == "auprc":
        values = metrics.by_label(metrics.auprc, labels, scores)
        return values, drawn, metrics.mean_of_defined(values), metrics.mean_of_defined(drawn)
    table = metrics.confusion(labels, positive)
    rates, pooled = metrics.rates(table), metrics.rates(table.total())
    overall = metrics.averages(images.task, rates, pooled, table.tp + table.fn)["macro"][metric]
    micro = {name: found.micro[name] for name in pooled}
    averages = metrics.averages(images.task, {name: found.labels[name] for name in rates}, micro, found.positives)
    return rates[metric], drawn, overall, averages["macro"][metric]


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
    reason: Literal["not_auroc", "several_images_per_patient", "mean_over_labels"] | None = None
    if first.metric != "auroc":
        reason = "not_auroc"
    elif patients < len(images):
        reason = "several_images_per_patient"
    rows = []
    for k, label in enumerate(images.task.labels):
        p_delong = math.nan
        if reason is None:
            scores = (each.predictions.scores[:, k] for each in (first, second))
            p_delong = paired_test(images.labels[:, k], *scores).p
        values, drawn = (float(first.values[k]), float(second.values[k])), first.drawn[:, k] - second.drawn[:, k]
        rows.append(_difference(label, *values, drawn, level, p_delong))
    if several:
        drawn = first.overall_drawn - second.overall_drawn
        averaged = not (images.task.exclusive and first.metric in ("accuracy", "balanced_accuracy"))
        overall = _difference("macro" if averaged else "all", first.overall, second.overall, drawn, level, math.nan)
        reason = reason or "mean_over_labels"
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
    difference = interval(first - second, drawn, level)
    p = bootstrap_p(drawn) if not math.isnan(difference.low) else math.nan
    return Difference(label, first, second, difference, p, p, p_delong)


def differences(first: str, a: Predictions, second: str, b: Predictions) -> list[str]:
    """Why two runs do not belong in one table, as phrases for an error with counts and an example: task, images or labels."""
    found = []
    if a.task != b.task:
        found.append(f"{first} predicts {a.task}, {second} {b.task}")
    rows_a, rows_b = (dict(zip(each.table["image"].astype(str), range(len(each)), strict=True)) for each in (a, b))
    only_a, only_b = (sorted(set(x) - set(y)) for x, y in ((rows_a, rows_b), (rows_b, rows_a)))
    if only_a or only_b:
        parts = [
            f"{count_of(len(only), 'image')} only in {name}, such as '{only[0]}'"
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
            found.append(f"the labels differ on {differ.sum():,} of {count_of(len(a), 'image')}, such as '{example}'")
    return found
