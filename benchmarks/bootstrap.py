"""The patient bootstrap beside a plain loop over scikit-learn, at the size of NIH's test split.

    OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/bootstrap.py benchmarks/results/bootstrap.csv

Both compute the AUROC of every label in every replicate. The intervals of an evaluation do not need it
(benchmarks/coverage.py). The loop is run for a few replicates and extrapolated. Images
are synthetic; their number, that of patients and the frequencies of the findings are NIH's.
"""

from __future__ import annotations

import csv
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from zoo.core.tasks import Task
from zoo.evaluation import Predictions, auroc_replicates, patient_weights

IMAGES, PATIENTS, REPLICATES, LOOPED = 25_596, 2_797, 2_000, 5
# positive images of NIH ChestX-ray14's test_list.txt
POSITIVES = {
    "Atelectasis": 3279,
    "Cardiomegaly": 1069,
    "Effusion": 4658,
    "Infiltration": 6112,
    "Mass": 1748,
    "Nodule": 1623,
    "Pneumonia": 555,
    "Pneumothorax": 2665,
    "Consolidation": 1815,
    "Edema": 925,
    "Emphysema": 1093,
    "Fibrosis": 435,
    "Pleural_Thickening": 1143,
    "Hernia": 86,
}


def images() -> Predictions:
    """Synthetic images: scores are normal, positives one standard deviation higher."""
    rng = np.random.default_rng(0)
    labels = np.stack([rng.permutation(IMAGES) < n for n in POSITIVES.values()], axis=1).astype(np.float32)
    patients = np.concatenate([np.arange(PATIENTS), rng.integers(0, PATIENTS, IMAGES - PATIENTS)])
    table = pd.DataFrame({"image": [f"{i}.png" for i in range(IMAGES)], "patient": patients.astype(str)})
    return Predictions(Task("multilabel", tuple(POSITIVES)), table, labels, labels - 1 + rng.normal(size=labels.shape))


def loop(predictions: Predictions, replicates: int) -> np.ndarray:
    """The plain way: AUROC `(R, K)`."""
    values = np.empty((replicates, predictions.task.outputs))
    for r, weights in enumerate(patient_weights(predictions.table["patient"], replicates, 0)):
        rows = np.repeat(np.arange(len(predictions)), weights.astype(int))
        for k in range(predictions.task.outputs):
            values[r, k] = sk.roc_auc_score(predictions.labels[rows, k], predictions.scores[rows, k])
    return values


def main(path: Path) -> None:
    predictions = images()
    inputs = (predictions.labels, predictions.scores, predictions.table["patient"])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    auroc_replicates(*inputs, REPLICATES, 0)
    ours = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before
    start = time.perf_counter()
    looped = loop(predictions, LOOPED)
    theirs = (time.perf_counter() - start) / LOOPED * REPLICATES
    np.testing.assert_allclose(auroc_replicates(*inputs, LOOPED, 0), looped, atol=1e-9)
    shape = {"replicates": REPLICATES, "images": IMAGES, "patients": PATIENTS, "labels": len(POSITIVES), "cores": 1}
    command = "OMP_NUM_THREADS=1 taskset -c 0 python benchmarks/bootstrap.py benchmarks/results/bootstrap.csv"
    rows = [
        {
            "method": "zoo",
            **shape,
            "seconds": f"{ours:.1f}",
            "extra_memory_mb": f"{memory:.0f}",
            "measured": REPLICATES,
        },
        {"method": "scikit-learn loop", **shape, "seconds": f"{theirs:.0f}", "extra_memory_mb": "", "measured": LOOPED},
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "command"], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "command": command} for row in rows)
    print(path.read_text(), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
