"""Conformal prediction sets: for each label yes, no or both, right in at least 1 − alpha of the patients to come.

Split conformal prediction (Lei et al. 2018, Journal of the American Statistical Association 113; Angelopoulos & Bates 2021),
for positive and negative images apart (Vovk 2012), so that a rare finding is not left out. Images of a patient are not
exchangeable: one image of each validation patient is drawn (Dunn, Wasserman & Ramdas 2022), which keeps the guarantee for any
image of a new patient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.influence import image_means
from zoo.evaluation.interval import Interval, intervals
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.serialise import Serialisable

ALPHA = 0.1


@dataclass(frozen=True)
class ConformalSets(Serialisable):
    """One label's sets: "yes" belongs to them from the score `lowest_yes` on, "no" up to `highest_no` (a logit; infinite, null
    in JSON, where the validation images are too few to leave it out).

    `covered_positive` and `covered_negative` are the shares of positive and negative test images whose set holds the label,
    `uncertain` that of all test images whose set is not one of the two: those to refer to a reader.
    """

    label: str
    alpha: float
    lowest_yes: float
    highest_no: float
    covered_positive: Interval
    covered_negative: Interval
    uncertain: Interval


def conformal_sets(
    validation: Predictions, test: Predictions, *, alpha: float = ALPHA, level: float = 0.95, seed: int = 0
) -> tuple[ConformalSets, ...]:
    """Calibrate on validation patients, and measure the sets on test images.

    Args:
        validation: images of patients that are not in `test`.
        test: images to measure on.
        alpha: the error rate that is allowed for, in (0, 1).
        level: of the intervals, in (0, 1).
        seed: of the image that is drawn of each patient.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(validation))
    kept, _ = patient_codes(validation.table["patient"])
    scores, labels = validation.scores.astype(np.float64), validation.labels
    ends = []
    for k in range(test.task.outputs):
        yes, no = (_once(scores[order, k], kept[order], labels[order, k] == value) for value in (1, 0))
        ends.append((-_upper(-yes, alpha), _upper(no, alpha)))
    lowest, highest = np.array(ends).T
    has_yes, has_no = test.scores >= lowest, test.scores <= highest
    known = ~np.isnan(test.labels)
    values = np.concatenate(
        [
            np.where(test.labels == 1, has_yes, np.nan),
            np.where(test.labels == 0, has_no, np.nan),
            np.where(known, has_yes == has_no, np.nan),
        ],
        axis=1,
    )
    codes, number = patient_codes(test.table["patient"])
    found = intervals({"accuracy": image_means(values, codes, number)}, level)["accuracy"]
    outputs = test.task.outputs
    return tuple(
        ConformalSets(label, alpha, float(lowest[k]), float(highest[k]), *found[k::outputs])
        for k, label in enumerate(test.task.labels)
    )


def _once(scores: np.ndarray, codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """The score of the first of each patient's chosen images."""
    _, first = np.unique(codes[chosen], return_index=True)
    return np.asarray(scores[chosen][first])


def _upper(scores: np.ndarray, alpha: float) -> float:
    """The bound that a new score exceeds with probability `alpha` at most; infinite where there are too few."""
    place = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else math.inf
