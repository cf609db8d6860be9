"""Checks that runs can be joined: finished, with one task, one image size and the same images in the same splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from zoo.config.run_config import OF_THE_IMAGES
from zoo.core.errors import DataError, UsageError, ZooError
from zoo.runs.run import Run

LEARNED = ("train", "val")  # the splits whose labels a network was trained or its settings chosen on


def check_members(runs: Sequence[Run]) -> None:
    """Check that runs can be joined.

    Raises:
        UsageError: there are fewer than two, or one is named twice.
        ZooError: one is not finished, or lacks a file.
        DataError: their tasks, labels, image sizes, images or splits differ; the message says how to make them match.
    """
    if len(runs) < 2:
        raise UsageError("an ensemble needs at least two runs: zoo ensemble RUN RUN [RUN...].")
    paths = [run.path.resolve() for run in runs]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise UsageError(f"the run {runs[number].name} is named twice: give each run once.")
    for run in runs:
        _check_finished(run)
    first = runs[0]
    images = _images(first)
    for other in runs[1:]:
        _check_alike(first, other)
        _check_split(first, images, other, _images(other))


def _check_finished(run: Run) -> None:
    status = run.info().get("status")
    if status != "complete":
        raise ZooError(
            f"the run {run.name} is not finished (status: {status}). Train it to the end: zoo train --resume "
            f"{run.reference}"
        )
    if not run.model_file.is_file():
        raise ZooError(f"the run {run.name} has no trained network: {run.model_file} is missing.")


def _check_alike(first: Run, other: Run) -> None:
    a, b = first.task(), other.task()
    if a != b:
        order = a.kind == b.kind and set(a.labels) == set(b.labels)
        what = "have their labels in another order" if order else f"learned {a} and {b}"
        raise DataError(
            f"{first.name} and {other.name} {what}: an ensemble needs one task with the same labels in the same order."
        )
    sizes = [int(run.info()["image_size"]) for run in (first, other)]
    if sizes[0] != sizes[1]:
        raise DataError(
            f"{first.name} takes images of {sizes[0]} pixels and {other.name} of {sizes[1]}: the networks of an ensemble read the "
            f"same image. Train one of them again with --image-size {max(sizes)}."
        )


def _images(run: Run) -> pd.DataFrame:
    images = run.images()
    return images.assign(image=images["image"].astype(str)).set_index("image")


def _check_split(first: Run, a: pd.DataFrame, other: Run, b: pd.DataFrame) -> None:
    leaks = [*_leaks(first, a, other, b), *_leaks(other, b, first, a)]
    if leaks:
        raise DataError(
            f"{' and '.join(leaks)}: results on images that one of the networks was trained on are too optimistic. "
            f"{_remedy(first, other)}"
        )
    only = [(run, x.index.difference(y.index)) for run, x, y in ((first, a, b), (other, b, a))]
    lone = [f"{len(names):,} only in {run.name}, such as '{names[0]}'" for run, names in only if len(names)]
    if lone:
        raise DataError(
            f"{first.name} and {other.name} have different images ({'; '.join(lone)}). {_remedy(first, other)}"
        )
    b = b.loc[a.index]
    moved = (a["split"] != b["split"]).to_numpy()
    if moved.any():
        raise DataError(
            f"{moved.sum():,} images are in another split in {other.name} than in {first.name}, such as "
            f"'{a.index[int(moved.argmax())]}'. {_remedy(first, other)}"
        )
    for column in ("digest", *(f"label:{label}" for label in first.task().labels)):
        x, y = a[column], b[column]
        differ = ((x != y) & ~(x.isna() & y.isna())).to_numpy()
        if differ.any():
            what = "other pixels" if column == "digest" else f"another label {column.removeprefix('label:')}"
            raise DataError(
                f"{differ.sum():,} images have {what} in {other.name} than in {first.name}, such as "
                f"'{a.index[int(differ.argmax())]}': the dataset changed between the two. Train the older one again."
            )


def _leaks(learner: Run, a: pd.DataFrame, measured: Run, b: pd.DataFrame) -> list[str]:
    """A phrase if a network was trained on images that the other run holds out.

    Validation images count too: the ensemble's thresholds are chosen on them.
    """
    found = []
    for side, name in (("test", "test"), ("val", "validation")):
        held = b.index[b["split"] == side]
        sides = ("train",) if side == "val" else LEARNED
        learned = a[a["split"].isin(sides)]
        shared = held[held.isin(learned.index) | b.loc[held, "digest"].isin(set(learned["digest"])).to_numpy()]
        if len(shared):
            found.append(
                f"{learner.name} has learned from {len(shared):,} of the {len(held):,} {name} images of {measured.name}, such "
                f"as '{shared[0]}'"
            )
            break
    return found


def _remedy(first: Run, other: Run) -> str:
    """How to make the runs match, and which settings differ."""
    a, b = first.config(), other.config()
    differ = [name for name in OF_THE_IMAGES if _plain(a.get(name)) != _plain(b.get(name))]
    settings = "; ".join(f"{name}: {_plain(a.get(name))} and {_plain(b.get(name))}" for name in differ)
    difference = f" They differ in {settings}." if differ else ""
    return f"Train them on the same images and with the same seed, which draws the split.{difference}"


def _plain(value: Any) -> Any:
    """A setting as text; for a dataset with its options."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return value
