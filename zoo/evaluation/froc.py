"""Localisation: marks with scores against the boxes of lesions, as FROC and AFROC, with intervals over patients.

A mark in a lesion's box localises it, every other mark is a non-lesion mark; a lesion has the score of its highest mark, and
none, lower than any, without one (Chakraborty & Berbaum 2004, Medical Physics 31).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.evaluation.bootstrap import weight_chunks
from zoo.evaluation.interval import Interval, interval
from zoo.evaluation.metrics import auroc

RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)  # false marks per image, of which LUNA16 has these and 8


@dataclass(frozen=True, eq=False)
class Localisation:
    """One reader's marks on N images with L lesions, M of them on no lesion.

    `lesion_image` `(L,)` and `other_image` `(M,)` number the images, `lesion_score` is −inf for a lesion without a mark.
    """

    images: int
    lesion_image: np.ndarray
    lesion_score: np.ndarray
    other_image: np.ndarray
    other_score: np.ndarray

    @property
    def highest_other(self) -> np.ndarray:
        """The highest non-lesion mark of each image `(N,)`, −inf where there is none."""
        highest = np.full(self.images, -np.inf)
        np.maximum.at(highest, self.other_image, self.other_score)
        return highest


@dataclass(frozen=True)
class Froc:
    """Of one reader the share of lesions found at no more than `RATES` non-lesion marks per image, and what it rests on.

    `curve` is `froc_curve`, a pair of marks per image and share for every threshold.
    """

    label: str
    modality: str
    reader: str
    images: int
    lesions: int
    sensitivity: dict[str, Interval]
    curve: tuple[tuple[float, float], ...]


def match_marks(points: np.ndarray, scores: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match the marks on one image with its lesions.

    Args:
        points: `(M, 2)`, x and y of each mark.
        scores: `(M,)`.
        boxes: `(L, 4)`, x, y, width and height in the same frame. A point in several boxes belongs to that whose centre is
            nearest.

    Returns:
        The score of each lesion `(L,)`, −inf without a mark, and the scores of the marks in no box.
    """
    found = np.full(len(boxes), -np.inf)
    if not len(boxes) or not len(points):
        return found, scores
    corner, size = boxes[:, :2], boxes[:, 2:]
    offset = points[:, None, :] - corner
    inside = ((offset >= 0) & (offset <= size)).all(axis=2)
    distance = np.where(inside, np.linalg.norm(offset - size / 2, axis=2), np.inf)
    hit = inside.any(axis=1)
    np.maximum.at(found, distance[hit].argmin(axis=1), scores[hit])
    return found, scores[~hit]


def froc_curve(found: Localisation) -> tuple[np.ndarray, np.ndarray]:
    """Non-lesion marks per image and share of lesions found, `(T,)` each, as the threshold falls through all scores."""
    marked = found.lesion_score[np.isfinite(found.lesion_score)]
    cuts = np.unique(np.concatenate([marked, found.other_score]))[::-1]
    false, lesions = (
        len(scores) - np.searchsorted(np.sort(scores), cuts, "left")
        for scores in (found.other_score, found.lesion_score)
    )
    share = lesions / max(len(found.lesion_score), 1)
    return np.concatenate([[0.0], false / found.images]), np.concatenate([[0.0], share])


def sensitivities(
    found: Localisation, patients: np.ndarray, *, replicates: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """The greatest share of lesions found at no more than each of `RATES` non-lesion marks per image.

    Args:
        found: one reader's marks.
        patients: of the images, `(N,)`; the intervals are percentiles of a bootstrap over them.
        replicates: resamples of the patients.
        level: of the intervals, in (0, 1).
        seed: of the resampling.
    """
    value = _at_rates(found, np.ones((1, found.images)))[0]
    drawn = np.concatenate(
        [np.empty((0, len(RATES))), *(_at_rates(found, w) for w in weight_chunks(patients, replicates, seed))]
    )
    return {f"{rate:g}": interval(value[r], drawn[:, r], level) for r, rate in enumerate(RATES)}


def _at_rates(found: Localisation, weights: np.ndarray) -> np.ndarray:
    """The sensitivity at each of `RATES` `(R, 6)` where the images weigh `weights` `(R, N)`; NaN without a lesion."""
    order = np.argsort(-found.other_score, kind="stable")
    false = np.cumsum(weights[:, found.other_image[order]], axis=1)
    allowed = weights.sum(axis=1, keepdims=True) * np.array(RATES)
    # the first mark that is one too many: the threshold lies above it
    first = (false[:, None, :] <= allowed[:, :, None] + 1e-9).sum(axis=2)
    limit = np.concatenate([found.other_score[order], [-np.inf]])[first]
    own = weights[:, found.lesion_image]
    with np.errstate(invalid="ignore"):
        hits = [(own * (found.lesion_score > limit[:, [r]])).sum(axis=1) for r in range(len(RATES))]
        return np.asarray(np.stack(hits, axis=1) / own.sum(axis=1, keepdims=True))


def afroc_rows(found: Localisation) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the AFROC compares, as images of two classes.

    The area under the AFROC is the AUROC of lesions against the images without lesions, of which each has the score of its
    highest mark; what is unmarked ties lowest (the JAFROC figure of merit; Chakraborty & Berbaum 2004).

    Returns:
        Labels, finite scores and images, `(L + N₀,)` each: the lesions, then the images without.
    """
    without = np.setdiff1d(np.arange(found.images), found.lesion_image)
    scores = np.concatenate([found.lesion_score, found.highest_other[without]])
    known = scores[np.isfinite(scores)]
    lowest = float(known.min()) - 1 if len(known) else 0.0
    labels = np.repeat([1.0, 0.0], [len(found.lesion_score), len(without)])
    return labels, np.where(np.isfinite(scores), scores, lowest), np.concatenate([found.lesion_image, without])


def afroc(found: Localisation) -> float:
    """The area under the AFROC: see `afroc_rows`. NaN without a lesion or without an image that has none."""
    labels, scores, _ = afroc_rows(found)
    return auroc(labels, scores)
