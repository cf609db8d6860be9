"""How often the intervals of an evaluation hold the true value, which a simulation knows.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py benchmarks/results/coverage.csv [repetitions]

Five labels of one frequency; 5 to 200 positive patients each, four times as many without (at least 40). Either one image per
patient, or 1 to 20 with scores that correlate by .7 within a patient, 70% of a positive patient's images being positive.
Scores are normal, positive images 1.5 higher (an AUROC of .856); the threshold finds 80% of them. `patients` says whether the
number of positive patients is the same in every repetition ("fixed") or drawn with the sample ("drawn"): precision, NPV,
accuracy, F1, MCC and AUPRC depend on the prevalence, so that their true value is that of drawn samples. `given` is the share of
repetitions with an interval at all; a point would count as one that misses.

`of` "group" is one sex, a coin for each patient, with half of the positive patients, and its gap to the other, which is 0. `of`
"difference" is what the lead over a baseline and `zoo compare` give: the network's figure minus that of a worse one, whose scores
are its own with noise of variance .8 more, the mean over the labels for `macro`.
"""

from __future__ import annotations

import csv
import functools
import math
import sys
from collections import defaultdict
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from zoo.core.tasks import Task
from zoo.evaluation import Evaluation, Interval, Predictions, evaluate, metrics
from zoo.evaluation.bootstrap import patient_codes
from zoo.evaluation.comparison import compare, difference_of, measure, minus
from zoo.evaluation.influence import Influence, image_means, mean
from zoo.evaluation.subgroups import subgroups

LABELS = ("a", "b", "c", "d", "e")
TASK = Task("multilabel", LABELS)
POSITIVES, SKILL = (5, 10, 20, 50, 200), 1.5
WITHIN, SHARE = 0.7, 0.7  # correlation of a patient's scores; positive share of a positive patient's images
NORMAL = NormalDist()
MORE = 0.8  # variance that the worse network's scores have more
COMMAND = "OMP_NUM_THREADS=1 python benchmarks/coverage.py benchmarks/results/coverage.csv"


def images(rng: np.random.Generator, positives: int, clustered: bool, drawn: bool, factor: int = 1) -> Predictions:
    """A sample of patients; `factor` times as many where the population is to be approached."""
    number = factor * (positives + max(40, 4 * positives))
    each = rng.integers(1, 21, number) if clustered else np.ones(number, dtype=int)
    codes = np.repeat(np.arange(number), each)
    has = np.zeros((number, len(LABELS)), dtype=bool)
    for k in range(len(LABELS)):
        chosen = rng.binomial(number, factor * positives / number) if drawn else factor * positives
        has[rng.permutation(number)[:chosen], k] = True
    labels = has[codes] & (rng.random((len(codes), len(LABELS))) < SHARE)
    labels[np.concatenate([[0], np.cumsum(each)[:-1]])] = has  # a positive patient's first image always is
    noise = math.sqrt(WITHIN) * rng.normal(size=(number, len(LABELS)))[codes]
    scores = SKILL * labels + noise + math.sqrt(1 - WITHIN) * rng.normal(size=labels.shape)
    threshold = SKILL + NORMAL.inv_cdf(0.2)  # of the scores: a logit of 0
    sex = np.where(rng.random(number) < 0.5, "F", "M")[codes]
    table = pd.DataFrame({"image": np.arange(len(codes)).astype(str), "patient": codes.astype(str), "sex": sex})
    return Predictions(TASK, table, labels.astype(np.float64), scores - threshold)


def worse(rng: np.random.Generator, found: Predictions) -> Predictions:
    noise = math.sqrt(MORE) * rng.normal(size=found.logits.shape)
    return Predictions(TASK, found.table, found.labels, found.logits + noise)


def compared(rng: np.random.Generator, found: Predictions) -> dict[tuple[str, str], Interval]:
    """The intervals of a group and of differences, by what they are of and the metric."""
    group = [each for each in subgroups(found, dict.fromkeys(LABELS, 0.5), ["sex"]) if each.name == "F"]
    rows = {
        (f"group {each.label}", name): getattr(each, name)
        for each in group
        if each.label in ("macro", "a")
        for name in ("auroc", "sensitivity", "auroc_gap", "fnr_gap")
    }
    other = worse(rng, found)
    codes, patients = patient_codes(found.table["patient"])
    pair = compare(measure("first", found), measure("second", other))
    brier = minus(*(errors(each, codes, patients) for each in (found, other)))
    nothing = math.nan, math.nan
    return rows | {
        ("difference a", "auroc"): pair.per_label["a"].difference,
        ("difference macro", "auroc"): pair.overall.difference,
        ("difference a", "brier"): difference_of("a", nothing, brier).difference,
        ("difference macro", "brier"): difference_of("macro", nothing, mean(brier)).difference,
    }


def errors(found: Predictions, codes: np.ndarray, patients: int) -> Influence:
    return image_means((found.probabilities - found.labels) ** 2, codes, patients)


@functools.cache
def truths(rare: bool, clustered: bool) -> dict[str, dict[str, float]]:
    """Every metric of the population, by a sample so large that its own error does not count."""
    rng = np.random.default_rng(99)
    positives = 5 if rare else 10  # of 45 patients, or of 50 as with any larger number
    found = images(rng, positives, clustered, True, 20_000 // positives)
    y, scores, positive = found.labels, found.scores, found.logits >= 0
    table = metrics.confusion(y, positive).total()
    values = {name: float(value[0]) for name, value in metrics.rates(table).items()}
    # of one label alone, all being alike: the five put behind one another
    values["auroc"] = NORMAL.cdf(SKILL / math.sqrt(2))
    values["auprc"] = metrics.auprc(y.ravel(), scores.ravel())
    brier = float(((found.probabilities - y) ** 2).mean() - ((worse(rng, found).probabilities - y) ** 2).mean())
    lead = values["auroc"] - NORMAL.cdf(SKILL / math.sqrt(2 * (1 + MORE)))
    gap = {"auroc_gap": 0.0, "fnr_gap": 0.0, **values}
    rates = metrics.image_rates(y, positive)
    samples, zero = (metrics.mean_over_images(each) for each in (rates, np.nan_to_num(rates)))
    return {
        "label": values,
        "samples": dict(zip(metrics.IMAGE_METRICS, samples.tolist(), strict=True)),
        "samples_zero": dict(zip(metrics.IMAGE_METRICS, zero.tolist(), strict=True)),
        "group": gap,
        "difference": {"auroc": lead, "brier": brier},
    }


def cell(positives: int, clustered: bool, drawn: bool, repetitions: int) -> list[dict[str, object]]:
    truth = truths(positives == 5, clustered)
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    widths: dict[tuple[str, str], list[float]] = defaultdict(list)
    tried: dict[tuple[str, str], int] = defaultdict(int)
    rng = np.random.default_rng([positives, clustered, drawn])
    for _ in range(repetitions):
        sample = images(rng, positives, clustered, drawn)
        found: Evaluation = evaluate(sample, dict.fromkeys(LABELS, 0.5), split="test")
        rows = [("label", values) for values in found.per_label.values()] + list(found.averages.items())
        given = [((name, metric), interval) for name, values in rows for metric, interval in values.items()]
        for key, interval in [*given, *compared(rng, sample).items()]:
            true = truth.get(key[0].split()[0], truth["label"]).get(key[1])
            if true is None or (key[1] == "prevalence" and not drawn):
                continue
            tried[key] += 1
            if not math.isnan(interval.low):
                held[key].append(interval.low <= true <= interval.high and interval.low < interval.high)
                widths[key].append(interval.high - interval.low)
    rows_out: list[dict[str, object]] = []
    for key, number in tried.items():
        hits = held[key]
        coverage = float(np.mean(hits)) if hits else math.nan
        rows_out.append(
            {
                "of": key[0],
                "metric": key[1],
                "positives": positives,
                "images_per_patient": "1 to 20" if clustered else "1",
                "patients": "drawn" if drawn else "fixed",
                "coverage": f"{coverage:.3f}",
                "monte_carlo_error": f"{math.sqrt(0.05 * 0.95 / number):.4f}",
                "mean_width": f"{np.mean(widths[key]):.3f}" if hits else "",
                "given": f"{len(hits) / number:.3f}",
                "repetitions": repetitions,
                "command": COMMAND,
            }
        )
    return rows_out


def main(path: Path, repetitions: int) -> None:
    rows = []
    for positives in POSITIVES:
        for clustered in (False, True):
            for drawn in (False, True):
                rows += cell(positives, clustered, drawn, repetitions)
                print(positives, clustered, drawn, file=sys.stderr, flush=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 300)
