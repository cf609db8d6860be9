"""How often "the validation figure does not carry over" is said where validation and test are of one population.

    OMP_NUM_THREADS=1 python benchmarks/false_positives_drop.py benchmarks/results/false_positives_drop.csv [repetitions]

Validation and test are 60 to 180 patients each, of one image or 1 to 20, whose scores correlate by .5 and of whose images
nearly all carry the same labels. Either one label or three, down to 2 positive patients of 60; scores are normal, positive
images `skill` higher. `claimed` is the share of repetitions whose interval of the difference lies above 0 (nominal: .025, for
the interval is two-sided); `former` is that of the rule it replaces, a test figure more than .05 below or intervals apart.
`given` is the share of repetitions in which the two had an interval to compare.
"""

from __future__ import annotations

import csv
import math
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.core.tasks import Task
from zoo.evaluation import Evaluation, Predictions, evaluate, measure_drop

PREVALENCES = ((0.3,), (0.1,), (0.03,), (0.05, 0.1, 0.3))
PATIENTS, MOST, SKILLS = (60, 100, 180), (1, 20), (0.75, 1.8)
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/false_positives_drop.py benchmarks/results/false_positives_drop.csv"


def images(
    rng: np.random.Generator, patients: int, most: int, prevalences: tuple[float, ...], skill: float
) -> Predictions:
    """A sample of patients with 1 to `most` images."""
    codes = np.repeat(np.arange(patients), rng.integers(1, most + 1, patients))
    shape = (len(codes), len(prevalences))
    has = rng.random((patients, shape[1])) < prevalences
    labels = has[codes] & (rng.random(shape) < 0.95)
    noise = np.sqrt(0.5) * (rng.normal(size=(patients, shape[1]))[codes] + rng.normal(size=shape))
    task = Task("multilabel", tuple("abc"[: shape[1]])) if shape[1] > 1 else Task("binary", ("a",))
    table = pd.DataFrame({"image": np.arange(len(codes)).astype(str), "patient": codes.astype(str)})
    return Predictions(task, table, labels.astype(np.float64), skill * labels + noise)


def former(before: Evaluation, after: Evaluation) -> bool:
    """The rule that the interval of the difference replaces."""
    first, second = before.headline, after.headline
    return second.high < first.low or round(first.value, 3) - round(second.value, 3) > 0.05


def cell(patients: int, most: int, prevalences: tuple[float, ...], skill: float, repetitions: int) -> dict[str, object]:
    rng = np.random.default_rng([patients, most, int(100 * sum(prevalences)), int(100 * skill)])
    claimed = earlier = given = 0
    for _ in range(repetitions):
        both = [images(rng, patients, most, prevalences, skill) for _ in range(2)]
        found = [evaluate(each, dict.fromkeys(each.task.labels, 0.5), split="test") for each in both]
        drop = measure_drop(*found, *both)
        if drop is not None and not math.isnan(drop.difference.low):
            given += 1
            claimed += drop.clear
        earlier += former(*found)
    share = claimed / repetitions
    return {
        "patients": patients,
        "images_per_patient": f"1 to {most}" if most > 1 else "1",
        "prevalences": " ".join(map(str, prevalences)),
        "skill": skill,
        "claimed": f"{share:.3f}",
        "monte_carlo_error": f"{math.sqrt(0.025 * 0.975 / repetitions):.4f}",
        "former": f"{earlier / repetitions:.3f}",
        "given": f"{given / repetitions:.3f}",
        "repetitions": repetitions,
        "command": COMMAND,
    }


def main(path: Path, repetitions: int) -> None:
    rows = []
    for grid in product(PATIENTS, MOST, PREVALENCES, SKILLS):
        rows.append(cell(*grid, repetitions))
        print({name: value for name, value in rows[-1].items() if name != "command"}, file=sys.stderr, flush=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
