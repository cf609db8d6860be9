"""From a table of text cells to records: what every reader of a table does, one method each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo import DataError, Faults, ImageSource, Listing, Records
from zoo.core.errors import did_you_mean
from zoo.core.listing import LISTED_TWICE, NO_FILE, NO_USE, NORMAL_AND_FINDING
from zoo.datasets import _tables


@dataclass
class RecordBuilder:
    """Records in the making. Methods are called in the order of the table: images first, `records` last.

    Args:
        file: where the cells are from, for messages.
        cells: one row per image, text, "" where empty.
        faults: collects images that are listed twice, or normal with a finding; without it they are errors.
        term: what the user knows a column as: "column" of a table, "feature" of records.
    """

    file: Path
    cells: pd.DataFrame
    faults: Faults | None = None
    term: str = "column"
    columns: dict[str, Any] = field(default_factory=dict)  # of the records, without labels
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    normal: str | None = None
    notes: list[str] = field(default_factory=list)
    patients_known: bool = False
    official_split: bool = False
    boxes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({name: [] for name in _tables.BOX}))
    reasons: np.ndarray = field(
        default_factory=lambda: np.empty(0, object)
    )  # why a row is set aside, "" where it is not

    @classmethod
    def from_csv(cls, file: Path, faults: Faults | None = None) -> RecordBuilder:
        """Begin with a CSV file (.gz too); raises DataError where it cannot be read."""
        return cls(file, _tables.read_text_table(file), faults)

    def error(self, rows: Any, message: str) -> DataError:
        """An error that names the first of the rows (a mask): its line in the file, the header being line 1."""
        first = int(np.argmax(np.asarray(rows)))
        row = f"line {first + 2}" if self.term == "column" else f"record {first}"
        return DataError(f"{self.file}, {row}: {message}")

    def find(self, *names: str) -> pd.Series | None:
        """The cells of the first of these columns that is there, in any case; None where none is."""
        for name in names:
            same = [c for c in self.cells if c == name], [c for c in self.cells if str(c).lower() == name.lower()]
            for column in (*same[0], *same[1]):
                return self.cells[column]
        return None

    def need(self, name: str, option: str = "") -> pd.Series:
        """As `find`, but a DataError that lists the columns and names the closest one."""
        found = self.find(name)
        if found is not None:
            return found
        columns = [str(c) for c in self.cells]
        message = f"{self.file} has no {self.term} '{name}'.{did_you_mean(name, columns)}"
        message += f" Its {self.term}s: {', '.join(columns)}."
        raise DataError(message + (f" Name the right one with the option {option}." if option else ""))

    def chosen(self, option: str, name: str) -> pd.Series | None:
        """The column of an option whose default is its own name: used if there; one that the user named must be there."""
        return self.find(option) if name in ("", option) else self.need(name, option)

    def need_filled(self, cells: pd.Series) -> None:
        """Refuse a column with an empty cell."""
        if (cells == "").any():
            raise self.error(cells == "", f"the {self.term} '{cells.name}' is empty")

    def add_images(self, images: pd.Series) -> pd.Series:
        """Name the images, each once: where faults are collected the first row of an image counts.

        Raises:
            DataError: a cell is empty, or two rows are of one image.
        """
        self.need_filled(images)
        twice = images.duplicated()
        if self.faults is not None:
            self.faults.add(LISTED_TWICE, images[twice], f"{self.file.name} has a row of it before")
            self.cells, images = self.cells[~twice].reset_index(drop=True), images[~twice].reset_index(drop=True)
        elif twice.any():
            count = f" ({int(twice.sum()):,} such rows)" if twice.sum() > 1 else ""
            name = images[twice].iloc[0]
            raise self.error(twice, f"the image '{name}' has a row already{count}; one row per image")
        self.columns |= {"image": images, "path": images, "patient": images}
        self.reasons = np.full(len(images), "", object)
        return images

    def add_patients(self, patients: pd.Series | None) -> None:
        """Name the patient of each image; without it each image is one, and a note says so."""
        if patients is None:
            self.notes.append(f"there is no {self.term} of patients: {_tables.OWN_PATIENT} (option patient)")
            return
        self.need_filled(patients)
        self.columns["patient"], self.patients_known = patients, True

    def add_metadata(
        self, view: pd.Series | None = None, age: pd.Series | None = None, sex: pd.Series | None = None
    ) -> None:
        """Add what is known of views, ages in years and sexes; values that cannot be read become notes."""
        if view is not None:
            self.columns["view"] = _tables.parse_views(view)
        for name, cells, parse in (("age", age, _tables.parse_ages), ("sex", sex, _tables.parse_sexes)):
            if cells is not None:
                self.columns[name], notes = parse(cells)
                self.notes += notes

    def add_split(self, cells: pd.Series) -> None:
        """Add a published split: "train", "val" (valid, validation), "test" or "train_val" per row, in any case.

        Raises:
            DataError: a cell has another value.
        """
        lowered = cells.str.lower()
        strange = ~lowered.isin(list(_tables.SPLITS))
        if strange.any():
            value = cells[strange].iloc[0]
            hint = did_you_mean(value, _tables.SPLITS)
            raise self.error(
                strange,
                f"the {self.term} '{cells.name}' has the value '{value}'.{hint} Valid: train, val, test, train_val.",
            )
        split = lowered.map(_tables.SPLITS)
        self.columns["split"], self.official_split = split, bool((split == "test").any())
        if not self.official_split:
            self.notes.append(
                f"no image is marked test in the {self.term} '{cells.name}': the split is not an official one"
            )

    def contradict(self, rows: Any, message: str) -> None:
        """Note the images that are normal and have a finding, or raise where no faults are collected."""
        if not np.any(rows):
            return
        if self.faults is None:
            raise self.error(rows, message)
        self.faults.add(NORMAL_AND_FINDING, self.columns["image"][np.asarray(rows)], message)

    def set_aside(self, rows: Any, reason: str) -> int:
        """Leave these rows (a mask) out of the records; returns their number. A row keeps its first reason."""
        chosen = np.asarray(rows) & (self.reasons == "")
        self.reasons[chosen] = reason
        return int(chosen.sum())

    @property
    def table(self) -> pd.DataFrame:
        """The rows that are not set aside."""
        labels = {str(name): self.labels[name].to_numpy() for name in self.labels}
        return pd.DataFrame({**self.columns, **labels})[self.reasons == ""].reset_index(drop=True)

    def records(self, source: ImageSource) -> Records:
        """The records of the rows that are not set aside, with their boxes."""
        table, unused, images = self.table, self.reasons != "", self.columns["image"].to_numpy()
        return Records(
            table=table,
            labels=tuple(map(str, self.labels)),
            source=source,
            normal=self.normal,
            boxes=self.boxes[self.boxes["image"].isin(table["image"])].reset_index(drop=True),
            set_aside=_tables.aside(zip(images[unused], self.reasons[unused], strict=True)),
            notes=tuple(self.notes),
            official_split=self.official_split,
            patients_known=self.patients_known,
        )

    def listing(self, source: ImageSource) -> Listing:
        """The records of a survey with what is wrong; an image without a file has the path ""."""
        faults, records = self.faults or Faults(), self.records(source)
        missing = records.table.loc[records.table["path"] == "", "image"]
        faults.add(NO_FILE, missing, f"{self.file.name} has a row of it")
        for image, reason in zip(records.set_aside["image"], records.set_aside["reason"], strict=True):
            faults.add(NO_USE, [image], reason)
        return Listing(records, faults.table())
