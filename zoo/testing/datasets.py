"""Conformance checks of datasets."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.contracts import Dataset
from zoo.testing.suite import Checks, Result, carried_out, check_info, demand

if TYPE_CHECKING:
    from zoo.core.records import Records


def check_dataset(dataset: Dataset, root: Path | str | None = None, options: Any = None) -> None:
    """Check a dataset's records: columns, labels, splits without shared patients, and that images can be read.

    Args:
        dataset: the reader.
        root: folder of its files; required if `info.needs_root`.
        options: an instance of `dataset.Options`; None: the defaults.

    Raises:
        AssertionError: the dataset fails a check; the message says which and why.
    """
    demand(dataset_results(dataset, root, options))


def dataset_results(dataset: Dataset, root: Path | str | None = None, options: Any = None) -> Iterator[Result]:
    """The result of every check, one by one."""
    return carried_out(dataset, _Subject(dataset, root, options).checks())


class _Subject:
    """The records of one dataset, read once for all checks."""

    def __init__(self, dataset: Dataset, root: Path | str | None, options: Any) -> None:
        self.dataset, self.name, self.root = dataset, dataset.info.name, root
        self.options = options or dataset.Options()

    def checks(self) -> Checks:
        return {
            "info": lambda: check_info(self.dataset),
            "columns": self.columns,
            "labels": self.labels,
            "metadata": lambda: _check_metadata(self.name, self.records),
            "splits": lambda: _check_splits(self.name, self.records),
            "images": lambda: _check_images(self.name, self.records),
        }

    @cached_property
    def records(self) -> Records:
        needs = self.dataset.info.needs_root
        assert self.root is not None or not needs, f"{self.name}: reads files, give the check a root"
        return self.dataset.read(None if self.root is None else Path(self.root), self.options)

    def columns(self) -> None:
        table = self.records.table
        assert len(table) > 0, f"{self.name}: no images found"
        for column in ("image", "path", "patient"):
            kinds = {type(value).__name__ for value in table[column]}
            assert kinds == {"str"}, f"{self.name}: column {column!r} must hold text, it holds {sorted(kinds)}"

    def labels(self) -> None:
        import pandas as pd

        records, name = self.records, self.name
        assert records.labels, f"{name}: no labels"
        twice = f"{name}: the normal class {records.normal!r} must not be a label too"
        assert records.normal not in records.labels, twice
        for label in records.labels:
            values = records.table[label]
            assert pd.api.types.is_float_dtype(values), f"{name}: label column {label!r} is {values.dtype}, not float"
            wrong = set(values.dropna()) - {0.0, 1.0}
            assert not wrong, f"{name}: label column {label!r} holds {sorted(wrong)}; valid are 1, 0 and NaN"


def _check_metadata(name: str, records: Records) -> None:
    table = records.table
    for column, valid in (("view", {"PA", "AP", "LATERAL"}), ("sex", {"M", "F"})):
        if column in table.columns:
            values = set(table[column].dropna())
            wrong = sorted(map(str, values - valid - {""}))
            assert not wrong, f"{name}: column {column!r} holds {wrong[:5]}; valid are {sorted(valid)} and missing"
    boxes = records.boxes
    if len(boxes):
        foreign = set(boxes["image"]) - set(table["image"])
        assert not foreign, f"{name}: boxes name images that are not in the table, such as {min(foreign)!r}"
        corners = boxes[["x", "y", "width", "height"]].to_numpy(dtype=float)
        inside = (corners >= 0).all() and (corners[:, :2] + corners[:, 2:] <= 1 + 1e-6).all()
        assert inside, f"{name}: boxes must be fractions of the image, within [0, 1]"


def _check_splits(name: str, records: Records) -> None:
    from zoo.core.records import SPLITS

    if "split" not in records.table.columns:
        assert not records.official_split, f"{name}: official_split is set, but there is no column 'split'"
        return
    known = records.table.dropna(subset=["split"])
    wrong = set(known["split"]) - {*SPLITS, "train_val"}
    assert not wrong, f"{name}: column 'split' holds {sorted(map(str, wrong))}; valid are train, val, train_val, test"
    splits = known.groupby("patient")["split"].nunique()
    shared = splits.index[splits > 1]
    assert shared.empty, f"{name}: {len(shared)} patients are in more than one split, such as {shared[0]!r}"


def _check_images(name: str, records: Records) -> None:
    import numpy as np

    try:
        copy = pickle.loads(pickle.dumps(records.source))
    except Exception as error:
        raise AssertionError(f"{name}: its image source cannot be pickled for worker processes: {error}") from error
    paths = list(records.table["path"][:3])
    for path in paths:
        pixels, note = records.source.read(path)
        assert pixels.dtype == np.uint8, f"{name}: image {path!r} is read as {pixels.dtype}, not uint8"
        assert pixels.ndim == 2, f"{name}: image {path!r} has shape {pixels.shape}, not (H, W)"
        assert isinstance(note, str), f"{name}: the note on image {path!r} is {type(note).__name__}, not text"
        assert np.array_equal(copy.read(path)[0], pixels), f"{name}: a pickled source reads image {path!r} differently"
    marks = {source.fingerprint(paths) for source in (records.source, copy)}
    assert len(marks) == 1, f"{name}: fingerprints of the same images differ: {sorted(marks)}"
    assert all(marks), f"{name}: the fingerprint is empty"


__all__ = ["check_dataset", "dataset_results"]
