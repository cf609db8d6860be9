"""What TRIPOD+AI, CLAIM 2024 and STARD-AI ask for beyond ranking and thresholds: utility, calibration, likelihood ratios."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import zoo.evaluation.metrics as metrics
from zoo.evaluation.bootstrap import drawn_sums, patient_codes
from zoo.evaluation.calibration import Calibration
from zoo.evaluation.calibration_fit import CalibrationFit, Smoother, distances, regressions
from zoo.evaluation.conformal import ConformalSets, conformal_sets
from zoo.evaluation.evaluate import Evaluation
from zoo.evaluation.fairness import Fairness, fairness
from zoo.evaluation.interval import UNDEFINED, Interval, interval
from zoo.evaluation.partial import MAX_FPR, partial_auroc
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.ratios import Ratios, likelihood_ratios
from zoo.evaluation.selective import Selective, selective
from zoo.evaluation.serialise import Serialisable
from zoo.evaluation.utility import THRESHOLDS, DecisionCurve, decision_curves, threshold_bins

POINTS = 40  # at which the smooth calibration curve is fitted
_CELLS = 8_000_000  # numbers in the largest table of patients, 64 MB


@dataclass(frozen=True)
class Sheet(Serialisable):
    """Measures of every label on the images of one split, with intervals over patients.

    `partial_auroc` is up to a false-positive rate of `max_fpr`, standardised; see `partial.partial_auroc`. `decision` takes
    the calibrated probabilities where there is a calibration, else those as trained. `calibration` has a row per label and
    stage, `fairness` one per group of patients and label. `conformal` is empty where these are the validation
    images themselves.
    """

    max_fpr: float
    partial_auroc: dict[str, Interval]
    ratios: tuple[Ratios, ...]
    decision: tuple[DecisionCurve, ...]
    calibration: tuple[CalibrationFit, ...]
    fairness: tuple[Fairness, ...]
    conformal: tuple[ConformalSets, ...]
    selective: tuple[Selective, ...]

    def tables(self) -> list[tuple[str, list[Any]]]:
        """Its rows by the name of their CSV file."""
        curves = [
            {"label": curve.label, **{f.name: getattr(point, f.name) for f in dataclasses.fields(point)}}
            for curve in self.decision
            for point in curve.points
        ]
        ratios = [{**vars(each), "partial_auroc": self.partial_auroc[each.label]} for each in self.ratios]
        parts: dict[str, Sequence[Any]] = {"decision": curves, "ratios": ratios, "calibration-fit": self.calibration}
        parts |= {"fairness": self.fairness, "conformal": self.conformal, "selective": self.selective}
        return [(name, list(rows)) for name, rows in parts.items()]


@dataclass(frozen=True, eq=False)
class _Counts:
    """One label's images with the label known, counted as decision curve and calibration need them.

    `stages[name]` holds the probabilities `(n,)` and their smoother's bins `(n,)`.
    """

    label: str
    y: np.ndarray
    codes: np.ndarray
    acted: np.ndarray
    stages: dict[str, tuple[np.ndarray, np.ndarray]]

    @classmethod
    def of(cls, label: str, y: np.ndarray, codes: np.ndarray, stages: dict[str, np.ndarray]) -> _Counts:
        known = ~np.isnan(y)
        found = {name: (p[known], _bins(p[known])) for name, p in stages.items()}
        acted = threshold_bins(next(reversed(found.values()))[0])
        return cls(label, y[known].astype(np.float64), codes[known], acted, found)

    def clustering(self) -> float:
        """The variance of the number of images with the label between patients, over that of as many single images; at
        least 1."""
        if not len(self.y) or self.y.min() == self.y.max():
            return 1.0
        deviation = self.y - self.y.mean()
        return max(1.0, float((np.bincount(self.codes, deviation) ** 2).sum() / (deviation**2).sum()))

    def tallies(self, patients: int) -> np.ndarray:
        """What each patient adds `(P, M)`: to the decision curve's counts, then stage by stage to counts and squared errors."""
        width = len(THRESHOLDS) + 1
        parts = [self._table(self.acted + width * (self.y > 0.5), 2 * width, patients)]
        for p, bins in self.stages.values():
            parts.append(self._table(bins + POINTS * (self.y > 0.5), 2 * POINTS, patients))
            parts.append(np.bincount(self.codes, (p - self.y) ** 2, minlength=patients)[:, None])
        return np.concatenate(parts, axis=1)

    def _table(self, columns: np.ndarray, width: int, patients: int) -> np.ndarray:
        flat = np.bincount(self.codes * width + columns, minlength=patients * width)
        return flat.reshape(patients, width).astype(np.float64)


def make_sheet(
    predictions: Predictions,
    evaluation: Evaluation,
    calibration: Calibration | None,
    validation: Predictions | None = None,
) -> Sheet:
    """Measure what `evaluation` measured, at its thresholds, with its patients drawn the same way.

    Args:
        predictions: the images of `evaluation`, which have been checked.
        evaluation: gives thresholds, precision, replicates, level and seed.
        calibration: fitted on validation images; None leaves the calibrated stage out.
        validation: images of other patients, for conformal sets; None leaves these out.
    """
    task, level = predictions.task, evaluation.level
    labels, scores = predictions.labels.astype(np.float64), predictions.scores
    positive = metrics.decisions(task, predictions.logits, evaluation.thresholds)
    codes, number = patient_codes(predictions.table["patient"])
    ratios = likelihood_ratios(labels, positive, codes, level)
    stages = {"as_trained": predictions.probabilities}
    if calibration is not None:
        stages["calibrated"] = calibration.probabilities(predictions.logits)
    counted = [
        _Counts.of(label, labels[:, k], codes, {name: p[:, k] for name, p in stages.items()})
        for k, label in enumerate(task.labels)
    ]
    drawn = _draw(counted, number, evaluation)
    curves = [sums[:, : 2 * (len(THRESHOLDS) + 1)].reshape(len(sums), 2, -1) for sums in drawn]
    return Sheet(
        max_fpr=MAX_FPR,
        partial_auroc={
            label: partial_auroc(labels[:, k], scores[:, k], codes, level=level) for k, label in enumerate(task.labels)
        },
        ratios=tuple(
            Ratios(label, *both, _inverse(evaluation.per_label[label]["precision"]))
            for label, both in zip(task.labels, ratios, strict=True)
        ),
        decision=decision_curves(
            task.labels,
            [c[0] for c in curves],
            [c[1:] for c in curves],
            [each.clustering() for each in counted],
            level,
        ),
        calibration=tuple(row for each, sums in zip(counted, drawn, strict=True) for row in _fits(each, sums, level)),
        fairness=fairness(predictions, evaluation.thresholds, level=level),
        conformal=conformal_sets(validation, predictions, level=level, seed=evaluation.seed)
        if validation is not None
        else (),
        selective=selective(predictions, evaluation.thresholds, level=level),
    )


def _draw(counted: Sequence[_Counts], patients: int, evaluation: Evaluation) -> list[np.ndarray]:
    """Each label's totals and, below them, the same in every resample `(1 + R, M)`; several labels share a pass."""
    found: list[np.ndarray] = []
    width = 2 * (len(THRESHOLDS) + 1) + len(counted[0].stages) * (2 * POINTS + 1)
    step = max(1, _CELLS // (patients * width))
    for start in range(0, len(counted), step):
        tables = [each.tallies(patients) for each in counted[start : start + step]]
        together = np.concatenate(tables, axis=1)
        sums = np.concatenate(
            [together.sum(axis=0)[None], drawn_sums(together, patients, evaluation.replicates, evaluation.seed)]
        )
        found += np.split(sums, np.cumsum([table.shape[1] for table in tables])[:-1], axis=1)
    return found


def _fits(each: _Counts, sums: np.ndarray, level: float) -> list[CalibrationFit]:
    rows, start = [], 2 * (len(THRESHOLDS) + 1)
    for stage, (p, bins) in each.stages.items():
        part = sums[:, start : start + 2 * POINTS + 1]
        start += 2 * POINTS + 1
        if len(each.y):
            measured = (
                *regressions(each.y, p, each.codes, level),
                *_distances(p, bins, part, level),
                _skill(part, level),
            )
        else:
            measured = (UNDEFINED,) * 7
        rows.append(CalibrationFit(each.label, stage, *measured))
    return rows


def _distances(p: np.ndarray, bins: np.ndarray, sums: np.ndarray, level: float) -> tuple[Interval, Interval, Interval]:
    images, positives = sums[:, :-1].reshape(len(sums), 2, POINTS).transpose(1, 0, 2)
    images = images + positives
    there = images[0] > 0
    x = np.bincount(bins, p, minlength=POINTS)[there] / images[0][there]
    smoother = Smoother.of(x, images[0][there])
    drawn = np.stack([images[1:, there], positives[1:, there]])
    return distances(smoother, images[0][there], positives[0][there], drawn, level)


def _skill(sums: np.ndarray, level: float) -> Interval:
    """1 minus the Brier score over that of the prevalence."""
    positives, images = sums[:, POINTS : 2 * POINTS].sum(axis=1), sums[:, : 2 * POINTS].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        prevalence = positives / images
        skill = 1 - sums[:, -1] / images / (prevalence * (1 - prevalence))
    skill = np.where(np.isfinite(skill), skill, np.nan)
    return interval(skill[0], skill[1:], level)


def _bins(p: np.ndarray) -> np.ndarray:
    """The bin of each probability `(n,)`, up to `POINTS` of about equally many images, equal ones together."""
    distinct, place = np.unique(p, return_inverse=True)
    if len(distinct) <= POINTS:
        return place
    edges = np.percentile(p, np.linspace(0, 100, POINTS + 1))
    return np.searchsorted(edges[1:-1], p)


def _inverse(share: Interval) -> Interval:
    value, low, high = (1 / part if part else math.inf for part in (share.value, share.high, share.low))
    return Interval(value, low, high)
