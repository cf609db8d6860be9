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
from zoo.core.tables import column_key, read_table
from zoo.core.text import count_of, listed
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
    rows: np.ndarray | None = None  # the row of the table that each of `cells` is from; None: its own
    used: dict[str, str] = field(default_factory=dict)  # columns that were asked for or found, and by which name
    labels: pd.DataFrame = field(default_factory=pd.DataFrame)
    normal: str | None = None
    no_pathology: tuple[str, ...] = ()
    contradictions: str = "refuse"  # or "finding", "aside": what a normal image with a finding counts as
    notes: list[str] = field(default_factory=list)
    patients_known: bool = False
    official_split: bool = False
    boxes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({name: [] for name in _tables.BOX}))
    reasons: np.ndarray = field(
        default_factory=lambda: np.empty(0, object)
    )  # why a row is set aside, "" where it is not

    @classmethod
    def from_csv(cls, file: Path, faults: Faults | None = None) -> RecordBuilder:
        """Begin with a table as `zoo.core.tables.read_table` takes it; raises DataError where it cannot be read."""
        cells, unusual = read_table(file)
        return cls(file, cells, faults, notes=[f"{file.name}: {unusual}"] if unusual else [])

    def error(self, rows: Any, message: str) -> DataError:
        """An error that names the first of the rows (a mask): its line in the file, the header being line 1."""
        first = int(np.argmax(np.asarray(rows)))
        first = first if self.rows is None else int(self.rows[first])
        row = f"line {first + 2}" if self.term == "column" else f"record {first}"
        return DataError(f"{self.file}, {row}: {message}")

    def find(self, *names: str) -> pd.Series | None:
        """The cells of the first of these columns that is there, in any spelling; None where none is."""
        for name in names:
            for same in (str, str.lower, column_key):
                for column in self.cells:
                    if same(str(column)) == same(name):
                        return self.cells[column]
        return None

    def need(self, name: str, option: str = "") -> pd.Series:
        """As `find`, but a DataError that lists the columns and names the closest one."""
        found = self.find(name)
        if found is None:
            raise self.missing(name, option)
        self.used.setdefault(str(found.name), "")
        return found

    def missing(self, name: str, option: str, hint: str = "") -> DataError:
        """The error for a column that is not there; `hint` says which could be meant."""
        columns = [str(c) for c in self.cells]
        message = f"{self.file} has no {self.term} '{name}'.{hint or did_you_mean(name, columns)}"
        message += f" Its {self.term}s: {', '.join(columns)}."
        return DataError(message + (f" Name the right one with the option {option}." if option else ""))

    def chosen(self, option: str, name: str) -> pd.Series | None:
        """The column of an option whose default is its own name: used if there; one that the user named must be there."""
        return self.usual(option) if name in ("", option) else self.need(name, option)

    def usual(self, name: str) -> pd.Series | None:
        """The column of this name in any spelling, else the only one with another usual name; None where there is none."""
        found = self.find(name)
        candidates = [found] if found is not None else self.candidates(name)
        if len(candidates) > 1:
            several = listed([f"'{each.name}'" for each in candidates])
            self.notes.append(f"the {self.term}s {several} could each be the {name}: say which with the option {name}")
        if len(candidates) != 1:
            return None
        self.used[str(candidates[0].name)] = name
        return candidates[0]

    def candidates(self, name: str) -> list[pd.Series]:
        """The columns with a usual name for this that nothing else uses."""
        usual = _tables.USUAL.get(name, ())
        return [self.cells[c] for c in self.cells if str(c) not in self.used and column_key(str(c)) in usual]

    def need_filled(self, cells: pd.Series) -> None:
        """Refuse a column with an empty cell."""
        if (cells == "").any():
            raise self.error(cells == "", f"the {self.term} '{cells.name}' is empty")

    def add_images(self, *columns: pd.Series) -> pd.Series:
        """Name the images, each once: where faults are collected the first row of an image counts.

        Of several columns, such as frontal and lateral, each row has an image or more, which stay together in a split.

        Raises:
            DataError: a row has no image, or two rows are of one image.
        """
        images = columns[0]
        if len(columns) == 1:
            self.need_filled(images)
        else:
            images = self._spread(columns)
        twice = images.duplicated()
        if self.faults is not None:
            self.faults.add(LISTED_TWICE, images[twice], f"{self.file.name} has a row of it before")
            self.rows = (np.arange(len(images)) if self.rows is None else self.rows)[~twice]
            self.cells, images = self.cells[~twice].reset_index(drop=True), images[~twice].reset_index(drop=True)
            self.columns = {name: cells[~twice].reset_index(drop=True) for name, cells in self.columns.items()}
        elif twice.any():
            count = f" ({int(twice.sum()):,} such rows)" if twice.sum() > 1 else ""
            name = images[twice].iloc[0]
            raise self.error(twice, f"the image '{name}' has a row already{count}; one row per image")
        self.columns = {"image": images, "path": images, "patient": images, **self.columns}
        self.reasons = np.full(len(images), "", object)
        return images

    def _spread(self, columns: tuple[pd.Series, ...]) -> pd.Series:
        """One row per image of tables with one row per study; the study counts as the patient until that is known."""
        table = pd.concat(columns, axis=1)
        empty = (table == "").all(axis=1)
        if empty.any():
            raise self.error(empty, f"the {self.term}s {listed(list(map(str, table)))} are all empty")
        cells = table.to_numpy(dtype=object)
        self.rows, places = np.nonzero(cells != "")
        self.cells = self.cells.iloc[self.rows].reset_index(drop=True)
        images = pd.Series(cells[self.rows, places], name=", ".join(map(str, table)))
        self.columns["patient"] = images.groupby(self.rows).transform("first")
        views = [_tables.view_in(str(name)) for name in table]
        if any(views):
            self.columns["view"] = _tables.parse_views(
                pd.Series(views, dtype=object).iloc[places].reset_index(drop=True)
            )
        return images

    def add_patients(self, patients: pd.Series | None, pattern: str = "") -> None:
        """Name the patient of each image, or find it in the image's path; without either each image is one, and a note says so."""
        if pattern:
            self.columns["patient"] = _tables.patients_in(self.columns["image"].tolist(), pattern)
        elif patients is None:
            ways = "option patient, or patient_pattern for the paths"
            self.notes.append(f"there is no {self.term} of patients: {_tables.OWN_PATIENT} ({ways})")
            return
        else:
            self.need_filled(patients)
            self.columns["patient"] = patients
        self.patients_known = True

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

    def contradict(self, rows: Any, message: str, label: str) -> None:
        """Note the images that are normal and have the finding `label`; raise where `contradictions` are to be refused."""
        if not np.any(rows):
            return
        count = count_of(int(np.sum(rows)), "such row")
        if self.faults is None and self.contradictions == "refuse":
            raise self.error(
                rows,
                f"{message} ({count}). Correct them, name '{label}' with the option no_pathology where a normal image may "
                "have it, or set the option contradictions to finding or aside.",
            )
        if self.contradictions == "aside":
            self.set_aside(rows, "normal and a finding")
        if self.faults is None:
            return
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
        renamed = [f"{name} from '{column}'" for column, name in self.used.items() if name not in ("", column)]
        if renamed:
            self.notes.insert(0, f"{self.term}s found by their usual names: {', '.join(renamed)}")
        table, unused, images = self.table, self.reasons != "", self.columns["image"].to_numpy()
        return Records(
            table=table,
            labels=tuple(map(str, self.labels)),
            source=source,
            normal=self.normal,
            no_pathology=self.no_pathology,
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
