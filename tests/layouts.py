"""Small layouts of every dataset that reads files, for the public checks: name -> function that writes one under a root."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

NIH_COLUMNS = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def write_film(file: Path, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def nih(root: Path) -> None:
    findings = ("Effusion|Mass", "No Finding", "Mass", "No Finding")
    names = [f"0000000{patient}_000.png" for patient in range(1, 5)]
    rows = [f"{name},{found},0,{i + 1},60,F,PA" for i, (name, found) in enumerate(zip(names, findings, strict=True))]
    (root / "Data_Entry_2017.csv").write_text("\n".join([NIH_COLUMNS, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:2]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[2:]) + "\n")
    for i, name in enumerate(names):
        write_film(root / "images" / name, i)


def folder(root: Path) -> None:
    for i, name in enumerate(("normal/a", "normal/b", "pneumonia/c", "pneumonia/d")):
        write_film(root / f"{name}.png", i)


def csv(root: Path) -> None:
    for i in range(3):
        write_film(root / f"{i}.png", i)
    (root / "films.csv").write_text("image,patient,label\n0.png,p,effusion\n1.png,q,normal\n2.png,q,effusion\n")


def medmnist(root: Path) -> None:
    generator, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = generator.integers(0, 256, (4, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(4) % 2).astype(np.uint8)[:, None]
    np.savez(root / "pneumoniamnist.npz", **arrays)


LAYOUTS: dict[str, Callable[[Path], None]] = {"nih": nih, "folder": folder, "csv": csv, "medmnist": medmnist}
