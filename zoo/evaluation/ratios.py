"""Likelihood ratios, with intervals over patients."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.interval import UNDEFINED, Interval, quantile
from zoo.evaluation.metrics import Confusion, confusion, parts
from zoo.evaluation.serialise import Serialisable


@dataclass(frozen=True)
class Ratios(Serialisable):
    """What a prediction of one label says, at its threshold.

    `lr_positive` = sensitivity / (1 − specificity) and `lr_negative` = (1 − sensitivity) / specificity multiply the odds of
    the label where the prediction is positive or negative. `number_needed` = 1 / PPV is the number of images predicted
    positive that are looked at to find one with the label, at the prevalence of these images. Infinite (null in JSON)
    where it divides by zero images.
    """

    label: str
    lr_positive: Interval
    lr_negative: Interval
    number_needed: Interval


def likelihood_ratios(
    labels: np.ndarray, positive: np.ndarray, codes: np.ndarray, level: float = 0.95
) -> list[tuple[Interval, Interval]]:
    """The positive and the negative likelihood ratio of each label.

    The intervals are symmetric on the logarithm (Simel, Samsa & Matchar 1991, Journal of Clinical Epidemiology 44), with the
    variance taken between patients by linearisation, at the t quantile of the patients with the rarer class; with one image
    of each patient it is theirs. Where a count that divides is zero, .5 is added to each of the four, and the variance is
    that of images multiplied by their number per patient.

    Args:
        labels: `(N, K)`, 1, 0 or NaN.
        positive: bool `(N, K)`, the positive predictions.
        codes: the patient of each image as a number, `(N,)`; see `bootstrap.patient_codes`.
        level: of the intervals, in (0, 1).
    """
    each = parts(labels, positive)
    table = confusion(labels, positive)
    found = []
    for k in range(labels.shape[1]):
        tallies = np.stack([np.bincount(codes, part[:, k]) for part in each])
        counts = Confusion(*(part[k].astype(float) for part in table))
        found.append(
            (
                _ratio(tallies[0], tallies[2], tallies[1], tallies[3], level),
                _ratio(tallies[2], tallies[0], tallies[3], tallies[1], level),
            )
            if counts.tp + counts.fn and counts.fp + counts.tn
            else (UNDEFINED, UNDEFINED)
        )
    return found


def _ratio(hit: np.ndarray, other: np.ndarray, false: np.ndarray, rest: np.ndarray, level: float) -> Interval:
    """The share of `hit` among positives over that of `false` among negatives, from each patient's counts `(P,)`."""
    a, b, c, d = (float(part.sum()) for part in (hit, other, false, rest))
    if a and c:
        share, alarm = a / (a + b), c / (c + d)
        # what each patient adds to the logarithm, in first order
        added = (hit - share * (hit + other)) / a - (false - alarm * (false + rest)) / c
        variance = float((added**2).sum())
    else:
        share, alarm = (a + 0.5) / (a + b + 1), (c + 0.5) / (c + d + 1)
        images = hit + other + false + rest
        clustering = float((images**2).sum() / images.sum())  # as if all images of a patient were alike
        variance = clustering * (1 / (a + 0.5) - 1 / (a + b + 1) + 1 / (c + 0.5) - 1 / (c + d + 1))
    rarer = int(min(np.count_nonzero(hit + other), np.count_nonzero(false + rest)))
    half, centre = quantile(level, rarer - 1) * math.sqrt(variance), math.log(share / alarm)
    value = math.exp(centre) if a and c else 0.0 if c else math.inf if a else math.nan
    low, high = math.exp(centre - half) if a else 0.0, math.exp(centre + half) if c else math.inf
    return Interval(value, low, high) if not math.isnan(value) else UNDEFINED
