"""The chest X-ray sets of MedMNIST v2: PneumoniaMNIST and ChestMNIST, .npz files of 28 to 224 pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zoo import DataError, Dataset, DatasetInfo, Records, hookimpl, option

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
    import zipfile
    import zlib

    from numpy.lib import format as npy

    labels: dict[str, np.ndarray] = {}
    sizes: set[tuple[int, ...]] = set()
    needed = [f"{s}_{what}" for s in SPLITS for what in ("images", "labels")]
    try:
        with zipfile.ZipFile(file) as archive:
            there = [name.removesuffix(".npy") for name in archive.namelist()]
            missing = [key for key in needed if key not in there]
            if missing:
                raise DataError(f"{file} has no {', '.join(missing)}. Its arrays: {', '.join(there) or 'none'}.")
            for split in SPLITS:
                with archive.open(f"{split}_labels.npy") as stream:
                    labels[split] = npy.read_array(stream, allow_pickle=False)
                with archive.open(f"{split}_images.npy") as stream:
                    shape, dtype = _header(stream)
                _check(file, split, labels[split], shape, dtype, columns)
                sizes.add(shape[1:])
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{file} cannot be read as an .npz file: {error}") from None
    if len(sizes) > 1:
        raise DataError(f"{file} has images of several sizes: {', '.join(map(str, sorted(sizes)))}")
    return labels, sizes.pop()


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array from its header: at 224 pixels the array itself has 4 GB."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    shape, _, dtype = (npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0)(stream)
    return tuple(shape), dtype


def _check(file: Path, split: str, labels: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, columns: int) -> None:
    import numpy as np

    if dtype != np.uint8:
        raise DataError(f"{file}: {split}_images has type {dtype}, not uint8")
    if not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
        raise DataError(f"{file}: {split}_images has shape {shape}, not (N, H, W) or (N, H, W, 3)")
    if labels.shape != (shape[0], columns):
        raise DataError(f"{file}: {split}_labels has shape {labels.shape}, not {(shape[0], columns)}")
    if not np.isin(labels, (0, 1)).all():
        strange = labels[~np.isin(labels, (0, 1))][0]
        raise DataError(f"{file}: {split}_labels has the value {strange}; labels are 0 and 1")


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
