"""How much each patient moves a metric, from which its standard error follows without resampling.

A metric's influence function says by how much it changes as one image gets a little more weight; summed over a patient's
images, its squares sum to the variance of the metric over samples of patients (the infinitesimal jackknife: Efron 1982, The
Jackknife, the Bootstrap and Other Resampling Plans, ch. 6; for the AUROC this is DeLong's variance, clustered as by Obuchowski
1997, Biometrics 53:567). Nothing is drawn, so nothing depends on a seed.

Patients with many images carry more of a metric than others, so the number of patients counts as Kish's effective one,
(sum of images)² / sum of squared images (Kish 1965, Survey Sampling), in degrees of freedom and small-sample corrections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import zoo.evaluation.metrics as metrics
from zoo.evaluation.metrics import Confusion

FEWEST = 3  # patients that a metric must rest on for an interval: with two, a t interval spans everything
_PSEUDO = 0.5  # patients of Hanley & McNeil's variance added to that of an AUROC; see `_auroc`


@dataclass(frozen=True, eq=False)
class Influence:
    """Metrics `(K,)` of one kind, and how each of P patients moves them, `by_patient` `(P, K)`.

    `by_patient` is scaled for small samples, so that its squares sum to the variance. `variance` `(K,)` is that used for a
    single metric's interval. `images` and `patients` `(K,)` count those that the metric divides by (of the rarer class for
    AUROC, AUPRC, balanced accuracy and MCC), `clusters` the effective number of these patients, `freedom` the degrees of freedom of
    the variance. `unseen` is a variance for means over labels, where the estimate is 0 or impossible, because the metric
    is 0 or 1 or rests on fewer than `FEWEST` patients.
    """

    value: np.ndarray
    by_patient: np.ndarray
    variance: np.ndarray
    images: np.ndarray
    patients: np.ndarray
    clusters: np.ndarray
    freedom: np.ndarray
    unseen: np.ndarray

    def of(self, members: Sequence[int]) -> Influence:
        """That of some of the metrics."""
        return Influence(**{name: np.asarray(value)[..., list(members)] for name, value in vars(self).items()})


def by_patient(values: np.ndarray, codes: np.ndarray, patients: int) -> np.ndarray:
    """Sums `(patients, M)` over the images of each patient of `values` `(N, M)`."""
    columns = [np.bincount(codes, column, minlength=patients) for column in values.T]
    return np.stack(columns, axis=1) if columns else np.empty((patients, 0))


def effective(weights: np.ndarray) -> np.ndarray:
    """Kish's effective number of patients `(K,)` from their weights `(P, K)`; at least 2, and 0 where there is none."""
    squares = (weights**2).sum(axis=0)
    with np.errstate(invalid="ignore"):
        found = weights.sum(axis=0) ** 2 / squares
    return np.where(squares > 0, np.maximum(found, 2.0), 0.0)


def placements(labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """AUROC of known labels and finite scores `(N,)`; each positive image's share of negatives below it, `(m,)`, and each
    negative image's share of positives above it, `(n,)`, ties counting half. Sorts once per class: O(N log N)."""
    positive, negative = scores[labels > 0.5], scores[labels <= 0.5]
    low, high = np.sort(negative), np.sort(positive)
    above = (np.searchsorted(low, positive, "left") + np.searchsorted(low, positive, "right")) / (2 * len(negative))
    below = 1 - (np.searchsorted(high, negative, "left") + np.searchsorted(high, negative, "right")) / (
        2 * len(positive)
    )
    return metrics.auroc(labels, scores), above, below


def ranked(metric: str, labels: np.ndarray, scores: np.ndarray, codes: np.ndarray, patients: int) -> Influence:
    """The influence on every label's "auroc" or "auprc".

    Args:
        metric: which of the two.
        labels: `(N, K)`, 1, 0 or NaN for unknown.
        scores: `(N, K)`; a label with a NaN score on an image with a known label is undefined.
        codes: of each image's patient, `(N,)`, see `bootstrap.patient_codes`.
        patients: their number.
    """
    one = _auroc if metric == "auroc" else _auprc
    return _stack([one(labels[:, k], scores[:, k], codes, patients) for k in range(labels.shape[1])])


def _auroc(labels: np.ndarray, scores: np.ndarray, codes: np.ndarray, patients: int) -> Influence:
    """Clustered DeLong, its two parts (of positive and of negative images) shrunk a little towards Hanley & McNeil's (1982).

    With few patients the estimated variance is now and then far too small; half a patient's worth of the variance that the
    AUROC itself implies, all images of a patient counting as one, brings the coverage to its level (benchmarks/coverage.py).
    The degrees of freedom are Satterthwaite's (1946) of the two parts.
    """
    classes = _classes(labels, codes, patients)
    if classes is None or np.isnan(scores[~np.isnan(labels)]).any():
        return _undefined(patients)
    positive, negative = classes
    theta, above, below = placements(labels, scores)
    number = np.concatenate([effective(positive[:, None]), effective(negative[:, None])])
    has, has_not = labels > 0.5, labels <= 0.5
    moved = [
        np.bincount(codes[which], (place - theta) / len(place), minlength=patients)
        for which, place in ((has, above), (has_not, below))
    ]
    scale = np.sqrt(number / (number - 1))
    psi = scale[0] * moved[0] + scale[1] * moved[1]
    parts = np.array([scale[i] ** 2 * (moved[i] ** 2).sum() for i in (0, 1)])
    if theta == 0.5 and not parts.any():  # the same output for every image: .5 whatever the images
        return _one(theta, psi, 0.0, classes, number.min(), number.min() - 1, 0.0)
    implied = np.array([2 * theta**2 / (1 + theta), theta / (2 - theta)]) - theta**2
    joint = (psi**2).sum() / parts.sum() if parts.any() else 1.0  # what patients with images of both classes add
    shrunk = (number * parts + _PSEUDO * implied / number) / (number + _PSEUDO)
    freedom = shrunk.sum() ** 2 / (shrunk**2 / (number - 1)).sum() if shrunk.any() else number.min() - 1
    return _one(theta, psi, max(joint, 0.5) * shrunk.sum(), classes, number.min(), freedom)


def _auprc(labels: np.ndarray, scores: np.ndarray, codes: np.ndarray, patients: int) -> Influence:
    classes = _classes(labels, codes, patients)
    if classes is None or np.isnan(scores[~np.isnan(labels)]).any():
        return _undefined(patients)
    known = ~np.isnan(labels)
    has = labels[known] > 0.5
    distinct, place = np.unique(scores[known], return_inverse=True)
    true = np.bincount(place, has, minlength=len(distinct))
    false = np.bincount(place, ~has, minlength=len(distinct))
    tp, fp = (np.cumsum(each[::-1])[::-1] for each in (true, false))
    precision, total = tp / (tp + fp), true.sum()
    value = float((true * precision).sum() / total)
    # an image changes the precision at its own score and at every lower one
    gain, loss = np.cumsum(true * fp / (tp + fp) ** 2), np.cumsum(true * tp / (tp + fp) ** 2)
    moved = np.where(has, precision[place] - value + gain[place], -loss[place]) / total
    number = float(min(effective(each[:, None])[0] for each in classes))
    psi = np.sqrt(number / (number - 1)) * np.bincount(codes[known], moved, minlength=patients)
    return _one(value, psi, float((psi**2).sum()), classes, number, number - 1)


def _classes(labels: np.ndarray, codes: np.ndarray, patients: int) -> tuple[np.ndarray, np.ndarray] | None:
    """How many positive and negative images each patient has, `(P,)` both; None where a class is absent."""
    found = tuple(np.bincount(codes, each, minlength=patients) for each in (labels > 0.5, labels <= 0.5))
    return (found[0], found[1]) if found[0].any() and found[1].any() else None


def decided(table: Confusion) -> dict[str, Influence]:
    """The influence on the metrics of `metrics.rates`, from each patient's own counts, parts `(P, K)`."""
    parts = [np.asarray(part, dtype=np.float64) for part in table]
    total = Confusion(*(part.sum(axis=0) for part in parts))
    values = metrics.rates(total)
    tp, fp, fn, tn = parts
    has, has_not = tp + fn, fp + tn
    rests_on = {
        "sensitivity": has,
        "specificity": has_not,
        "precision": tp + fp,
        "npv": tn + fn,
        "f1": tp + fp + fn,
        "accuracy": has + has_not,
        "prevalence": has + has_not,
    }
    moved = {name: np.zeros_like(tp) for name in values}
    step = 1e-3  # of an image: rates are smooth ratios of counts, so that central differences are exact to 1e-6
    for i, part in enumerate(parts):
        sides = [
            metrics.rates(Confusion(*(each + s * step * (i == j) for j, each in enumerate(total)))) for s in (1, -1)
        ]
        for name in values:
            moved[name] += (sides[0][name] - sides[1][name]) / (2 * step) * part
    rarer = np.where(effective(has) <= effective(has_not), has, has_not)
    return {
        name: _scaled(values[name], moved[name], rests_on.get(name, rarer), span=2.0 if name == "mcc" else 1.0)
        for name in values
    }


def image_means(values: np.ndarray, codes: np.ndarray, patients: int) -> Influence:
    """The influence on means over images of `values` `(N, M)`, NaN left out."""
    known = ~np.isnan(values)
    mean = metrics.mean_over_images(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(known, values - mean, 0.0) / known.sum(axis=0)
    return _scaled(mean, by_patient(moved, codes, patients), by_patient(known, codes, patients))


def mean(found: Influence, weights: np.ndarray | None = None, moved: np.ndarray | None = None) -> Influence:
    """The influence on the mean over the labels where the metric is defined, as one metric `(1,)`.

    Args:
        found: of each label.
        weights: of the labels `(K,)`; without them all count the same.
        moved: how each patient moves the weights, `(P, K)`, where these depend on the images.

    The degrees of freedom are Satterthwaite's, lowered by how much the labels vary together, but no fewer than those of
    the label with fewest.
    """
    use = ~np.isnan(found.value)
    share = np.where(use, 1.0 if weights is None else weights, 0.0)
    total = share.sum()
    if not total > 0:
        return _undefined(len(found.by_patient))
    share, value = share / total, float((np.nan_to_num(found.value) * share).sum() / total)
    psi = np.nan_to_num(found.by_patient) @ share
    if moved is not None:
        psi = psi + moved @ np.where(use, np.nan_to_num(found.value) - value, 0.0) / total
    unseen = share**2 * np.nan_to_num(found.unseen)
    single = share**2 * (np.nan_to_num(found.by_patient) ** 2).sum(axis=0)
    estimated = use & (single > 0) & (found.patients >= FEWEST)
    variance = float((psi**2).sum() + unseen.sum())
    freedom = float(found.freedom[use].max())
    if estimated.any():
        apart = float(single.sum() + unseen.sum())
        satterthwaite = apart**2 / (single[estimated] ** 2 / found.freedom[estimated]).sum()
        freedom = max(float(found.freedom[estimated].min()), satterthwaite * min(1.0, apart / max(variance, 1e-300)))
    images, people, clusters = (float(each[use].max()) for each in (found.images, found.patients, found.clusters))
    return _single(value, psi, variance, images, people, clusters, freedom, 0.0)


def _scaled(value: np.ndarray, moved: np.ndarray, rests_on: np.ndarray, span: float = 1.0) -> Influence:
    number, images, people = effective(rests_on), rests_on.sum(axis=0), (rests_on > 0).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        psi = np.where(np.isnan(value), np.nan, np.sqrt(number / (number - 1)) * moved)
    variance = (psi**2).sum(axis=0)
    unseen = _unseen(value, variance, people, number, span)
    return Influence(value, psi, variance, images, people, number, number - 1, unseen)


def _unseen(
    value: np.ndarray, variance: np.ndarray, patients: np.ndarray, clusters: np.ndarray, span: float = 1.0
) -> np.ndarray:
    """The variance of a share where none can be estimated, from Laplace's (x + 1) / (n + 2), n effective patients."""
    share = (clusters * (value + span - 1) / span + 1) / (clusters + 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((variance > 1e-16) & (patients >= FEWEST), 0.0, span**2 * share * (1 - share) / clusters)


def _one(
    value: float,
    psi: np.ndarray,
    variance: float,
    classes: tuple[np.ndarray, np.ndarray],
    clusters: float,
    freedom: float,
    unseen: float | None = None,
) -> Influence:
    images, patients = (float(min(count(each) for each in classes)) for count in (np.sum, np.count_nonzero))
    if unseen is None:
        one, variances, people, numbers = (np.array([each]) for each in (value, (psi**2).sum(), patients, clusters))
        unseen = float(_unseen(one, variances, people, numbers)[0])
    return _single(value, psi, variance, images, patients, clusters, freedom, unseen)


def _single(
    value: float,
    psi: np.ndarray,
    variance: float,
    images: float,
    patients: float,
    clusters: float,
    freedom: float,
    unseen: float,
) -> Influence:
    rest = (np.array([each]) for each in (variance, images, patients, clusters, freedom, unseen))
    return Influence(np.array([value]), psi[:, None], *rest)


def _undefined(patients: int) -> Influence:
    nothing, zero = np.full(1, np.nan), np.zeros(1)
    return Influence(nothing, np.full((patients, 1), np.nan), nothing, zero, zero, zero, zero, nothing)


def _stack(each: list[Influence]) -> Influence:
    return Influence(*(np.concatenate([vars(one)[name] for one in each], axis=-1) for name in vars(each[0])))


def of_labels(
    labels: np.ndarray, scores: np.ndarray, positive: np.ndarray, codes: np.ndarray, patients: int
) -> dict[str, Influence]:
    """The influence on every metric of every label, from labels, scores and positive predictions `(N, K)`."""
    table = Confusion(*(by_patient(part, codes, patients) for part in metrics.parts(labels, positive)))
    return {name: ranked(name, labels, scores, codes, patients) for name in ("auroc", "auprc")} | decided(table)


def averages(
    exclusive: bool, labels: Mapping[str, Influence], micro: Mapping[str, Influence], positives: np.ndarray
) -> dict[str, dict[str, Influence]]:
    """The influence on macro, micro and weighted averages as `metrics.averages` defines them; `positives` `(P, K)`."""
    weights = positives.sum(axis=0)
    found = {
        "macro": {name: mean(each) for name, each in labels.items()},
        "micro": dict(micro),
        "weighted": {name: mean(each, weights, positives) for name, each in labels.items()},
    }
    if exclusive:
        right, balanced = micro["sensitivity"], found["macro"]["sensitivity"]
        for average in found.values():
            average["accuracy"], average["balanced_accuracy"] = right, balanced
    return found
