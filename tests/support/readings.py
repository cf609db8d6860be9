"""Made-up readings in the layouts that are published."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

# the columns of the all-findings test set that Google's five readers labelled for the NIH images, 810 of 532 patients
FINDINGS = (
    *("Abnormal", "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia"),
    *("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural Thickening", "Hernia", "Other"),
)


def write_google(
    folder: Path, images: int = 120, patients: int = 80, modalities: tuple[str, ...] = ()
) -> tuple[Path, Path]:
    """readers.csv and labels.csv in that layout, with made-up values; later modalities are read better."""
    rng = np.random.default_rng(0)
    patient = np.concatenate([np.arange(patients), rng.integers(0, patients, images - patients)])
    reference = rng.random((images, len(FINDINGS))) < 0.3
    case = rng.normal(size=reference.shape)
    rows = []
    for m, modality in enumerate(modalities or ("",)):
        for reader in range(1, 6):
            latent = case + (1.2 + 1.5 * m) * reference + rng.normal(size=reference.shape)
            for n in range(images):
                said = ["YES" if yes else "NO" for yes in latent[n] > 0.8]
                rows.append([f"{n:08d}_000.png", patient[n], reader, *([modality] if modalities else []), *said])
    names = ["Image ID", "Patient ID", "Reader ID", *(["Modality"] if modalities else []), *FINDINGS]
    table, labels = folder / "readers.csv", folder / "labels.csv"
    _write(table, names, rows)
    said = [[f"{n:08d}_000.png", *("YES" if yes else "NO" for yes in reference[n])] for n in range(images)]
    _write(labels, ["Image ID", *FINDINGS], said)
    return table, labels


def write_long(path: Path, labels: np.ndarray, scores: np.ndarray, patients: np.ndarray | None = None) -> Path:
    """A row per image, reader and modality of scores `(N, I, J)`, with reference labels `(N,)`."""
    count, modalities, readers = scores.shape
    rows = [
        [f"{n:04d}.png", n if patients is None else patients[n], f"r{j + 1}", "AB"[i], scores[n, i, j], int(labels[n])]
        for n in range(count)
        for i in range(modalities)
        for j in range(readers)
    ]
    _write(path, ["image", "patient", "reader", "modality", "score", "reference"], rows)
    return path


def _write(path: Path, names: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])
