"""How an exported file agrees with zoo: differences of probabilities, and what quantisation costs in AUROC."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.core.progress import Progress
from zoo.core.tasks import Task
from zoo.evaluation import metrics
from zoo.evaluation.bootstrap import auroc_replicates, percentile_interval
from zoo.export.formats import Runner
from zoo.export.trial_images import TrialImages, known_labels
from zoo.inference.operating_point import OperatingPoint

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
class Difference:
    """Probabilities of a file against zoo's: the largest and the mean absolute difference, and decisions that changed.

    Decisions count image by image and label by label. `largest` and `mean` are infinite where a probability is not finite.
    """

    largest: float
    mean: float
    flipped: int


@dataclass(frozen=True)
class Parity:
    """The comparison of a file with zoo.

    `prepared` is for images that zoo brought to the network's size, which the file passes through: what remains is the network
    itself. `original` is for the images as they are, which the file resizes by its own filter. `images_per_s` is the
    file's rate on these, one at a time. `changes` has one entry per label and, for several labels, the mean first; it is
    empty where the images have no labels.
    """

    images: int
    where: str
    real: bool
    prepared: Difference
    original: Difference
    images_per_s: float
    changes: tuple[Change, ...] = ()


def zoo_probabilities(network: Any, point: OperatingPoint, pixels: np.ndarray) -> np.ndarray:
    """Zoo's own probabilities, float64 `(N, K)`, for images `(N, S, S)` uint8 of the network's size."""
    logits = []
    with Progress("Predicting with zoo", len(pixels)) as progress:
        for start in range(0, len(pixels), BATCH):
            part = pixels[start : start + BATCH]
            filled = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])  # one shape to compile
            logits.append(np.asarray(network.predict_on_batch(filled[..., None]), np.float32)[: len(part)])
            progress.advance(len(part))
    return point.probabilities(np.concatenate(logits))


def compare(
    run: Runner, expected: np.ndarray, images: TrialImages, pixels: np.ndarray, point: OperatingPoint, *, auroc: bool
) -> Parity:
    """Run a file on images, one at a time.

    Args:
        run: the file.
        expected: zoo's probabilities `(N, K)`.
        images: N images as they are.
        pixels: the same images at the network's size, `(N, S, S)` uint8.
        point: the labels and thresholds.
        auroc: measure the change of AUROC as well, where the images' labels are known.
    """
    prepared, _ = _run(run, pixels, "Predicting with the file")
    original, seconds = _run(run, images.pixels, "Predicting with the file, resizing")
    changes: tuple[Change, ...] = ()
    if auroc and known_labels(point.task, images):
        changes = auroc_changes(point.task, images, expected, original)
    return Parity(
        images=len(images),
        where=images.where,
        real=images.real,
        prepared=_difference(prepared, expected, point),
        original=_difference(original, expected, point),
        images_per_s=len(images) / max(seconds, 1e-9),
        changes=changes,
    )


def _run(run: Runner, images: Sequence[np.ndarray] | np.ndarray, title: str) -> tuple[np.ndarray, float]:
    """The file's probabilities `(N, K)`, and the seconds they took."""
    run(images[0])  # the first call is slow
    found, began = [], time.perf_counter()
    with Progress(title, len(images)) as progress:
        for image in images:
            found.append(np.asarray(run(image), np.float64))
            progress.advance(1)
    return np.stack(found), time.perf_counter() - began


def _difference(found: np.ndarray, expected: np.ndarray, point: OperatingPoint) -> Difference:
    difference = np.abs(found - expected)
    if not np.isfinite(difference).all():
        difference = np.array([np.inf])
    changed = _decisions(found, point) != _decisions(expected, point)
    return Difference(float(difference.max()), float(difference.mean()), int(changed.sum()))


def _decisions(probabilities: np.ndarray, point: OperatingPoint) -> np.ndarray:
    if point.task.exclusive:
        return probabilities.argmax(axis=1)
    return probabilities >= np.array([point.thresholds[label] for label in point.task.labels])


def auroc_changes(task: Task, images: TrialImages, before: np.ndarray, after: np.ndarray) -> tuple[Change, ...]:
    """AUROC of two sets of probabilities `(N, K)` of the same images, by label, with paired bootstrap intervals."""
    assert images.labels is not None
    assert images.patients is not None
    labels = images.labels
    draws = [auroc_replicates(labels, scores, images.patients, REPLICATES, seed=0) for scores in (before, after)]
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
