"""Localisation scores of heat maps against radiologists' boxes, beside baselines that need no network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.interval import Interval, mean_intervals

THRESHOLDS = (0.25, 0.5, 0.75)  # of the map's maximum
TOLERANCE = 15 / 224  # of the image's side: the 15 pixels of Zhang et al. 2018, arXiv:1608.00507, on their 224
SIGMA = 0.25  # of the image's side: the centre baseline's standard deviation
DRAWS = 10  # random maps per image, of which the mean counts
ALL = "all"
NAMES = {"centre": "a blob in the centre of the image", "random": "smooth noise"}


@dataclass(frozen=True, eq=False)
class Scores:
    """One method's scores: `pointing` and `energy` `(N,)`, `iou` `(N, T)` at the thresholds; NaN where undefined."""

    pointing: np.ndarray
    energy: np.ndarray
    iou: np.ndarray


@dataclass(frozen=True)
class LocalisationRow:
    """One method on the images of one label, or of all: means with intervals, `iou` by threshold.

    `energy` is the mean over `energy_images` of the `images`: those where it is defined for every method, so that all are
    measured on the same ones. A map of zeros has none.
    """

    label: str
    method: str
    boxes: int
    images: int
    energy_images: int
    pointing: Interval
    energy: Interval
    iou: dict[str, Interval]


@dataclass(frozen=True)
class Localisation:
    """All rows, the method's own first in each label, and sentences on what they mean.

    `tolerance` and `sigma` are fractions of the image's side.
    """

    thresholds: tuple[float, ...]
    tolerance: float
    sigma: float
    rows: tuple[LocalisationRow, ...]
    notes: tuple[str, ...]


def box_mask(boxes: np.ndarray, size: int) -> np.ndarray:
    """The union of boxes as bool `(size, size)`: pixels whose centre lies in one, and the pixel of each box's own centre.

    Args:
        boxes: `(M, 4)`, x, y, width and height in fractions of the image.
        size: the image's side in pixels.
    """
    mask = np.zeros((size, size), dtype=bool)
    centres = (np.arange(size) + 0.5) / size
    for x, y, width, height in boxes:
        rows = (centres >= y) & (centres <= y + height)
        columns = (centres >= x) & (centres <= x + width)
        mask |= rows[:, None] & columns
        middle = [min(max(int(c * size), 0), size - 1) for c in (y + height / 2, x + width / 2)]
        mask[middle[0], middle[1]] = True
    return mask


def pointing(heat: np.ndarray, boxes: np.ndarray, tolerance: float = TOLERANCE) -> float:
    """The pointing game (Zhang et al. 2018, arXiv:1608.00507) on one map `(S, S)`: 1 where its maximum lies in a box.

    A maximum no farther than `tolerance`, in fractions of the image's side, from a box counts as in it. Where several
    pixels share the maximum, the share of them that hit; 0 where the map is zero everywhere and points nowhere.
    """
    size = len(heat)
    if heat.max() <= 0:
        return 0.0
    points = (np.argwhere(heat == heat.max())[:, ::-1] + 0.5) / size  # x, y
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    outside = np.maximum(np.maximum(low - points[:, None], points[:, None] - high), 0)
    distance = np.hypot(outside[..., 0], outside[..., 1]).min(axis=1)
    return float((distance <= tolerance + 1e-9).mean())


def energy(heat: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's sum that lies in the boxes (Wang et al. 2020, Score-CAM, arXiv:1910.01279); NaN for a zero map."""
    total = float(heat.sum(dtype=np.float64))
    return float(heat[mask].sum(dtype=np.float64)) / total if total > 0 else math.nan


def overlap(heat: np.ndarray, mask: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """Intersection over union of the boxes and the map at or above each share of its maximum, `(T,)`; 0 for a zero map."""
    top = heat.max()
    hot = [heat >= t * top if top > 0 else np.zeros_like(mask) for t in thresholds]
    return np.array([(h & mask).sum() / (h | mask).sum() for h in hot])


def score(
    maps: np.ndarray,
    boxes: Sequence[np.ndarray],
    thresholds: Sequence[float] = THRESHOLDS,
    tolerance: float = TOLERANCE,
) -> Scores:
    """Score maps `(N, S, S)` ≥ 0 against the boxes of their images, `(M, 4)` each, in fractions of the image."""
    masks = [box_mask(each, maps.shape[1]) for each in boxes]
    return Scores(
        np.array([pointing(h, b, tolerance) for h, b in zip(maps, boxes, strict=True)]),
        np.array([energy(h, m) for h, m in zip(maps, masks, strict=True)]),
        np.array([overlap(h, m, thresholds) for h, m in zip(maps, masks, strict=True)]).reshape(-1, len(thresholds)),
    )


def join(parts: Sequence[Scores]) -> Scores:
    """Scores of several batches as one."""
    return Scores(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("pointing", "energy", "iou")))


def centre_map(size: int) -> np.ndarray:
    """The centre baseline `(size, size)`: a Gaussian on the middle of the image, its deviation `SIGMA` of the side."""
    place = (np.arange(size) + 0.5) / size - 0.5
    line = np.exp(-0.5 * (place / SIGMA) ** 2)
    return np.asarray(np.outer(line, line), dtype=np.float32)


def random_maps(number: int, grid: tuple[int, int], size: int, seed: int) -> np.ndarray:
    """Seeded noise `(number, size, size)` in [0, 1], uniform on as many cells as the method's maps have, and as smooth."""
    from zoo.explain.maps import normalise, upsample

    cells = np.random.default_rng(seed).random((number, *grid))
    return normalise(upsample(cells, size))


def baselines(boxes: Sequence[np.ndarray], grid: tuple[int, int], size: int, seed: int) -> dict[str, Scores]:
    """Scores of the centre and of random maps on the same images; of several random ones per image the mean counts."""
    centre = np.broadcast_to(centre_map(size), (len(boxes), size, size))
    means = []
    for number, each in enumerate(boxes):
        drawn = score(random_maps(DRAWS, grid, size, seed + number), [each] * DRAWS)
        means.append(
            Scores(drawn.pointing.mean(keepdims=True), drawn.energy.mean(keepdims=True), drawn.iou.mean(0)[None])
        )
    return {"centre": score(centre, boxes), "random": join(means)}


def localisation(
    scores: dict[str, Scores],
    labels: Sequence[str],
    boxes: Sequence[int],
    patients: Sequence[str],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    level: float = 0.95,
) -> Localisation:
    """Average the scores of image-and-label pairs, per label and over all.

    Args:
        scores: by method, the evaluated one first, then the baselines; each of N pairs.
        labels: of each pair, `(N,)`.
        boxes: number of boxes of each pair, `(N,)`.
        patients: of each pair, `(N,)`; the intervals are over them.
        thresholds: those of the scores' `iou`.
        level: of the intervals.
    """
    names, counts, people = np.array(labels), np.array(boxes), np.array(patients)
    rows: list[LocalisationRow] = []
    groups = list(dict.fromkeys(labels))
    for label in [*groups, ALL] if len(groups) > 1 else groups:
        keep = np.flatnonzero((names == label) | (label == ALL))
        energetic = ~np.isnan([found.energy[keep] for found in scores.values()]).any(axis=0)
        for method, found in scores.items():
            rows.append(
                LocalisationRow(
                    label=label,
                    method=method,
                    boxes=int(counts[keep].sum()),
                    images=len(keep),
                    energy_images=int(energetic.sum()),
                    pointing=_mean(found.pointing[keep], people[keep], level, "share"),
                    energy=_mean(np.where(energetic, found.energy[keep], np.nan), people[keep], level, "fraction"),
                    iou={
                        f"{t:g}": _mean(found.iou[keep, k], people[keep], level, "fraction")
                        for k, t in enumerate(thresholds)
                    },
                )
            )
    notes = (*_compared_with_baselines(scores, people, level), *_zero_note(next(iter(scores.values()))))
    return Localisation(tuple(thresholds), TOLERANCE, SIGMA, tuple(rows), notes)


def _mean(values: np.ndarray, patients: np.ndarray, level: float, kind: str = "difference") -> Interval:
    """The mean of `(N,)` over the defined values, with its interval over patients; see `mean_intervals`."""
    return mean_intervals(values[:, None], *patient_codes(patients), level, kind=kind)[0]


def _compared_with_baselines(scores: dict[str, Scores], patients: np.ndarray, level: float) -> list[str]:
    """A sentence per baseline: the paired difference to it, with its interval over patients."""
    from zoo.explain.maps import METHODS

    method = next(iter(scores))
    said = []
    for name in [n for n in scores if n != method]:
        gains = {
            "in the pointing game": _mean(scores[method].pointing - scores[name].pointing, patients, level),
            "in energy inside the boxes": _mean(scores[method].energy - scores[name].energy, patients, level),
        }
        parts = [f"{_by_how_much(gain)} {where}" for where, gain in gains.items()]
        title = METHODS.get(method, method)
        said.append(f"Against {NAMES.get(name, name)}, {title} is {' and '.join(parts)}.")
    return said


def _by_how_much(gain: Interval) -> str:
    from zoo.evaluation.interval import short

    if math.isnan(gain.value):
        return "not to be compared"
    size = f"by {short(abs(gain.value))}"
    if gain.low > 0:
        return f"better {size} [{short(gain.low)}, {short(gain.high)}]"
    if gain.high < 0:
        return f"WORSE {size} [{short(-gain.high)}, {short(-gain.low)}]"
    if math.isnan(gain.low):
        return f"{'better' if gain.value > 0 else 'worse'} {size}, without an interval,"
    return f"no better ({gain})"


def _zero_note(scores: Scores) -> list[str]:
    """How zero maps are counted."""
    empty = int(np.isnan(scores.energy).sum())
    if not empty:
        return []
    verb = "is" if empty == 1 else "are"
    of = f"{empty} of {len(scores.energy)} maps {verb}"
    return [f"{of} zero everywhere: a miss in the pointing game, IoU 0, left out of energy for every row."]
