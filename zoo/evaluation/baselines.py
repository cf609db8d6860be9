"""Baselines that never see an image: a model of the metadata alone, and the prevalence.

A classifier must beat them to have learnt anything from the pixels. Acquisition shortcuts are strong in chest X-rays (Zech et
al. 2018, PLOS Medicine 15(11)): view, age and the number of earlier visits are related to the findings, and a network may read
them off the image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

import zoo.evaluation.metrics as metrics
from zoo.core.errors import DataError
from zoo.core.tasks import Task
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.comparison import compare, difference_of, measure, minus
from zoo.evaluation.influence import Influence, image_means, mean, ranked
from zoo.evaluation.interval import Interval, spread_interval
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

FEATURES = ("age", "sex", "view", "follow_up")
_KNOTS = (0.05, 0.275, 0.5, 0.725, 0.95)  # quantiles of the five knots (Harrell, Regression Modeling Strategies, 2.4.6)
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Baseline(Serialisable):
    """What a guess reaches that never sees an image, from the `features` of the metadata or, without any, the prevalence.

    `auroc`, `auprc` and `brier` are means over the labels where they are defined (the Brier score of a multiclass task is
    the mean over its classes, each against the rest). `difference` is the model's macro AUROC minus the baseline's, paired over
    the patients (see `comparison`); None where it is undefined. `beaten`: its interval lies above 0; None without an interval.
    `brier_difference` is the model's mean Brier score, of its probabilities as trained, minus the baseline's, paired
    likewise: above 0 the model is worse. `calibrated_brier_difference` is the same of its calibrated probabilities, None where
    there are none.
    """

    name: Literal["metadata only", "prevalence"]
    features: tuple[str, ...]
    auroc: Interval
    auprc: Interval
    brier: Interval
    difference: Interval | None
    beaten: bool | None
    brier_difference: Interval
    calibrated_brier_difference: Interval | None = None

    @property
    def worse_brier(self) -> bool:
        """Whether the model's Brier score is clearly worse than the baseline's, as it is used: calibrated where it can be."""
        return (self.calibrated_brier_difference or self.brier_difference).low > 0


def baselines(
    training: pd.DataFrame,
    test: Predictions,
    *,
    calibrated: np.ndarray | None = None,
    level: float = 0.95,
) -> tuple[Baseline, ...]:
    """Measure the baselines on the images of `test`, with intervals over patients and the model's lead.

    Args:
        training: the images the model was trained on: age, sex, view and follow_up as far as known, and per label of the
            task the column label:NAME, 1, 0 or missing; one half, an uncertain label, counts as missing.
        test: the model's predictions, whose table has the same metadata.
        calibrated: the model's calibrated probabilities `(N, K)` in [0, 1], where there are any.
        level: of the intervals, in (0, 1).

    Returns:
        "metadata only" of all features, unless no metadata is known, and "prevalence". Where one feature by itself ranks
        these images better than all together (its relation to the labels held, that of another did not), its baseline comes
        first: a lead over a baseline that failed is no sign of having learnt anything.

    Raises:
        DataError: `training` lacks the column of a label or has no images; there is nothing to test on.
    """
    test.check("test predictions")
    used = shared_features(training, test.table)
    prevalence = _baseline("prevalence", (), _prevalence_predictions(training, test), test, calibrated, level)
    if not used:
        return (prevalence,)
    candidates = [used, *((name,) for name in used if len(used) > 1)]
    scored = {names: metadata_predictions(training, test, names) for names in candidates}
    auroc = {names: metrics.mean_auroc(p.task, p.labels, p.logits) for names, p in scored.items()}
    best = max(candidates, key=lambda names: np.nan_to_num(auroc[names], nan=-1.0))  # of equals the first, which is all
    shown = dict.fromkeys((best, used))
    metadata = [_baseline("metadata only", names, scored[names], test, calibrated, level) for names in shown]
    return (*metadata, prevalence)


def shared_features(training: pd.DataFrame, images: pd.DataFrame) -> tuple[str, ...]:
    """Those of `FEATURES` that are not the same on every training image, and known of some image of either table."""
    both = [name for name in FEATURES if name in training.columns and name in images.columns]
    return tuple(n for n in both if training[n].nunique(dropna=False) > 1 and images[n].notna().any())


def metadata_predictions(
    training: pd.DataFrame, images: Predictions, features: Sequence[str] | None = None
) -> Predictions:
    """Score images by a logistic regression on their metadata alone, fitted per label (multinomial for multiclass).

    Age enters as a cubic spline, follow-up as log(1 + number of the visit), each with an indicator where it is missing
    (and the median filled in); sex and view by value, "unknown" being one. The regression is scikit-learn's, with its L2
    penalty (C = 1) on standardised features. An image with an unknown label is left out for that label; a label with one
    class in training gets the same logit on every image.

    Args:
        training: as for `baselines`.
        images: whose images to score; its logits are not used.
        features: some of `shared_features`; without them all of these.

    Raises:
        DataError: `training` lacks the column of a label, or no image has a metadata column that varies in training.
    """
    from sklearn.linear_model import LogisticRegression

    labels = _training_labels(training, images.task)
    used = shared_features(training, images.table) if features is None else tuple(features)
    if not used:
        raise DataError(
            f"there is no metadata to predict from: none of {', '.join(FEATURES)} varies over the training images."
        )
    known, scored = _design(training, images.table, used)
    logits = _constant_logits(images.task, labels, len(images))
    if images.task.exclusive:
        rows = (labels > 0.5).sum(axis=1) == 1
        classes = labels[rows].argmax(axis=1)
        if len(np.unique(classes)) > 1 and known.size:
            model = LogisticRegression(max_iter=2000).fit(known[rows], classes)
            logits[:, model.classes_] = model.predict_log_proba(scored)
    else:
        for k in range(images.task.outputs):
            rows = ~np.isnan(labels[:, k])
            if len(np.unique(labels[rows, k])) > 1 and known.size:
                model = LogisticRegression(max_iter=2000).fit(known[rows], labels[rows, k] > 0.5)
                logits[:, k] = model.decision_function(scored)
    return Predictions(images.task, images.table, images.labels, logits)


def _training_labels(training: pd.DataFrame, task: Task) -> np.ndarray:
    columns = [f"label:{label}" for label in task.labels]
    missing = [c for c in columns if c not in training.columns]
    if missing:
        raise DataError(f"the table of training images lacks the columns {', '.join(missing)}.")
    if training.empty:
        raise DataError("the table of training images has no rows.")
    labels = training[columns].to_numpy(dtype=np.float64)
    return np.where(labels == 0.5, np.nan, labels)


def _prevalence_predictions(training: pd.DataFrame, images: Predictions) -> Predictions:
    logits = _constant_logits(images.task, _training_labels(training, images.task), len(images))
    return Predictions(images.task, images.table, images.labels, logits)


def _constant_logits(task: Task, labels: np.ndarray, images: int) -> np.ndarray:
    """The training prevalence as logits `(images, K)`; where that is 0 or 1, half an image is added to each side."""
    positives, known = (labels > 0.5).sum(axis=0), (~np.isnan(labels)).sum(axis=0)
    extreme = (positives == 0) | (positives == known)
    share = (positives + 0.5 * extreme) / (known + extreme)
    logits = np.log(share) if task.exclusive else np.log(share / (1 - share))
    return np.tile(logits, (images, 1))


def _design(training: pd.DataFrame, images: pd.DataFrame, used: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features of the training images and of those to score; everything is learnt from training."""
    blocks = [
        _number(training[name], images[name], spline=name == "age")
        if name in ("age", "follow_up")
        else _levels(training[name], images[name])
        for name in used
    ]
    known, scored = (np.concatenate([block[i] for block in blocks], axis=1) for i in (0, 1))
    varying = known.std(axis=0) > 1e-9
    known, scored = known[:, varying], scored[:, varying]
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    return (known - mean) / deviation, (scored - mean) / deviation


def _number(training: pd.Series, images: pd.Series, spline: bool) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.preprocessing import SplineTransformer

    raw = [pd.to_numeric(s, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan) for s in (training, images)]
    missing = [~np.isfinite(values) for values in raw]
    if missing[0].all():  # nothing to learn from
        return np.zeros((len(raw[0]), 1)), np.zeros((len(raw[1]), 1))
    median = np.median(raw[0][~missing[0]])
    filled = [np.where(gone, median, values) for gone, values in zip(missing, raw, strict=True)]
    if spline:
        knots = np.unique(np.quantile(filled[0][~missing[0]], _KNOTS))
        # an age beyond those of training counts as the nearest of them
        filled = [np.clip(values, filled[0].min(), filled[0].max())[:, None] for values in filled]
        if len(knots) > 1:
            basis = SplineTransformer(degree=3, knots=knots[:, None], extrapolation="linear", include_bias=False)
            filled = [basis.fit(filled[0]).transform(values) for values in filled]
    else:
        filled = [np.log1p(np.clip(values, 0, None))[:, None] for values in filled]
    parts = [np.concatenate([f, gone[:, None]], axis=1) for f, gone in zip(filled, missing, strict=True)]
    return parts[0], parts[1]


def _levels(training: pd.Series, images: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """One column per value seen in training; a value not seen there counts as unknown."""
    known, scored = (s.astype(str).mask(s.isna() | (s.astype(str) == ""), _UNKNOWN) for s in (training, images))
    levels = sorted(known.unique())
    scored = scored.where(scored.isin(levels), _UNKNOWN)
    columns = np.array(levels, dtype=object)
    return known.to_numpy()[:, None] == columns, scored.to_numpy()[:, None] == columns


def _baseline(
    name: Literal["metadata only", "prevalence"],
    used: tuple[str, ...],
    baseline: Predictions,
    model: Predictions,
    calibrated: np.ndarray | None,
    level: float,
) -> Baseline:
    own = measure(name, baseline)
    found = compare(measure("the network", model), own, level=level).overall.difference
    codes, patients = patient_codes(model.table["patient"])
    auprc = mean(ranked("auprc", baseline.labels, baseline.scores, codes, patients))
    brier = _brier(baseline.labels, baseline.probabilities, codes, patients)
    minus_brier = [
        difference_of(
            name, (math.nan, math.nan), mean(minus(_brier(model.labels, each, codes, patients), brier)), level=level
        )
        for each in (model.probabilities, *([] if calibrated is None else [calibrated]))
    ]
    return Baseline(
        name,
        used,
        spread_interval("auroc", mean(own.labels), 0, level),
        spread_interval("auprc", auprc, 0, level),
        spread_interval("brier", mean(brier), 0, level),
        difference=None if np.isnan(found.value) else found,
        beaten=None if np.isnan(found.low) else found.low > 0,
        brier_difference=minus_brier[0].difference,
        calibrated_brier_difference=minus_brier[1].difference if calibrated is not None else None,
    )


def _brier(labels: np.ndarray, probabilities: np.ndarray, codes: np.ndarray, patients: int) -> Influence:
    """The influence on the mean squared difference of probability and label (Brier 1950), of each label."""
    return image_means((probabilities - labels) ** 2, codes, patients)
