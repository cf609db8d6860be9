"""Image and label pairs of a run's own split, with radiologists' boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.core.errors import DataError
from zoo.core.records import Records
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.data.align import align
from zoo.data.boxes import CORNERS, square_boxes
from zoo.data.run_images import run_images
from zoo.runs.run import Run


@dataclass(frozen=True)
class Pair:
    """An image and a label to explain: `row` into the images, `column` into the logits; `boxes` `(M, 4)` in fractions."""

    row: int
    column: int
    image: str
    patient: str
    reference: int | None
    boxes: np.ndarray


def no_boxes() -> np.ndarray:
    """The boxes of an image that has none."""
    return np.zeros((0, 4))


def split_pairs(
    run: Run, split: str, with_boxes: bool, columns: Sequence[int], registry: Registry
) -> tuple[np.ndarray, list[Pair]]:
    """The pairs to explain in one split of a run.

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
    task = run.task()
    reference = align(records, task)[0].labels
    boxes = _boxes(records, kept, task) if with_boxes else None
    pairs = []
    patients = listed["patient"].fillna(listed["image"])
    for row, image, patient in zip(kept.tolist(), listed["image"], patients, strict=True):
        for column in columns or range(task.outputs):
            of_pair = no_boxes() if boxes is None else boxes.get((row, column))
            value = reference[row, column]
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


def _boxes(records: Records, rows: np.ndarray, task: Task) -> dict[tuple[int, int], np.ndarray]:
    """Boxes of images by (row, output), in fractions of the padded square.

    The one output of a binary task that is no finding of the dataset, such as Abnormal, takes the boxes of all findings.
    """
    column = {label: k for k, label in enumerate(task.labels)}
    any_finding = task.kind == "binary" and task.labels[0] not in records.labels
    boxes = square_boxes(records, rows)
    boxes = boxes.assign(column=0 if any_finding else boxes["label"].map(column)).dropna(subset="column")
    found: dict[tuple[int, int], list[np.ndarray]] = {}
    for row, k, corner in zip(boxes["row"], boxes["column"].astype(int), boxes[CORNERS].to_numpy(float), strict=True):
        found.setdefault((row, k), []).append(corner)
    return {key: np.array(each) for key, each in found.items()}
