"""A table of readings: what several readers said of the same images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zoo.core.errors import DataError
from zoo.core.tables import column_key, read_table
from zoo.core.tasks import Task
from zoo.evaluation.bootstrap import unknown_patients
from zoo.evaluation.reference import (
    IMAGE_COLUMNS,
    NO_FINDINGS,
    YES_NO,
    match_images,
    read_reference,
)

if TYPE_CHECKING:
    from zoo.evaluation.predictions import Predictions

COLUMNS: dict[str, tuple[str, ...]] = {
    "image": IMAGE_COLUMNS,
    "reader": ("reader", "Reader ID", "observer", "rater", "radiologist"),
    "patient": ("patient", "Patient ID", "subject", "Subject ID"),
    "modality": ("modality", "treatment", "condition", "arm"),
    "label": ("label", "finding"),
    "score": ("score", "rating", "reading"),
    "reference": ("reference", "reference label", "truth", "gold standard"),
}
ONE, UNNAMED = "readings", "finding"  # the modality and the label where the table names none


@dataclass(frozen=True, eq=False)
class Readings:
    """Scores of J readers in I modalities for N images and K labels.

    `scores` is `(K, N, I, J)`, higher meaning more likely positive, NaN where a reader did not read. `reference` is `(N, K)`:
    1, 0 or NaN for unknown. An image without a patient has the patient "".
    """

    source: str
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    images: np.ndarray
    patients: np.ndarray
    scores: np.ndarray
    reference: np.ndarray

    @property
    def has_reference(self) -> bool:
        return not bool(np.isnan(self.reference).all())

    def yes_or_no(self, k: int) -> bool:
        """Whether the readings of label k are 1 or 0 and nothing between."""
        found = self.scores[k][~np.isnan(self.scores[k])]
        return bool(np.isin(found, (0, 1)).all())

    def with_reference(self, reference: np.ndarray) -> Readings:
        """The same readings with other reference labels `(N, K)`."""
        return replace(self, reference=reference)

    def of_labels(self, kept: Sequence[int]) -> Readings:
        """The readings of some labels only, by number."""
        return replace(
            self,
            labels=tuple(self.labels[k] for k in kept),
            scores=self.scores[kept],
            reference=self.reference[:, kept],
        )

    def with_patients(self, patients: np.ndarray) -> Readings:
        """The same readings, patients taken from `patients` `(N,)` where the table names none."""
        unknown = unknown_patients(self.patients).to_numpy()
        return replace(self, patients=np.where(unknown, patients, self.patients))


def read_readings(path: Path) -> Readings:
    """Read a CSV of readings in either of two layouts.

    Long: a row per image, label and reader with the columns image, reader and score, and where there is more than one,
    label and modality. Wide: a row per image and reader with a column per finding, as published for the NIH images by Google.
    Scores are numbers, or yes and no. Optional: patient, and (long) the reference label of the image.

    Raises:
        DataError: the file cannot be read, lacks a column, a value is not valid, the same reading stands twice, or an image
            has two patients or two reference labels.
    """
    raw = read_table(path, "readings")[0]
    found = named_columns(raw, path, COLUMNS, ("image", "reader"))
    table = pd.DataFrame({name: raw[column] for name, column in found.items()}).assign(line=np.arange(len(raw)) + 2)
    table["modality"] = table.get("modality", ONE)
    table["patient"] = table.get("patient", "")
    for name in ("image", "reader", "modality"):
        if (table[name] == "").any():
            line = table["line"][table[name] == ""].iloc[0]
            raise DataError(f"{path}, line {line}: the column '{found[name]}' is empty.")
    if "score" in found:
        table["label"] = table.get("label", UNNAMED)
        table["score"] = _scores(raw[found["score"]], path)
    else:
        table = _melt(raw, found, table, path)
    return _arrange(table, path)


def named_columns(
    raw: pd.DataFrame, path: Path, accepted: Mapping[str, tuple[str, ...]], needed: Sequence[str]
) -> dict[str, str]:
    """The columns that a table has, by what they mean; `accepted` lists the names that each may have.

    Raises:
        DataError: a needed one is missing.
    """
    keys = {column_key(c): str(c) for c in reversed(raw.columns)}
    found = {
        name: keys[key]
        for name, spellings in accepted.items()
        for key in map(column_key, reversed(spellings))
        if key in keys
    }
    missing = [name for name in needed if name not in found]
    if missing:
        names = "; ".join(f"{name}: {', '.join(accepted[name])}" for name in missing)
        raise DataError(
            f"{path} has no column for {' and '.join(missing)}. Accepted are {names}. Its columns: "
            f"{', '.join(map(str, raw.columns))}."
        )
    return found


def _scores(cells: pd.Series, path: Path) -> np.ndarray:
    """Numbers, and yes and no as 1 and 0; blank is NaN."""
    words = {word: str(value) for word, value in YES_NO.items() if word.isalpha()}
    lowered = cells.str.lower()
    numbers = pd.to_numeric(lowered.map(lambda cell: words.get(cell, cell)), errors="coerce").to_numpy(dtype=np.float64)
    strange = (np.isnan(numbers) & (cells != "").to_numpy()) | np.isinf(numbers)
    if strange.any():
        line = int(strange.argmax()) + 2
        raise DataError(
            f"{path}, line {line}: the column '{cells.name}' has the value '{cells.iloc[line - 2]}'; valid are numbers, yes, "
            "no, true, false, and blank where there is no reading."
        )
    return numbers


def _melt(raw: pd.DataFrame, found: Mapping[str, str], table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """A wide table in the long form: every column that means nothing else is a finding."""
    findings = [c for c in raw.columns if c not in found.values() and column_key(c) not in NO_FINDINGS]
    if not findings:
        raise DataError(
            f"{path} has neither a column of scores ({', '.join(COLUMNS['score'])}) nor columns of findings. Its columns: "
            f"{', '.join(map(str, raw.columns))}."
        )
    table = table.drop(columns=[c for c in ("reference", "label") if c in table])
    return pd.concat([table.assign(label=str(c), score=_scores(raw[c], path)) for c in findings], ignore_index=True)


def _arrange(table: pd.DataFrame, path: Path) -> Readings:
    twice = table.duplicated(["image", "label", "reader", "modality"])
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(
            f"{path}, line {row['line']}: a second reading of '{row['image']}' by '{row['reader']}' for '{row['label']}'"
            f"{'' if row['modality'] == ONE else ' in ' + repr(row['modality'])}."
        )
    codes, names = {}, {}
    for name in ("label", "image", "modality", "reader"):  # in the order of the table, but images and readers sorted
        codes[name], names[name] = pd.factorize(table[name], sort=name in ("image", "reader"))
    scores = np.full(tuple(len(each) for each in names.values()), np.nan)
    scores[tuple(codes.values())] = table["score"]
    patients = _one_each(table, codes["image"], len(names["image"]), "patient", path)
    reference = np.full((len(names["image"]), len(names["label"])), np.nan)
    if "reference" in table:
        known = table.assign(reference=_reference(table["reference"], path))
        for k in range(len(names["label"])):
            own = (codes["label"] == k) & known["reference"].notna().to_numpy()
            reference[:, k] = _one_each(known[own], codes["image"][own], len(reference), "reference", path)
    return Readings(
        source=path.name,
        labels=tuple(map(str, names["label"])),
        modalities=tuple(map(str, names["modality"])),
        readers=tuple(map(str, names["reader"])),
        images=np.asarray(names["image"], dtype=object),
        patients=patients,
        scores=scores,
        reference=reference,
    )


def _reference(cells: pd.Series, path: Path) -> np.ndarray:
    lowered = cells.str.lower()
    strange = ~lowered.isin(list(YES_NO))
    if strange.any():
        line = int(strange.to_numpy().argmax())
        raise DataError(
            f"{path}, line {line + 2}: the reference label is '{cells.iloc[line]}'; valid are yes, no, 1, 0, true, false, and "
            "blank for unknown."
        )
    return lowered.map(YES_NO).to_numpy(dtype=np.float64)


def _one_each(table: pd.DataFrame, codes: np.ndarray, number: int, column: str, path: Path) -> np.ndarray:
    """The one value of a column that each image has; refuses two."""
    own = table[column].to_numpy()
    values = np.full(number, np.nan) if column == "reference" else np.full(number, "", dtype=object)
    values[codes] = own
    other = values[codes] != own
    if other.any():
        row, elsewhere = table[other].iloc[0], values[codes[other.argmax()]]
        raise DataError(
            f"{path}, line {row['line']}: the image '{row['image']}' has the {column} '{row[column]}' here and "
            f"'{elsewhere}' elsewhere."
        )
    return values


def reference_from(path: Path, readings: Readings) -> np.ndarray:
    """Reference labels `(N, K)` of the readings' images from a CSV; see `reference.read_reference`.

    Raises:
        DataError: as `read_reference`, or it has none of the images.
    """
    table = read_reference(path, Task("multilabel", readings.labels))
    row = match_images(pd.Series(readings.images), table["image"], path)
    found = np.full((len(readings.images), len(readings.labels)), np.nan)
    for k, label in enumerate(readings.labels):
        if label in table:
            found[row >= 0, k] = table[label].to_numpy()[row[row >= 0]]
    return found


def predictions_of(readings: Readings, predictions: Predictions, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Where a run's predictions hold the readings' images `(N,)` and labels `(K,)`, −1 where they do not.

    Labels match without regard to case, spaces, underscores and hyphens; a table that names no label takes a run's only one.

    Raises:
        DataError: they have no label or no image in common.
    """
    own = {column_key(label): k for k, label in enumerate(predictions.task.labels)}
    columns = np.array([own.get(column_key(label), -1) for label in readings.labels])
    if readings.labels == (UNNAMED,) and len(own) == 1:
        columns[:] = 0
    if (columns < 0).all():
        raise DataError(
            f"{path} and the run have no label in common. The table has {', '.join(readings.labels)}; the run "
            f"{', '.join(predictions.task.labels)}."
        )
    found = match_images(predictions.table["image"].astype(str), pd.Series(readings.images), path)
    rows = np.full(len(readings.images), -1)
    rows[found[found >= 0]] = np.flatnonzero(found >= 0)
    return rows, columns
