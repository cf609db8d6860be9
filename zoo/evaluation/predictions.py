"""The predictions table: everything after training reads it, not the model."""

from __future__ import annotations

import hashlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import zoo.evaluation.metrics as metrics
from zoo.core.cells import csv_text
from zoo.core.errors import DataError
from zoo.core.files import write_text
from zoo.core.tasks import Task
from zoo.evaluation.notes import Note

COLUMNS = ("image", "patient")
METADATA = ("split", "view", "age", "sex", "follow_up")
_TEXT = ("image", "patient", "split", "view", "sex", "digest")
_OWN = ("label:", "logit:", "probability:")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits and labels of images, in the order of `table`.

    `table` has the columns image and patient, any of split, view, age, sex and follow_up, and any other column of
    the dataset. `labels` is float32 `(N, K)`: 1, 0 or NaN for unknown. `logits` is float32 `(N, K)`. `notes` are doubts about
    the file they were read from; whatever is measured on them carries these.
    """

    task: Task
    table: pd.DataFrame
    labels: np.ndarray
    logits: np.ndarray
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.table), self.task.outputs)
        for name in ("labels", "logits"):
            array = np.asarray(getattr(self, name), dtype=np.float32)
            if array.shape != shape:
                raise ValueError(f"{name} have the shape {array.shape}; {shape[0]} images × {shape[1]} labels: {shape}")
            object.__setattr__(self, name, array)
        missing = [c for c in COLUMNS if c not in self.table.columns]
        if missing:
            raise ValueError(f"the table of predictions lacks the columns {missing}")
        if not np.isin(self.labels[~np.isnan(self.labels)], (0, 1)).all():
            raise ValueError("labels must be 1, 0 or NaN")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def probabilities(self) -> np.ndarray:
        """Sigmoid or softmax of the logits, float64 `(N, K)` in [0, 1]."""
        return metrics.probabilities(self.task, self.logits)

    @property
    def scores(self) -> np.ndarray:
        """What ranks images: `(N, K)` in the order of the probabilities (see `metrics.ranking_scores`)."""
        return metrics.ranking_scores(self.task, self.logits)

    @property
    def images_digest(self) -> str:
        """Identifies the set of images, whatever their order."""
        return _digest(sorted(self.table["image"].astype(str)))

    @property
    def labels_digest(self) -> str:
        """Identifies the images with their labels: equal where two runs were measured against the same reference."""
        values = np.where(np.isnan(self.labels), -1, self.labels).astype(int).tolist()
        rows = sorted(zip(self.table["image"].astype(str), values, strict=True))
        return _digest([*self.task.labels, *(f"{image} {row}" for image, row in rows)])

    @property
    def digest(self) -> str:
        """Identifies the contents, whatever the order of the images: their names, patients, labels and exact logits."""
        names, patients = (self.table[column].astype(object).fillna("").astype(str).to_numpy() for column in COLUMNS)
        order = np.argsort(names, kind="stable")
        found = hashlib.sha256(repr((self.task.kind, self.task.labels)).encode())
        found.update("\n".join(f"{names[i]}\t{patients[i]}" for i in order).encode())
        for values in (np.where(np.isnan(self.labels), -1, self.labels), self.logits + 0.0):  # -0 is read as 0
            found.update(np.ascontiguousarray(values[order], dtype="<f4").tobytes())
        return found.hexdigest()[:16]

    def where(self, mask: np.ndarray) -> Predictions:
        """The images chosen by a boolean mask `(N,)`."""
        keep = np.asarray(mask, dtype=bool)
        table = self.table[keep].reset_index(drop=True)
        return Predictions(self.task, table, self.labels[keep], self.logits[keep], self.notes)

    def check(self, what: str) -> None:
        """Make sure that there is something to measure; `what` names these predictions in the message.

        Raises:
            DataError: there are no images, a logit is not finite, or an image is named twice.
        """
        if not len(self):
            raise DataError(f"{what}: there are no images to evaluate.")
        bad = ~np.isfinite(self.logits).all(axis=1)
        if bad.any():
            first = self.table["image"].iloc[int(bad.argmax())]
            raise DataError(
                f"{what}: {bad.sum()} of {len(self)} images have a logit that is NaN or infinite, "
                f"the first is '{first}'. The network has diverged: train again with a lower learning rate."
            )
        twice = self.table["image"].duplicated()
        if twice.any():
            first = self.table["image"][twice].iloc[0]
            raise DataError(f"{what}: {twice.sum()} images are named more than once, the first is '{first}'.")

    def save(self, path: Path) -> None:
        """Write a CSV, whole or not at all: image, patient, metadata, then per label its value, logit and probability.

        Numbers have nine significant digits, from which a float32 is read back exactly. Unknown is an empty cell.
        """
        first = [c for c in (*COLUMNS, *METADATA) if c in self.table.columns]
        known = [*first, *(c for c in self.table.columns if c not in first)]
        parts = {c: self.table[c].to_numpy() for c in known}
        probability = self.probabilities
        for k, label in enumerate(self.task.labels):
            parts[f"label:{label}"] = self.labels[:, k]
            parts[f"logit:{label}"] = self.logits[:, k].astype(np.float64)
            parts[f"probability:{label}"] = probability[:, k]
        write_text(path, csv_text(pd.DataFrame(parts), float_format="%.9g"))

    @classmethod
    def load(cls, path: Path, task: Task) -> Predictions:
        """Read what `save` wrote.

        Raises:
            DataError: the file is not there, lacks columns, holds something that is no number or no label, names an image
                twice, or was written for another kind of task.
        """
        table = read_table(
            path, [*COLUMNS, *(f"{what}:{label}" for label in task.labels for what in ("label", "logit"))]
        )
        labels = _numbers(table, path, [f"label:{label}" for label in task.labels])
        if not np.isin(labels[~np.isnan(labels)], (0, 1)).all():
            raise DataError(f"{path}: the label columns must hold 1, 0 or nothing.")
        logits = _numbers(table, path, [f"logit:{label}" for label in task.labels]).astype(np.float32)
        twice = table["image"].duplicated()
        if twice.any():
            first = table["image"][twice].iloc[0]
            raise DataError(f"{path}: {twice.sum()} images are named more than once, the first is '{first}'.")
        found = cls(task, table[[c for c in table.columns if not c.startswith(_OWN)]], labels, logits)
        columns = [f"probability:{label}" for label in task.labels]
        if set(columns) <= set(table.columns):
            difference = np.abs(_numbers(table, path, columns) - found.probabilities)
            if np.nanmax(difference, initial=0) > 1e-4:
                raise DataError(
                    f"{path}: the probabilities are not the {task.activation} of the logits; "
                    f"the file was written for a task that is not {task.kind}, or edited."
                )
        return found


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_table(path: Path, needed: list[str], only: Container[str] | None = None) -> pd.DataFrame:
    """Read a table of images as written: names keep their zeros and an image called "NA" stays one. `only` these columns, as
    far as they are there, or all.

    Raises:
        DataError: the file is not there, is no table, or lacks a needed column.
    """
    try:
        columns = pd.read_csv(path, nrows=0).columns
        missing = [c for c in needed if c not in columns]
        if missing:
            raise DataError(f"{path} lacks the columns {', '.join(missing)}. Its columns: {', '.join(columns)}.")
        return pd.read_csv(
            path,
            usecols=None if only is None else [c for c in columns if c in only],
            dtype={c: str for c in _TEXT if c in columns},
            keep_default_na=False,
            na_values={c: ["", "nan"] if c not in _TEXT else [""] for c in columns},
        )
    except FileNotFoundError:
        raise DataError(f"there is no table of images at {path}.") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a table of images: {error}") from None


def _numbers(table: pd.DataFrame, path: Path, columns: list[str]) -> np.ndarray:
    for column in columns:
        if len(table) and not pd.api.types.is_numeric_dtype(table[column]):
            wrong = table[column][pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()].iloc[0]
            raise DataError(f"{path}: the column {column} holds {wrong!r}, which is not a number.")
    return table[columns].to_numpy(dtype=np.float64)
