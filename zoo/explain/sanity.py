"""Do heat maps depend on what the network has learned? The parameter randomisation test of Adebayo et al. 2018.

Adebayo et al., Sanity checks for saliency maps, arXiv:1810.03292: a map that stays the same when the weights are made random
shows edges of the image, not what the network knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.evaluation.interval import short
from zoo.explain.maps import METHODS, Mapper

RANDOMISATIONS = 3  # networks: one alone can agree with the trained one by luck
CHANGED, PARTLY = 0.3, 0.6  # rank correlations: below, the maps change; above the second they hardly do (our choice)


@dataclass(frozen=True)
class Sanity:
    """How much maps of a randomised network resemble those of the trained one.

    `rank_correlation` (Spearman) and `correlation` (Pearson) are means over `images` maps and `randomisations` networks,
    pixel against pixel; `flat` counts the pairs of which one map is the same everywhere, which have neither.
    """

    method: str
    images: int
    randomisations: int
    rank_correlation: float
    correlation: float
    flat: int
    passed: bool | None
    sentence: str


def randomise(network: Any, seed: int) -> None:
    """Re-initialise all weights of a network from `seed`."""
    import keras

    keras.utils.set_random_seed(seed)
    network.set_weights(type(network).from_config(network.get_config()).get_weights())


def check(
    network: Any,
    mapper: Mapper,
    images: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    maps: np.ndarray,
    seed: int,
    advance: Callable[[int], None] = lambda count: None,
) -> Sanity:
    """Compare maps with those of the same network after randomising all of its weights.

    Args:
        network: the trained network; has its own weights back afterwards.
        mapper: what made `maps` from it.
        images: images `(M, S, S)`.
        rows: the image of each map, `(N,)`.
        columns: the label of each map, `(N,)`.
        maps: `(N, S, S)` of the trained network.
        seed: of the randomisation.
        advance: told how many maps are done.
    """
    trained = network.get_weights()
    found: list[tuple[float, float]] = []
    try:
        for number in range(RANDOMISATIONS):
            randomise(network, seed + number)
            for part in mapper.make(images, rows, columns):
                found += [correlations(*pair) for pair in zip(maps[part.index], part.maps, strict=True)]
                advance(len(part.index))
    finally:
        network.set_weights(trained)
    return summarise(mapper.method, len(maps), *np.array(found).T)


def summarise(method: str, images: int, ranked: np.ndarray, plain: np.ndarray) -> Sanity:
    """The result from the correlations of all pairs of maps, NaN where one of the two is flat."""
    flat = int(np.isnan(ranked).sum())
    rank = float(np.nanmean(ranked)) if flat < len(ranked) else math.nan
    other = float(np.nanmean(plain)) if flat < len(ranked) else math.nan
    title, of = METHODS[method], f"rank correlation {short(rank)} over {images} map{'s' if images != 1 else ''}"
    if math.isnan(rank):
        sentence = (
            f"Sanity check: the {title} maps are flat before or after randomising the weights: nothing to compare."
        )
        return Sanity(method, images, RANDOMISATIONS, rank, other, flat, None, sentence)
    passed = rank < CHANGED
    if passed:
        sentence = f"Sanity check: the {title} maps change when the weights are randomised ({of})."
    else:
        change, so = ("change only in part", "they also show what any network would")
        if rank > PARTLY:
            change, so = ("hardly change", "they do not show what this network has learned")
        sentence = f"WARNING: the {title} maps {change} when the weights are randomised ({of}): {so}."
    if flat:
        sentence += f" {flat} of {len(ranked)} comparisons are left out: one of the two maps is flat."
    return Sanity(method, images, RANDOMISATIONS, rank, other, flat, passed, sentence)


def correlations(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Rank correlation (Spearman) and correlation (Pearson) of two maps, pixel against pixel; NaN where one is flat."""
    from scipy import stats

    a, b = (each.astype(np.float64).ravel() for each in (one, other))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return math.nan, math.nan
    return float(stats.spearmanr(a, b).statistic), float(stats.pearsonr(a, b).statistic)
