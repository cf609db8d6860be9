"""How often the analysis of several readers errs: equal modalities or readers found different, readers in the wrong order.

    python benchmarks/mrmc.py

Scores are drawn by the model of Roe & Metz (1997, Academic Radiology 4): a score is what its class is worth, plus normal parts
of the reader, the case and the modality and their interactions, with the spreads of their data sets HH (data and readers vary
much) and LL; separations of .75, 1.5 and 2.5 give mean AUROCs of .70, .86 and .96. Of 1,000 studies of each kind it counts the
tests at .05 that name a difference where there is none; two images of a patient share the part of their case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from common import machine, write_csv

from zoo.evaluation.mrmc import obuchowski_rockette
from zoo.evaluation.mrmc_auroc import jackknife_aurocs, one_shot_variance
from zoo.evaluation.readers import evaluate_readers
from zoo.evaluation.readings import Readings

STUDIES = 1000


@dataclass(frozen=True)
class Spread:
    """Variances of reader, modality × reader, case, modality × case, reader × case and the rest."""

    reader: float
    interaction: float
    case: float
    modality_case: float
    reader_case: float
    rest: float


SPREADS = {"HH": Spread(0.011, 0.011, 0.3, 0.3, 0.2, 0.2), "LL": Spread(0.0055, 0.0055, 0.1, 0.1, 0.2, 0.6)}


def scores(
    rng: np.random.Generator, labels: np.ndarray, cases: np.ndarray, spread: Spread, readers: int, separation: float
) -> np.ndarray:
    """Scores `(N, 2, J)` of two modalities that are equal in the mean; `cases` numbers the patients."""
    count, number = len(labels), int(cases.max()) + 1

    def part(variance: float, *shape: int) -> np.ndarray:
        return np.sqrt(variance) * rng.normal(size=shape)

    skill = part(spread.reader, 2, 1, readers) + part(spread.interaction, 2, 2, readers)  # by class
    case = (
        part(spread.case, number, 1, 1)
        + part(spread.modality_case, number, 2, 1)
        + part(spread.reader_case, number, 1, readers)
    )
    chosen = labels.astype(int)
    return separation * labels[:, None, None] + skill[chosen] + case[cases] + part(spread.rest, count, 2, readers)


def modalities(
    spread: Spread, readers: int, separation: float, positives: int, several: bool, seed: int
) -> dict[str, float]:
    """Rates of significant differences between equal modalities, over all the studies."""
    rng = np.random.default_rng(seed)
    errors = np.zeros(3)
    for _ in range(STUDIES):
        labels = np.repeat([1.0, 0.0], [positives, 2 * positives])
        units = np.arange(len(labels))
        if several:  # two images of each patient, of the same class
            units = units // 2
        found = scores(rng, labels, units, spread, readers, separation)
        own = jackknife_aurocs(labels, found.reshape(len(labels), -1), units)
        shape = (2, readers)
        shot = one_shot_variance(labels, found[:, 0], found[:, 1], units)
        names = tuple(map(str, range(readers)))
        result = obuchowski_rockette(
            ("A", "B"), names, own.aurocs.reshape(shape), own.covariance.reshape(shape * 2), one_shot={("A", "B"): shot}
        )
        (pair,) = result.pairs
        p = (result.p, pair.fixed.p, pair.one_shot.p if pair.one_shot is not None else np.nan)
        errors += np.array(p) < 0.05
    return dict(zip(("random readers", "these readers", "one-shot"), (errors / STUDIES).tolist(), strict=True))


def readers_in_order(skills: tuple[float, ...], positives: int, seed: int) -> dict[str, float]:
    """Readers of known skill: how often two are named in the wrong order or equal ones as different, and all pairs rightly."""
    rng, count = np.random.default_rng(seed), 3 * positives
    labels = np.repeat([1.0, 0.0], [positives, 2 * positives])
    names = tuple(map(str, range(len(skills))))
    wrong = right = 0
    for _ in range(STUDIES):
        own = rng.normal(size=(count, 1)) + labels[:, None] * np.array(skills) + rng.normal(size=(count, len(skills)))
        table = Readings(
            source="made up",
            labels=("finding",),
            modalities=("readings",),
            readers=names,
            images=np.arange(count).astype(str),
            patients=np.arange(count).astype(str),
            scores=own[None, :, None, :],
            reference=labels[:, None],
        )
        pairs = evaluate_readers(table).labels[0].modalities[0].pairs
        true = np.array([np.sign(skills[int(p.first)] - skills[int(p.second)]) for p in pairs])
        named = np.array([np.sign(p.minus.value.value) * (p.p_holm < 0.05) for p in pairs])
        wrong += bool(((named != 0) & (named != true)).any())
        right += bool((named == true).all())
    return {"named wrongly": wrong / STUDIES, "all named": right / STUDIES}


def rows() -> Iterator[dict[str, object]]:
    """One row per kind of study."""
    seed = 0
    grid = [
        *product(SPREADS, (3, 5), (0.75, 2.5), (10, 25, 100), (False,)),
        *product(SPREADS, (5,), (1.5,), (10, 50), (True,)),
    ]
    for spread, number, separation, positives, several in grid:
        seed += 1
        kind = {"spread": spread, "readers": number, "separation": separation, "positives": positives}
        found = modalities(SPREADS[spread], number, separation, positives, several, seed)
        yield {"null": "equal modalities", **kind, "images per patient": 2 if several else 1, **found}
    for skills, positives in product(((1.0,) * 5, (0.5, 1.0, 1.5, 2.0, 2.5)), (10, 50, 200)):
        seed += 1
        null = "equal readers" if len(set(skills)) == 1 else "readers half a unit apart"
        yield {"null": null, "readers": 5, "positives": positives, **readers_in_order(skills, positives, seed)}


if __name__ == "__main__":
    write_csv("mrmc", [{**row, "studies": STUDIES, **machine()} for row in rows()])
