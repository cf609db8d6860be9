"""Images that an exported file is compared on: the run's own, those of a folder, or drawn ones where neither can be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.core.errors import DataError, UsageError, ZooError
from zoo.core.records import BadImage
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.data.run_images import run_records
from zoo.runs.run import Run

DRAWN = "phantom"  # the dataset that is always there


@dataclass(frozen=True, eq=False)
class TrialImages:
    """Images as they were read, of any size, before anything is done to them.

    `pixels` are gray uint8 `(H, W)`. `labels` float `(N, K)` and `patients` `(N,)` are None where nothing is known of them.
    `where` says in words whose images they are, `real` that they are not drawn.
    """

    pixels: list[np.ndarray]
    where: str
    real: bool = True
    labels: np.ndarray | None = None
    patients: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixels)


def run_images(run: Run, splits: Sequence[str], count: int | None, registry: Registry) -> TrialImages | None:
    """Images of the run itself from the place they were trained from, spread evenly over the splits.

    Args:
        run: the run.
        splits: of train, val and test.
        count: how many at most; None for all.
        registry: has the dataset.

    Returns:
        None where the dataset is not there any more, or none of its images can be read.
    """
    try:
        found = run_records(run, splits, registry)
    except (ZooError, OSError):  # moved, or of a plugin that is not installed here
        return None
    source, table = found.records.source, found.listed
    paths = found.records.table["path"].astype(str).to_numpy()[found.rows]
    if count is not None and len(table) > count:
        spread = np.linspace(0, len(table) - 1, count).round().astype(int)
        table, paths = table.iloc[spread], paths[spread]
    pixels, rows = [], []
    for row, path in enumerate(paths):
        try:
            pixels.append(source.read(path)[0])
        except BadImage:
            continue
        rows.append(row)
    if not pixels:
        return None
    table = table.iloc[rows]
    names = [f"label:{label}" for label in run.task().labels]
    labels = table[names].to_numpy(dtype=float) if set(names) <= set(table.columns) else None
    where = f"the run's own {' and '.join(splits)} images"
    patients = table["patient"].fillna(table["image"]).astype(str)
    return TrialImages(pixels, where, labels=labels, patients=patients.to_numpy())


def images_of_folder(folder: Path) -> TrialImages:
    """All images below a folder (or one file), as `zoo predict` reads them.

    Raises:
        UsageError: there is no such folder.
        DataError: it has no image that can be read.
    """
    from zoo.inference.intake import expand, read_image

    if not folder.exists():
        raise UsageError(
            f"--images {folder}: there is no such folder. Give a folder of images, or how many of the run's own."
        )
    pixels, reasons = [], []
    for file in expand([str(folder)]):
        try:
            pixels.append(read_image(file)[0])
        except (BadImage, ZooError) as error:
            reasons.append(str(error))
    if not pixels:
        why = f" (the first of {len(reasons)}: {reasons[0]})" if reasons else ""
        raise DataError(f"--images {folder} has no image that can be read{why}.")
    return TrialImages(pixels, f"images of {folder}")


def drawn_images(count: int, registry: Registry, size: int = 256) -> TrialImages:
    """Drawn images, not all of them square."""
    from zoo.core.options import validate

    dataset = registry.get("dataset", DRAWN)
    records = dataset.read(None, validate(dataset.Options, {"patients": count, "size": size}, "data", ""))
    pixels = []
    for number, path in enumerate(records.table["path"].astype(str)[:count]):
        image = records.source.read(path)[0]
        pixels.append(image[: size - number % 4 * 9, : size - number % 3 * 13])
    return TrialImages(pixels, "drawn images (the run's own are not there)", real=False)


def prepared(pixels: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Images as the network takes them, uint8 `(N, size, size)`."""
    from zoo.data.resize import square

    return np.stack([square(image, size) for image in pixels])


def samples(run: Run, count: int, size: int, registry: Registry) -> np.ndarray | None:
    """Prepared training images `(N, size, size)`; None where they are not there any more."""
    found = run_images(run, ("train",), count, registry)
    return None if found is None else prepared(found.pixels, size)


def known_labels(task: Task, images: TrialImages) -> bool:
    """Whether some label is present in some images and absent in others, so that an AUROC can be computed."""
    if images.labels is None:
        return False
    frame = pd.DataFrame(images.labels, columns=list(task.labels))
    return bool(((frame == 1).any() & (frame == 0).any()).any())
