"""How often `zoo compare` calls the best of equally good runs better than another, and how often a better run is found.

    OMP_NUM_THREADS=1 python benchmarks/false_positives.py benchmarks/results/false_positives.csv [repetitions [most positives]]

Runs rank the same images by scores that share 60% of their noise. "equal": all runs are equally good (an AUROC of .76), the
one with the highest AUROC is compared with the others, and any "is better" counts, of some others or of all; "two equal": so are
the first two, all others being far behind, and "is better" of one of the two counts; 5 to 500 positive patients, four times as
many without (at least 40), with one image each or 1 to 20 that correlate by .7. "better": the first run has an AUROC of .82,
and counts where it comes first and is told from all others; `old` is the share that the percentile p of a paired bootstrap
(1,000 resamples) with Holm's correction gave, zoo's method before.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.evaluation import auroc_replicates
from zoo.evaluation.influence import Influence, ranked
from zoo.evaluation.p_values import holm, range_p

POSITIVES, RUNS, ALPHA = (5, 10, 20, 50, 200, 500), (2, 5, 10, 30), 0.05


def sample(
    rng: np.random.Generator, positives: int, clustered: bool, runs: int, lead: Sequence[float] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Labels `(N,)`, scores `(N, runs)`, patient codes `(N,)` and the number of patients."""
    number = positives + max(40, 4 * positives)
    each = rng.integers(1, 21, number) if clustered else np.ones(number, dtype=int)
    codes = np.repeat(np.arange(number), each)
    labels = ((codes < positives) & (rng.random(len(codes)) < 0.7)).astype(np.float64)
    labels[(np.cumsum(each) - each)[:positives]] = 1
    noise = math.sqrt(0.3) * rng.normal(size=(len(codes), runs + 1))
    noise += math.sqrt(0.7) * rng.normal(size=(number, runs + 1))[codes]
    scores = labels[:, None] + math.sqrt(0.6) * noise[:, :1] + math.sqrt(0.4) * noise[:, 1:]
    scores[:, : len(lead)] += np.multiply.outer(labels, lead)
    return labels, scores, codes, number


def told_apart(found: Influence, runs: int) -> np.ndarray:
    """From which of the first `runs` runs the best of them is told, `(runs,)`."""
    value, moved, freedom = found.value[:runs], found.by_patient[:, :runs], found.freedom[:runs]
    best = int(value.argmax())
    error = np.sqrt(((moved[:, [best]] - moved) ** 2).sum(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.nan_to_num((value[best] - value) / error, posinf=0.0)

    def significant(number: int) -> np.ndarray:
        least = np.minimum(freedom, freedom[best])
        return np.array(
            [d > 1.9 and range_p(float(d), number, float(f)) < ALPHA for d, f in zip(distance, least, strict=True)]
        )

    others = np.arange(runs) != best
    return others if significant(2)[others].all() else significant(runs)


def bootstrap_told_apart(drawn: np.ndarray, value: np.ndarray) -> np.ndarray:
    """The same from the resampled AUROCs `(R, runs)`, by percentiles and Holm's correction."""
    best = int(value.argmax())
    others = [k for k in range(len(value)) if k != best]
    p = []
    for k in others:
        difference = drawn[:, k] - drawn[:, best]
        difference = difference[~np.isnan(difference)]
        fewest = min((difference <= 0).sum(), (difference >= 0).sum())
        p.append(min(1.0, 2 * (fewest + 1) / (len(difference) + 1)))
    found = np.zeros(len(value), dtype=bool)
    found[others] = np.array(holm(p)) < ALPHA
    return found


def equal(positives: int, clustered: bool, repetitions: int) -> list[dict[str, object]]:
    rng = np.random.default_rng([positives, clustered])
    hits = {kind: dict.fromkeys(RUNS, 0) for kind in ("equal", "two equal")}
    for _ in range(repetitions):
        for kind, lead in (("equal", ()), ("two equal", (0.0, 0.0, *(-1.0,) * (max(RUNS) - 2)))):
            labels, scores, codes, patients = sample(rng, positives, clustered, max(RUNS), lead)
            found = ranked("auroc", np.repeat(labels[:, None], max(RUNS), axis=1), scores, codes, patients)
            for runs in RUNS:
                hits[kind][runs] += bool(told_apart(found, runs)[: 2 if lead else None].any())
    return [
        row(kind, positives, clustered, runs, number / repetitions, "", repetitions)
        for kind, each in hits.items()
        for runs, number in each.items()
        if kind == "equal" or runs > 2
    ]


def better(positives: int, runs: int, repetitions: int) -> dict[str, object]:
    rng = np.random.default_rng(5)
    hits = [0, 0]
    for seed in range(repetitions):
        labels, scores, codes, patients = sample(rng, positives, False, runs, lead=(0.3,))
        columns = np.repeat(labels[:, None], runs, axis=1)
        found = ranked("auroc", columns, scores, codes, patients)
        drawn = auroc_replicates(columns, scores, codes.astype(str), 1000, seed)
        for i, told in enumerate((told_apart(found, runs), bootstrap_told_apart(drawn, found.value))):
            hits[i] += int(found.value.argmax() == 0 and told.sum() == runs - 1)
    return row("better", positives, False, runs, hits[0] / repetitions, f"{hits[1] / repetitions:.3f}", repetitions)


def row(
    kind: str, positives: int, clustered: bool, runs: int, share: float, old: str, repetitions: int
) -> dict[str, object]:
    return {
        "runs_are": kind,
        "positives": positives,
        "images_per_patient": "1 to 20" if clustered else "1",
        "runs": runs,
        "told_apart": f"{share:.3f}",
        "monte_carlo_error": f"{math.sqrt(max(share, 1 / repetitions) * (1 - share) / repetitions):.4f}",
        "old": old,
        "repetitions": repetitions,
        "command": f"OMP_NUM_THREADS=1 python benchmarks/false_positives.py {' '.join(sys.argv[1:])}",
    }


def main(arguments: Sequence[str]) -> None:
    path, repetitions = Path(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 1000
    most = int(arguments[2]) if len(arguments) > 2 else max(POSITIVES)
    rows: list[dict[str, object]] = []
    for positives in [each for each in POSITIVES if each <= most]:
        for clustered in (False, True):
            fewer = 1 if positives <= 20 else 2 if positives == 50 else 4 if positives == 200 else 8
            rows += equal(positives, clustered, max(1, repetitions // fewer))
            print(positives, clustered, file=sys.stderr, flush=True)
    for positives, runs in ((50, 2), (200, 2), (200, 10)):
        if positives <= most:
            rows.append(better(positives, runs, max(1, repetitions // 4)))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
