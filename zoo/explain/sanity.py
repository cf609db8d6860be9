"""Do the maps depend on what the network has learned? The parameter randomisation test of Adebayo et al. 2018.

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
    """Give a network the weights it would start with: those of its layers' initialisers, drawn anew from `seed`."""
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
    """Compare maps with those of the same network, its weights made random from top to bottom.

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
    ranked, plain = [], []
    try:
        for number in range(RANDOMISATIONS):
            randomise(network, seed + number)
            for part in mapper.make(images, rows, columns):
                for before, after in zip(maps[part.index], part.maps, strict=True):
                    ranked.append(correlation(ranks(before), ranks(after)))
                    plain.append(correlation(before, after))
                advance(len(part.index))
    finally:
        network.set_weights(trained)
    return judge(mapper.method, len(maps), np.array(ranked), np.array(plain))


def judge(method: str, images: int, ranked: np.ndarray, plain: np.ndarray) -> Sanity:
    """The verdict from the correlations of all pairs, NaN where one of the maps is flat."""
    flat = int(np.isnan(ranked).sum())
    rank = float(np.nanmean(ranked)) if flat < len(ranked) else math.nan
    other = float(np.nanmean(plain)) if flat < len(ranked) else math.nan
    title, of = METHODS[method], f"rank correlation {short(rank)} over {images} map{'s' if images != 1 else ''}"
    passed: bool | None = None
    if math.isnan(rank):
        sentence = (
            f"Sanity check: the {title} maps are flat before or after the weights are randomised: nothing to compare."
        )
    elif rank < CHANGED:
        passed = True
        sentence = f"Sanity check: the {title} maps change when the weights are randomised ({of})."
    elif rank <= PARTLY:
        passed = False
        sentence = (
            f"WARNING: the {title} maps change only in part when the weights are randomised ({of}): they also show what "
            "any network would."
        )
    else:
        passed = False
        sentence = (
            f"WARNING: the {title} maps hardly change when the weights are randomised ({of}): they do not show what this "
            "network has learned."
        )
    if flat and not math.isnan(rank):
        sentence += f" {flat} of {len(ranked)} comparisons are left out: one of the two maps is flat."
    return Sanity(method, images, RANDOMISATIONS, rank, other, flat, passed, sentence)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing the mean of theirs; of the shape of `values`."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[group.reshape(values.shape)])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of two maps; NaN where one is flat."""
    a, b = (each.astype(np.float64).ravel() - each.mean(dtype=np.float64) for each in (one, other))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan
