"""How far readers agree beyond chance: Cohen's and Fleiss' kappa and Gwet's AC1, with intervals over patients.

All three are (p_a − p_e) / (1 − p_e): the share of agreement, less what chance would give. They differ in chance. Kappa takes
it from how often each category is used, and so falls where nearly all images are of one category, however well the readers
agree (Feinstein & Cicchetti 1990); AC1 does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from zoo.evaluation.bootstrap import mean_replicates, patient_codes
from zoo.evaluation.interval import Interval, interval, quantile, wilson
from zoo.evaluation.serialise import Serialisable


@dataclass(frozen=True)
class Pair:
    """Two readers: Cohen's kappa, the share of images with the same rating, and the images that both rated."""

    first: str
    second: str
    kappa: Interval
    agree: Interval
    images: int


@dataclass(frozen=True)
class Agreement(Serialisable):
    """How far several readers agree. `images` have at least two ratings; NaN where chance alone agrees fully."""

    images: int
    patients: int
    agree: Interval
    fleiss: Interval
    ac1: Interval
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class PanelAgreement:
    """Each reader, and a model in his place, against the majority of the other readers.

    `readers[name]` is Cohen's kappa of the reader with the panel of the others, `model[name]` that of the model with the same
    panel on the same images, `difference` the mean over readers of the model's minus the reader's; None without a model.
    Images where the panel is evenly divided are left out; `images` is how many the reader who has the fewest keeps.
    """

    images: int
    readers: dict[str, Interval]
    model: dict[str, Interval] | None
    difference: Interval | None


def cohen_kappa(first: np.ndarray, second: np.ndarray) -> float:
    """Cohen's kappa of two ratings `(N,)` of the same images (Cohen 1960, Educational and Psychological Measurement 20).

    Ratings are categories as numbers, NaN where there is none. NaN where chance alone agrees fully, or no image has both.
    """
    ratings = np.column_stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    return float(_kappa(_means(_pair_columns(ratings, _categories(ratings))))[0])


def fleiss_kappa(ratings: np.ndarray) -> float:
    """Fleiss' kappa of the ratings `(N, R)` of R readers (Fleiss 1971, Psychological Bulletin 76).

    Ratings are categories as numbers, NaN where a reader gave none; the readers need not be the same for each image. Where
    their number differs, p_a is the mean over images with two or more and the categories' shares are means over images
    (Gwet 2014, Handbook of Inter-Rater Reliability, 4th ed., section 2.5).
    """
    return float(_chance_corrected(_means(_image_columns(ratings)))[0][0])


def gwet_ac1(ratings: np.ndarray) -> float:
    """Gwet's AC1 of the ratings `(N, R)` (Gwet 2008, British Journal of Mathematical and Statistical Psychology 61).

    Chance is Σ π(1 − π) / (q − 1) over the q categories that occur, at least two; π is a category's share. See
    `fleiss_kappa` for what the ratings are.
    """
    return float(_chance_corrected(_means(_image_columns(ratings)))[1][0])


def agreement(
    ratings: np.ndarray,
    patients: np.ndarray,
    readers: tuple[str, ...],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Agreement:
    """Agreement of all readers together and of every two, with percentile intervals of a bootstrap over patients.

    Args:
        ratings: `(N, R)`, categories as numbers, NaN where a reader gave none.
        patients: `(N,)`.
        readers: the R names.
        replicates: resamples of the patients.
        level: of the intervals, in (0, 1).
        seed: of the resampling.
    """
    several = (~np.isnan(ratings)).sum(axis=1) > 1
    ratings, patients = ratings[several], np.asarray(patients)[several]
    categories, couples = _categories(ratings), list(combinations(range(len(readers)), 2))
    columns = [_image_columns(ratings), *(_pair_columns(ratings[:, pair], categories) for pair in couples)]
    drawn = np.split(
        mean_replicates(np.concatenate(columns, axis=1), patients, replicates, seed),
        np.cumsum([each.shape[1] for each in columns])[:-1],
        axis=1,
    )
    whole, number = _means(columns[0]), patient_codes(patients)[1]
    values, resampled = _chance_corrected(whole), _chance_corrected(drawn[0])
    chance = [float(each[0]) for each in _chance(whole[:, 1:])]
    pairs = []
    for (i, j), own, replicate in zip(couples, columns[1:], drawn[1:], strict=True):
        mean = _means(own)
        rated = ~np.isnan(ratings[:, [i, j]]).any(axis=1)
        people = patient_codes(patients[rated])[1]
        expected = float(np.prod(np.split(mean[0, 1:], 2), axis=0).sum())
        kappa = _bounded(_kappa(mean)[0], _kappa(replicate), level, people, expected)
        agree = _bounded(mean[0, 0], replicate[:, 0], level, people)
        pairs.append(Pair(readers[i], readers[j], kappa, agree, int(rated.sum())))
    return Agreement(
        images=len(ratings),
        patients=number,
        agree=_bounded(whole[0, 0], drawn[0][:, 0], level, number),
        fleiss=_bounded(values[0][0], resampled[0], level, number, chance[0]),
        ac1=_bounded(values[1][0], resampled[1], level, number, chance[1]),
        pairs=tuple(pairs),
    )


def panel_agreement(
    ratings: np.ndarray,
    model: np.ndarray | None,
    patients: np.ndarray,
    readers: tuple[str, ...],
    *,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> PanelAgreement:
    """Leave one reader out at a time, and measure him and the model against the majority of the others.

    Args:
        ratings: `(N, R)`, 1, 0 or NaN where a reader gave none; at least three readers.
        model: `(N,)`, the model's decisions, 1, 0 or NaN.
        patients: `(N,)`.
        readers: the R names.
        replicates: resamples of the patients.
        level: of the intervals, in (0, 1).
        seed: of the resampling.
    """
    columns, kept = [], []
    for j in range(len(readers)):
        votes = np.delete(ratings, j, axis=1)
        balance = np.nansum(2 * votes - 1, axis=1)
        panel = np.where(balance == 0, np.nan, balance > 0)
        rivals = [ratings[:, j]] if model is None else [np.where(np.isnan(model), np.nan, ratings[:, j]), model]
        both = np.column_stack([panel, *rivals])
        both[np.isnan(both).any(axis=1)] = np.nan
        columns += [_pair_columns(both[:, [0, k]], np.array([0.0, 1.0])) for k in range(1, both.shape[1])]
        kept.append(int((~np.isnan(both).any(axis=1)).sum()))
    drawn = mean_replicates(np.concatenate(columns, axis=1), np.asarray(patients), replicates, seed)
    parts = np.split(drawn, len(columns), axis=1)
    found = [(_kappa(_means(own))[0], _kappa(part)) for own, part in zip(columns, parts, strict=True)]
    step = 1 if model is None else 2
    own, rival = found[::step], found[1::step]
    difference = None
    if model is not None:
        value, replicate = (np.mean([b[k] - a[k] for a, b in zip(own, rival, strict=True)], axis=0) for k in (0, 1))
        difference = interval(value, replicate, level)
    sides = [{name: interval(*each, level) for name, each in zip(readers, side, strict=False)} for side in (own, rival)]
    return PanelAgreement(min(kept), sides[0], None if model is None else sides[1], difference)


def _bounded(value: float, replicates: np.ndarray, level: float, patients: int, chance: float = 0.0) -> Interval:
    """The percentile interval. Full agreement is repeated by every resample: its lower bound is that of Wilson (1927) for as
    many agreeing images as there are patients, less what chance would give."""
    found = interval(value, replicates, level)
    if found.low < found.high or not value > 1 - 1e-12 or patients < 2:
        return found
    bound = wilson(1.0, patients, quantile(level, math.inf))[0]
    return Interval(1.0, (bound - chance) / (1 - chance), 1.0)


def _categories(ratings: np.ndarray) -> np.ndarray:
    return np.unique(ratings[~np.isnan(ratings)])


def _image_columns(ratings: np.ndarray) -> np.ndarray:
    """Of each image the share of pairs of its ratings that agree, then the share of each category, `(N, 1 + q)`."""
    ratings = np.asarray(ratings, dtype=np.float64)
    counts = (ratings[:, :, None] == _categories(ratings)).sum(axis=1)
    total = counts.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        agree = (counts * (counts - 1)).sum(axis=1, keepdims=True) / (total * (total - 1))
        return np.concatenate([agree, counts / total], axis=1)


def _pair_columns(ratings: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Of each image whether both ratings agree, and each one's category, `(N, 1 + 2q)`; NaN where one is missing."""
    chosen = (ratings[:, :, None] == categories).astype(np.float64).reshape(len(ratings), -1)
    columns = np.concatenate([ratings[:, :1] == ratings[:, 1:], chosen], axis=1)
    columns[np.isnan(ratings).any(axis=1)] = math.nan
    return columns


def _means(columns: np.ndarray) -> np.ndarray:
    """Means of the columns, NaN left out, as one row `(1, M)`."""
    known = ~np.isnan(columns)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nansum(columns, axis=0, keepdims=True) / known.sum(axis=0, keepdims=True))


def _kappa(means: np.ndarray) -> np.ndarray:
    """Cohen's kappa `(R,)` from means of `_pair_columns`."""
    first, second = np.split(means[:, 1:], 2, axis=1)
    return _beyond(means[:, 0], (first * second).sum(axis=1))


def _chance_corrected(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fleiss' kappa and AC1, each `(R,)`, from means of `_image_columns`."""
    fleiss, ac1 = _chance(means[:, 1:])
    return _beyond(means[:, 0], fleiss), _beyond(means[:, 0], ac1)


def _chance(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What chance gives by Fleiss and by Gwet, each `(R,)`, from the categories' shares `(R, q)`."""
    fleiss = (shares**2).sum(axis=1)
    return fleiss, (1 - fleiss) / max(shares.shape[1] - 1, 1)


def _beyond(agree: np.ndarray, chance: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(chance < 1 - 1e-12, (agree - chance) / (1 - chance), math.nan)
