"""Whether an exported file says the same as zoo: the largest difference, and what quantisation costs in AUROC."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.core.progress import Progress
from zoo.core.tasks import Task
from zoo.evaluation import metrics
from zoo.evaluation.bootstrap import auroc_replicates, percentile_interval
from zoo.evaluation.calibration import Calibration
from zoo.export.formats import Runner
from zoo.export.trial_images import TrialImages, known_labels, prepared

REPLICATES = 1000
LEVEL = 0.95
BATCH = 16


@dataclass(frozen=True)
class Change:
    """AUROC of zoo and of the file on the same images, and the difference with its 95% interval.

    `label` is empty for the mean over the labels. The interval is from a bootstrap over patients, both drawn together.
    """

    label: str
    zoo: float
    file: float
    change: float
    low: float
    high: float


@dataclass(frozen=True)
class Parity:
    """The comparison of a file with zoo on images that neither has prepared.

    `largest` and `mean` are absolute differences of probabilities, `flipped` counts decisions that are others (image by image and
    label by label), `images_per_s` is the file's own rate, one image at a time with its resizing. `changes` has one entry per
    label and, for several labels, the mean first; it is empty where the images have no labels.
    """

    images: int
    where: str
    real: bool
    largest: float
    mean: float
    flipped: int
    images_per_s: float
    changes: tuple[Change, ...] = ()


def zoo_probabilities(
    network: Any, task: Task, calibration: Calibration | None, images: TrialImages, size: int
) -> np.ndarray:
    """What zoo itself says of images, float64 `(N, K)`: resizing by Pillow, the network, calibration in float64."""
    logits = []
    with Progress("zoo's own answers", len(images)) as progress:
        for start in range(0, len(images), BATCH):
            part = images.pixels[start : start + BATCH]
            batch = prepared(part, size)[..., None]
            batch = np.concatenate(
                [batch, np.repeat(batch[-1:], BATCH - len(part), axis=0)]
            )  # one shape for the compiler
            logits.append(np.asarray(network.predict_on_batch(batch), np.float32)[: len(part)])
            progress.advance(len(part))
    z = np.concatenate(logits)
    return metrics.probabilities(task, z) if calibration is None else calibration.probabilities(z)


def compare(
    run: Runner,
    expected: np.ndarray,
    images: TrialImages,
    task: Task,
    thresholds: dict[str, float] | None,
    *,
    auroc: bool,
) -> Parity:
    """Run the file on images, one at a time as they are, and hold its answers against zoo's.

    Args:
        run: the file.
        expected: zoo's probabilities `(N, K)`.
        images: N images.
        task: the labels.
        thresholds: the operating point on these probabilities; None for exclusive classes.
        auroc: measure the change of AUROC as well, where the images' labels are known.
    """
    answers = []
    run(images.pixels[0])  # the first answer is slow
    began = time.perf_counter()
    with Progress("the file's answers", len(images)) as progress:
        for image in images.pixels:
            answers.append(np.asarray(run(image), np.float64))
            progress.advance(1)
    seconds = time.perf_counter() - began
    found = np.stack(answers)
    difference = np.abs(found - expected)
    changes: tuple[Change, ...] = ()
    if auroc and known_labels(task, images):
        changes = auroc_changes(task, images, expected, found)
    return Parity(
        images=len(images),
        where=images.where,
        real=images.real,
        largest=float(difference.max()) if np.isfinite(difference).all() else float("inf"),
        mean=float(difference.mean()),
        flipped=int((_decisions(found, thresholds, task) != _decisions(expected, thresholds, task)).sum()),
        images_per_s=len(images) / max(seconds, 1e-9),
        changes=changes,
    )


def _decisions(probabilities: np.ndarray, thresholds: dict[str, float] | None, task: Task) -> np.ndarray:
    if thresholds is None:
        return probabilities.argmax(axis=1)
    return probabilities >= np.array([thresholds[label] for label in task.labels])


def auroc_changes(
    task: Task, images: TrialImages, before: np.ndarray, after: np.ndarray, seed: int = 0
) -> tuple[Change, ...]:
    """AUROC of two sets of probabilities `(N, K)` of the same images, by label, with paired bootstrap intervals."""
    assert images.labels is not None
    assert images.patients is not None
    labels = images.labels
    draws = [auroc_replicates(labels, scores, images.patients, REPLICATES, seed) for scores in (before, after)]
    points = [
        np.array([metrics.auroc(labels[:, k], scores[:, k]) for k in range(task.outputs)]) for scores in (before, after)
    ]
    defined = ~np.isnan(points[0])
    rows = [
        _change(label, points[0][k], points[1][k], draws[1][:, k] - draws[0][:, k])
        for k, label in enumerate(task.labels)
        if defined[k]
    ]
    if len(rows) > 1:
        means = [each[:, defined].mean(axis=1) for each in draws]
        rows.insert(0, _change("", points[0][defined].mean(), points[1][defined].mean(), means[1] - means[0]))
    return tuple(rows)


def _change(label: str, before: float, after: float, draws: np.ndarray) -> Change:
    low, high, _ = percentile_interval(draws, LEVEL)
    return Change(label, float(before), float(after), float(after - before), low, high)
