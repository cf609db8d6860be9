"""The chest X-ray sets of MedMNIST v2: PneumoniaMNIST and ChestMNIST, .npz files of 28 to 224 pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import DataError, Dataset, DatasetInfo, Records, hookimpl, option
from zoo.core import limits, npz
from zoo.core.text import listed

if TYPE_CHECKING:
    import numpy as np


SPLITS = ("train", "val", "test")
# set -> (labels in the order of the file's columns, name of the images with none)
SETS: dict[str, tuple[tuple[str, ...], str]] = {
    "pneumoniamnist": (("pneumonia",), "normal"),
    "chestmnist": (
        (
            "atelectasis",
            "cardiomegaly",
            "effusion",
            "infiltration",
            "mass",
            "nodule",
            "pneumonia",
            "pneumothorax",
            "consolidation",
            "edema",
            "emphysema",
            "fibrosis",
            "pleural",
            "hernia",
        ),
        "no finding",
    ),
}
_NAME = re.compile(rf"({'|'.join(SETS)})(_64|_128|_224)?\.npz", re.IGNORECASE)
LAYOUT = """\
  ROOT/pneumoniamnist.npz   or chestmnist.npz, or either with _64, _128 or _224 before .npz"""


@dataclass(frozen=True)
class MedMnistOptions:
    """Options of the MedMNIST reader."""

    file: str = option("", "the .npz file under the root; empty: the only one there")


def read_labels(file: Path, columns: int) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """The label array `(N, columns)` of each split, and the shape of one image; the images themselves are not loaded.

    Raises:
        DataError: the file is damaged, lacks an array, or has one of another shape or type.
    """
    labels: dict[str, np.ndarray] = {}
    sizes: set[tuple[int, ...]] = set()
    needed = [f"{s}_{what}" for s in SPLITS for what in ("images", "labels")]
    with npz.open_npz(file) as archive:
        there = npz.names(archive)
        missing = [key for key in needed if key not in there]
        if missing:
            raise DataError(f"{file} has no {', '.join(missing)}. Its arrays: {listed(there, 20) or 'none'}.")
        for split in SPLITS:
            shape, dtype = npz.claimed(archive, f"{split}_images")
            _check_images(file, split, shape, dtype)
            _check_labels(file, split, *npz.claimed(archive, f"{split}_labels"), (shape[0], columns))
            labels[split] = npz.read_array(archive, f"{split}_labels")
            _check_values(file, split, labels[split])
            sizes.add(shape[1:])
    if len(sizes) > 1:
        raise DataError(f"{file} has images of several sizes: {', '.join(map(str, sorted(sizes)))}")
    return labels, sizes.pop()


def _check_images(file: Path, split: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if dtype != "uint8":
        raise DataError(f"{file}: {split}_images has type {dtype}, not uint8")
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        raise DataError(f"{file}: {split}_images has shape {shape}, not (N, H, W) or (N, H, W, 3)")
    limits.check("pixels", shape[1] * shape[2], f"{file}, {split}_images")


def _check_labels(file: Path, split: str, found: tuple[int, ...], dtype: np.dtype, expected: tuple[int, int]) -> None:
    if dtype.kind not in "biuf":
        raise DataError(f"{file}: {split}_labels has type {dtype}; labels are numbers, 0 and 1")
    if found != expected:
        raise DataError(f"{file}: {split}_labels has shape {found}, not {expected}")


def _check_values(file: Path, split: str, labels: np.ndarray) -> None:
    import numpy as np

    strange = labels[~np.isin(labels, (0, 1))]
    if len(strange):
        raise DataError(f"{file}: {split}_labels has the value {str(strange[0])[:80]}; labels are 0 and 1")


class MedMnist(Dataset):
    """Reader of MedMNIST's chest sets."""

    info = DatasetInfo(
        name="medmnist",
        summary="PneumoniaMNIST (5,856 paediatric images) and ChestMNIST (112,120 NIH images), 28 to 224 pixels",
        licence="CC BY 4.0 (MedMNIST)",
        paper="Yang et al. 2023, MedMNIST v2, Scientific Data 10:41",
        layout=LAYOUT,
        default_weights="none",  # filters learnt on photographs of 224 pixels have nothing to find in 28
    )
    Options = MedMnistOptions

    def read(self, root: Path | None, options: Any) -> Records:
        import numpy as np
        import pandas as pd

        from zoo import ArraySource
        from zoo.datasets import _tables

        root = _tables.need_root(root, self.info)
        there = ", ".join(p.name for p in sorted(root.glob("*.npz"))) or "none"
        missing = f"chest set of MedMNIST (.npz files there: {there}). Expected:"
        found = [p for p in sorted(root.iterdir()) if _NAME.fullmatch(p.name)]
        file = _tables.choose_file(root, options.file, "file", found, missing, LAYOUT)
        match = _NAME.fullmatch(file.name)
        if match is None:
            raise DataError(f"{file} is not a chest set of MedMNIST by its name. Expected:", LAYOUT)
        names, normal = SETS[match[1].lower()]
        labels, size = read_labels(file, len(names))
        splits = [s for s in SPLITS for _ in range(len(labels[s]))]
        images = [f"{s}/{i}" for s in SPLITS for i in range(len(labels[s]))]
        table = pd.DataFrame({"image": images, "path": images, "patient": images, "split": splits})
        table[list(names)] = np.concatenate([labels[s] for s in SPLITS]).astype(float)
        return Records(
            table=table,
            labels=names,
            source=ArraySource(str(file)),
            normal=normal,
            notes=(
                f"the images have {size[0]}×{size[1]} pixels: a larger image size only enlarges them",
                f"MedMNIST does not say which images are of one patient: {_tables.OWN_PATIENT}",
            ),
            official_split=True,
            patients_known=False,
        )


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [MedMnist()]
