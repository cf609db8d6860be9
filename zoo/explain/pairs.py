"""The run's own images again: from its dataset and prepared store, with the radiologists' boxes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.config.resolve import resolve_images
from zoo.core.errors import DataError
from zoo.core.records import ImageSource, Records
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.data.pipeline import read_records
from zoo.data.store import prepare
from zoo.runs.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """An image and a label to explain: `row` into the images, `column` into the logits; `boxes` `(M, 4)` in fractions."""

    row: int
    column: int
    image: str
    patient: str
    truth: int | None
    boxes: np.ndarray


@dataclass(frozen=True)
class RunImages:
    """The images of a split: `rows` into the store's `images` `(M, S, S)` and into `records`, and their lines of images.csv."""

    records: Records
    images: np.ndarray
    rows: np.ndarray
    listed: pd.DataFrame


def no_boxes() -> np.ndarray:
    """The boxes of an image that has none."""
    return np.zeros((0, 4))


def run_images(run: Run, split: str, registry: Registry) -> RunImages:
    """The images of one split of a run, read from its dataset and prepared again where the store is gone.

    Raises:
        ZooError: the dataset is not where it was, or holds none of these images any more.
    """
    records = read_records(resolve_images(run.config(), registry), registry)
    for note in records.notes:
        logger.info(note)
    name = run.config()["data"]["name"]
    store = prepare(records, int(run.info()["image_size"]), name=name)
    data = json.loads((run.path / "data.json").read_text(encoding="utf-8"))
    if data["fingerprint"] != store.fingerprint:
        logger.warning(f"the images of {name}, or their preparation, are not those that the run was trained on.")
    listed = run.images()
    listed = listed[listed["split"] == split]
    place = pd.Series(np.arange(len(records)), index=records.table["image"])
    rows = place.reindex(listed["image"])
    usable = (store.table["reason"] == "").to_numpy()
    here = rows.notna().to_numpy().copy()
    here[here] = usable[rows[here].to_numpy().astype(int)]
    if not here.any():
        raise DataError(f"none of the {len(listed):,} {split} images of {run.name} is in the dataset {name} any more.")
    if not here.all():
        logger.warning(
            f"{int((~here).sum()):,} of the {len(listed):,} {split} images are not in the dataset any more: left out."
        )
    return RunImages(records, store.images, rows[here].to_numpy().astype(int), listed[here])


def split_pairs(
    run: Run, split: str, with_boxes: bool, columns: Sequence[int], registry: Registry
) -> tuple[np.ndarray, list[Pair]]:
    """What there is to explain in one split of a run.

    Args:
        run: names its dataset and lists its images.
        split: "train", "val" or "test".
        with_boxes: pairs of an image and a label that have boxes; else those where the label is present.
        columns: outputs to keep; all of them where empty.
        registry: where the dataset's reader is.

    Returns:
        The store's images `(M, S, S)` and the pairs.

    Raises:
        DataError: the dataset is not what it was, or there are no such pairs.
    """
    found = run_images(run, split, registry)
    records, kept, listed = found.records, found.rows, found.listed
    truth = _truth(run, records)
    task = run.task()
    boxes = _boxes(records, kept, task) if with_boxes else None
    pairs = []
    for row, image, patient in zip(kept.tolist(), listed["image"], listed["patient"], strict=True):
        for column in columns or range(task.outputs):
            of_pair = no_boxes() if boxes is None else boxes.get((row, column))
            value = truth[row, column]
            known = None if np.isnan(value) else int(value)
            if of_pair is not None and (boxes is not None or known == 1):
                pairs.append(Pair(row, column, image, str(patient), known, of_pair))
    if not pairs:
        labels = ", ".join(task.labels[c] for c in columns) or "the network's labels"
        without = "" if not with_boxes else " Leave out --boxes to see maps without scores."
        what = "box" if with_boxes else "finding"
        raise DataError(
            f"no {split} image of the dataset {run.config()['data']['name']} has a {what} of {labels}.{without}"
        )
    return found.images, pairs


def _truth(run: Run, records: Records) -> np.ndarray:
    """Labels of all records on the task of the run, `(N, K)`, NaN for unknown."""
    from zoo.engine.evaluate import align

    return align(records, run.task())[0].labels


def _boxes(records: Records, rows: np.ndarray, task: Task) -> dict[tuple[int, int], np.ndarray]:
    """Boxes of images by (row, output), in fractions of the padded square.

    The one output of a binary task that is no finding of the dataset, such as Abnormal, takes the boxes of all findings.
    """
    column = {label: k for k, label in enumerate(task.labels)}
    any_finding = task.kind == "binary" and task.labels[0] not in records.labels
    place = dict(zip(records.table["image"].iloc[rows], rows.tolist(), strict=True))
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    shapes: dict[int, tuple[int, int]] = {}
    corners = records.boxes[["x", "y", "width", "height"]].to_numpy(dtype=float)
    for image, label, corner in zip(records.boxes["image"], records.boxes["label"], corners, strict=True):
        k = 0 if any_finding else column.get(label)
        if k is None or image not in place:
            continue
        row = place[image]
        if row not in shapes:
            shapes[row] = image_shape(records.source, records.table["path"].iloc[row])
        found.setdefault((row, k), []).append(in_square(corner, *shapes[row]))
    return {key: np.array(each) for key, each in found.items()}


def image_shape(source: ImageSource, path: str) -> tuple[int, int]:
    """Height and width of an image; of an image file from its header alone."""
    from zoo.data.images import FileSource

    if isinstance(source, FileSource):
        from PIL import Image

        with suppress(OSError), Image.open(Path(source.root, path)) as image:  # of another kind: read it whole
            return image.height, image.width
    height, width = source.read(path)[0].shape
    return height, width


def in_square(corner: np.ndarray, height: int, width: int) -> np.ndarray:
    """A box in fractions of an image, in those of the square that preparation pads it to."""
    side = max(height, width)
    x, y, w, h = corner
    return np.array(
        [
            (x * width + (side - width) // 2) / side,
            (y * height + (side - height) // 2) / side,
            w * width / side,
            h * height / side,
        ]
    )
