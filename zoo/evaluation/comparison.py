"""Two runs on the same images: their paired difference, its interval, and whether it is significant.

A difference is judged by its standard error over patients, from how each patient moves it (`influence`): what makes a patient easy
or hard for both runs cancels out, so two runs whose intervals overlap widely can still differ significantly. Nothing is drawn.
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
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.delong import paired_test
from zoo.evaluation.influence import FEWEST, Influence, by_patient, decided, mean, ranked
from zoo.evaluation.interval import Interval
from zoo.evaluation.metrics import Confusion
from zoo.evaluation.p_values import ALPHA, holm, range_p, range_quantile
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

# Metrics that are defined or not by the labels alone: a mean over labels then covers the same labels for both runs.
METRICS = ("auroc", "auprc", "sensitivity", "specificity", "f1", "accuracy", "balanced_accuracy")
WITHOUT_THRESHOLD, AT_THRESHOLD = METRICS[:2], METRICS[2:]


@dataclass(frozen=True)
class Difference:
    """One metric of two runs and the first minus the second, with its interval.

    `p` is the two-sided p of difference / standard error in Student's distribution with `freedom` degrees. `p_adjusted` of a
    whole corrects it for all pairs of the runs that were ranked, and the interval is simultaneous with it: it excludes 0
    where `p_adjusted` is below 1 - level. For one of several labels `p_adjusted` is Holm's over the labels, and the interval
    that of the label by itself. `p_delong` is that of DeLong's test, clustered by patient. Each is NaN where it cannot be given.
    """

    label: str
    first: float
    second: float
    difference: Interval
    standard_error: float
    freedom: float
    p: float
    p_adjusted: float
    p_delong: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below .05."""
        return self.p_adjusted < ALPHA


@dataclass(frozen=True)
class Comparison(Serialisable):
    """Two runs compared on the same images: over all labels, and for several labels label by label.

    `overall.label` is the one label, "macro" for a mean over the labels, or "all" for what a multiclass task has only once.
    `runs` is the number of ranked runs of which these are two. `no_delong` is the reason why DeLong's test is not given:
    another metric than AUROC, or a mean over labels (it compares single labels); None where it is given.
    """

    first: str
    second: str
    metric: str
    images: int
    patients: int
    runs: int
    overall: Difference
    per_label: dict[str, Difference]
    no_delong: Literal["not_auroc", "mean_over_labels"] | None


@dataclass(frozen=True, eq=False)
class Measured:
    """One metric of one run, and how each patient moves it: `labels` of each label, `whole` where it is no mean over them.

    `predictions` are in the order of the images' names, so that the patients of two runs are in one order. `overall` is
    the binary task's own or the macro average.
    """

    name: str
    predictions: Predictions
    metric: str
    labels: Influence
    whole: Influence | None
    overall: float

    @property
    def values(self) -> np.ndarray:
        """The metric of each label, `(K,)`."""
        return self.labels.value


def measure(
    name: str, predictions: Predictions, metric: str = "auroc", thresholds: Mapping[str, float] | None = None
) -> Measured:
    """Prepare a run for comparisons.

    Args:
        name: of the run, for messages.
        predictions: its images.
        metric: one of `METRICS`.
        thresholds: the run's own, a probability per label; needed for the metrics in `AT_THRESHOLD` unless multiclass.

    Raises:
        DataError: there are no images, a logit is not finite, or an image is named twice.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r} is none of {METRICS}")
    predictions.check(f"predictions of {name}")
    names = predictions.table["image"].astype(str).to_numpy()
    order = np.argsort(names, kind="stable")
    table = predictions.table.iloc[order].reset_index(drop=True)
    images = Predictions(predictions.task, table, predictions.labels[order], predictions.logits[order])
    codes, patients = patient_codes(images.table["patient"])
    whole = None
    if metric in AT_THRESHOLD:
        positive = metrics.decisions(images.task, images.logits, thresholds or {})
        counts = Confusion(*(by_patient(part, codes, patients) for part in metrics.parts(images.labels, positive)))
        labels = decided(counts)[metric]
        if images.task.exclusive and metric == "accuracy":  # the share of images that are right
            whole = decided(counts.total())["sensitivity"]
        elif images.task.exclusive and metric == "balanced_accuracy":
            whole = mean(decided(counts)["sensitivity"])
    else:
        labels = ranked(metric, images.labels, images.scores, codes, patients)
    overall = float(whole.value[0] if whole is not None else metrics.mean_of_defined(labels.value))
    return Measured(name, images, metric, labels, whole, overall)


def compare(first: Measured, second: Measured, *, runs: int = 2, level: float = 0.95) -> Comparison:
    """Compare two runs that were picked from among `runs` runs, ranked on the same images.

    Raises:
        DataError: the images, their labels or their patients differ; see `differences` for what does.
    """
    if first.metric != second.metric:
        raise ValueError(f"one run has {first.metric}, the other {second.metric}")
    if why := differences(first.name, first.predictions, second.name, second.predictions):
        raise DataError(f"{first.name} and {second.name} cannot be compared: {'; '.join(why)}.")
    images = first.predictions
    codes, patients = patient_codes(images.table["patient"])
    if (codes != patient_codes(second.predictions.table["patient"])[0]).any():
        raise DataError(
            f"{first.name} and {second.name} cannot be compared: they give the same images to different patients."
        )
    several = images.task.outputs > 1
    alike = _alike(first, second)
    found = minus(first.labels, second.labels, alike)
    rows = []
    for k, label in enumerate(images.task.labels):
        p_delong = math.nan
        if first.metric == "auroc":
            scores = [each.predictions.scores[:, k] for each in (first, second)]
            p_delong = paired_test(images.labels[:, k], scores[0], scores[1], codes).p
        values = float(first.values[k]), float(second.values[k])
        rows.append(difference_of(label, values, found, k, 2 if several else runs, level, p_delong))
    reason: Literal["not_auroc", "mean_over_labels"] | None = "not_auroc" if first.metric != "auroc" else None
    overall = rows[0]
    if several:
        one, two = first.whole, second.whole
        whole = mean(found) if one is None or two is None else minus(one, two, np.array([alike.all()]))
        name = "macro" if one is None else "all"
        overall = difference_of(name, (first.overall, second.overall), whole, 0, runs, level, math.nan)
        reason = reason or "mean_over_labels"
    adjusted = holm([row.p for row in rows])
    per_label = {r.label: dataclasses.replace(r, p_adjusted=p) for r, p in zip(rows, adjusted, strict=True)}
    names = first.name, second.name, first.metric
    return Comparison(*names, len(images), patients, runs, overall, per_label if several else {}, reason)


def _alike(first: Measured, second: Measured) -> np.ndarray:
    """Whether two runs rank the images of each label in one order, `(K,)`: only then is a difference of 0 certain."""
    both = zip(first.predictions.scores.T, second.predictions.scores.T, first.predictions.labels.T, strict=True)
    ranks = ([np.unique(each[~np.isnan(labels)], return_inverse=True)[1] for each in (a, b)] for a, b, labels in both)
    return np.array([bool((one == two).all()) for one, two in ranks])


def minus(first: Influence, second: Influence, alike: np.ndarray | None = None) -> Influence:
    """The influence of the same patients on the first minus the second, label by label.

    Where too few patients have the label for an estimate, a mean over labels takes the largest variance that a difference
    between -1 and 1 can have. Where no patient moves the difference although the runs are not `alike` `(K,)`, such as two that
    are right about every image, it takes that of Laplace's share of one patient in n + 2.
    """
    moved = first.by_patient - second.by_patient
    few = first.patients < FEWEST
    with np.errstate(divide="ignore"):
        unseen = np.where(few, 1 / first.clusters, 0.0)
        if alike is not None:
            still = ~few & ~alike & ((moved**2).sum(axis=0) <= 1e-16)
            unseen = np.where(still, 1 / (first.clusters * (first.clusters + 2)), unseen)
    return dataclasses.replace(
        first,
        value=first.value - second.value,
        by_patient=moved,
        variance=(moved**2).sum(axis=0),
        patients=np.minimum(first.patients, second.patients),
        freedom=np.minimum(first.freedom, second.freedom),
        unseen=unseen,
    )


def difference_of(
    label: str,
    values: tuple[float, float],
    found: Influence,
    k: int = 0,
    runs: int = 2,
    level: float = 0.95,
    p_delong: float = math.nan,
) -> Difference:
    """The difference of two values from the influence on it (see `minus`), as one of all pairs of `runs` runs.

    Where no patient moves it, it may be moved by those not seen: the interval reaches q² / (n + q²) to both sides, n being the
    patients and q the quantile, as far as that of a paired difference without discordant pairs (Tango 1998, Statistics in
    Medicine 17:891).
    """
    value, freedom = float(found.value[k]), float(found.freedom[k])
    # what rounding leaves of nothing is about 1e-17
    error = math.sqrt(variance) if (variance := float(found.variance[k])) > 1e-16 else 0.0 * variance
    hidden = error == 0 and bool(found.unseen[k] > 0)
    same = error == 0 and abs(value) < 1e-12 and not hidden
    unknown = math.isnan(value) or found.patients[k] < FEWEST or (error == 0 and not same and not hidden)
    if same and not unknown:
        return Difference(label, *values, Interval(value, value, value), 0.0, freedom, 1.0, 1.0, p_delong)
    if unknown:
        nothing = math.nan
        return Difference(label, *values, Interval(value, nothing, nothing), *(nothing,) * 4, p_delong)
    q = range_quantile(level, runs, freedom)
    if hidden:
        number, size = float(found.clusters[k]), min(abs(value), 1 - 1e-12)
        error, distance, reach = (
            math.sqrt(found.unseen[k]),
            math.sqrt(number * size / (1 - size)),
            q**2 / (number + q**2),
        )
    else:
        distance, reach = abs(value) / error, error * q
    low, high = max(-1.0, value - reach), min(1.0, value + reach)
    p, adjusted = (range_p(distance, number, freedom) for number in (2, runs))
    return Difference(label, *values, Interval(value, low, high), error, freedom, p, adjusted, p_delong)


def p_of_the_best(comparisons: Sequence[Comparison]) -> float:
    """The p of the best run not being better than all others, from its comparison with each of them.

    It is the largest p of a single pair, without a correction: however many the others are, the best of them on these images
    beats even the second best by chance no more often than one of two equal runs beats the other (Gutmann & Maymin 1987,
    Annals of Statistics 15:456). A claim about some of the others needs `Difference.p_adjusted`. NaN where one p is.
    """
    return float(np.max([each.overall.p for each in comparisons])) if comparisons else math.nan


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
