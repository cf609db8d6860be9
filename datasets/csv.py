"""Any table of images: a CSV with an image column and labels as 0/1 columns or as one column of classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo import DataError, Dataset, DatasetInfo, Faults, Listing, Records, UsageError, hookimpl, option

if TYPE_CHECKING:
    import pandas as pd


LAYOUT = """\
  ROOT/table.csv      any name; one row per image, such as
      image,patient,label                        or  image,patient,Edema,Effusion
      images/a.png,p1,Edema|Effusion                  images/a.png,p1,1,1
      images/b.png,p2,No Finding                      images/b.png,p2,0,0
  ROOT/images/a.png    the paths of the image column, relative to ROOT"""


@dataclass(frozen=True)
class CsvOptions:
    """Options of the table reader: the names of its columns."""

    table: str = option("", "the CSV file, relative to the root or absolute; empty: the only *.csv in the root")
    image: str = option("image", "column of image paths relative to the root")
    patient: str = option("", "column of patients; empty: 'patient' if there is one, else each image is a patient")
    labels: str = option(
        "label", "columns of 0, 1, blank or -1 (unknown), separated by commas; or one column of classes"
    )
    blank: Literal["unknown", "absent"] = option(
        "unknown", "what an empty cell of a 0/1 column means; -1 is unknown in any case"
    )
    separator: str = option("|", "what stands between several findings in a column of classes")
    normal: str = option(
        "", "class that means no finding; empty: the one named normal, no finding, negative or healthy"
    )
    split: str = option("split", "column of train, val, test or train_val; used if there is one")
    view: str = option("view", "column of views, such as PA and AP; used if there is one")
    age: str = option("age", "column of ages in years; used if there is one")
    sex: str = option("sex", "column of M and F; used if there is one")
    allow_outside: bool = option(False, "read images that lie outside the root, by paths with .. or links")
    force: bool = option(False, "take DICOM files although their header says that they are no chest X-rays")
    keep: str = option("", "further columns to keep, for zoo evaluate --by; separated by commas")


def find_table(root: Path, name: str) -> Path:
    """The CSV file to read.

    Raises:
        DataError: it is not there, or there are several to choose from.
    """
    if name:
        file = root / name
        if not file.is_file():
            raise DataError(f"the table {file} does not exist (option table)")
        return file
    found = sorted(p for p in root.glob("*.csv") if p.is_file())
    if not found:
        raise DataError(f"{root} has no *.csv. The dataset 'csv' expects:\n{LAYOUT}")
    if len(found) > 1:
        raise DataError(f"{root} has {', '.join(p.name for p in found)}: say which with the option table")
    return found[0]


def _chosen(raw: pd.DataFrame, options: CsvOptions, name: str, file: Path) -> pd.Series | None:
    """A column that is used if it is there; one that the user named must be there."""
    from zoo.datasets import _tables

    wanted = getattr(options, name)
    if wanted in ("", name):
        found = _tables.find_column(raw, name)
        return None if found is None else raw[found]
    return raw[_tables.need_column(raw, wanted, file, name)]


class Csv(Dataset):
    """Reader of a table of images."""

    info = DatasetInfo(
        name="csv",
        summary="Any images listed in a CSV table, labels as 0/1 columns or as one column of classes",
        layout=LAYOUT,
    )
    Options = CsvOptions

    def read(self, root: Path | None, options: Any) -> Records:
        return self._read(root, options, None)

    def survey(self, root: Path | None, options: Any) -> Listing:
        from dataclasses import replace

        import numpy as np

        from zoo.core.listing import NO_FILE, NO_USE

        faults = Faults()
        records = self._read(root, options, faults)
        here = [os.path.lexists(os.path.join(str(root), image)) for image in records.table["path"]]
        table = records.table.assign(path=records.table["path"].where(np.array(here), ""))
        faults.add(NO_FILE, table.loc[table["path"] == "", "image"], "the table has a row of it")
        for image, reason in zip(records.set_aside["image"], records.set_aside["reason"], strict=True):
            faults.add(NO_USE, [image], reason)
        return Listing(replace(records, table=table), faults.table())

    def _read(self, root: Path | None, options: Any, faults: Faults | None) -> Records:
        import pandas as pd

        from zoo import FileSource
        from zoo.datasets import _csv_labels, _tables

        root = _tables.need_root(root, "csv", LAYOUT)
        file = find_table(root, options.table)
        raw = _tables.read_text_table(file)
        raw = _tables.unique_images(raw, _tables.need_column(raw, options.image, file, "image"), file, faults)
        images = raw[_tables.need_column(raw, options.image, file, "image")]
        if faults is None:
            _need_images(root, images, file)
        contrary = None if faults is None else (images, faults)
        blank = 0.0 if options.blank == "absent" else float("nan")
        labels = _csv_labels.read_labels(
            raw, options.labels, options.separator, options.normal, file, contrary, blank=blank
        )
        patients = _chosen(raw, options, "patient", file)
        columns: dict[str, Any] = {"image": images, "path": images, "patient": images}
        notes = list(labels.notes)
        if patients is None:
            notes.append(
                "the table has no column of patients: each image counts as a patient of its own (option patient)"
            )
        else:
            _tables.need_filled(patients, file)
            columns["patient"] = patients
        metadata, more = _metadata(raw, options, file)
        columns |= metadata
        columns |= _kept(raw, options.keep, {*columns, *labels.table}, file)
        whole = pd.DataFrame({**columns, **labels.table})
        set_aside = _tables.aside(
            images[labels.unusable != ""].tolist(), labels.unusable[labels.unusable != ""].tolist()
        )
        if len(set_aside):
            notes.append(f"{len(set_aside):,} rows of {file.name} have no usable label: set aside")
        official = "split" in metadata and bool((metadata["split"] == "test").any())
        return Records(
            table=whole[labels.unusable == ""].reset_index(drop=True),
            labels=tuple(labels.table),
            source=FileSource(str(root), allow_outside=options.allow_outside, force=options.force),
            normal=labels.normal,
            set_aside=set_aside,
            notes=(*notes, *more),
            official_split=official,
            patients_known=patients is not None,
        )


def _need_images(root: Path, images: pd.Series, file: Path) -> None:
    """At least one image must be there: else the root or the column is the wrong one."""
    if not any(os.path.lexists(os.path.join(root, image)) for image in images):
        raise DataError(
            f"none of the {len(images):,} images in the column '{images.name}' of {file} is under {root}; "
            f"looked for {root / images.iloc[0]} first"
        )


def _kept(raw: pd.DataFrame, names: str, taken: set[str], file: Path) -> dict[str, pd.Series]:
    """The further columns that the user wants to keep, under their own names."""
    from zoo.datasets import _tables

    found = {}
    for name in filter(None, (each.strip() for each in names.split(","))):
        column = _tables.need_column(raw, name, file, "keep")
        if column in taken or column in ("digest", "split") or ":" in column:
            raise UsageError(f"data.keep: the name '{column}' is in use already; rename that column of {file.name}.")
        found[column] = raw[column]
    return found


def _metadata(raw: pd.DataFrame, options: CsvOptions, file: Path) -> tuple[dict[str, pd.Series], list[str]]:
    """The columns split, view, age and sex, as far as the table has them."""
    from zoo.datasets import _csv_labels, _tables

    found: dict[str, pd.Series] = {}
    notes: list[str] = []
    split, view, age, sex = (_chosen(raw, options, name, file) for name in ("split", "view", "age", "sex"))
    if split is not None:
        found["split"] = _csv_labels.read_split(split, file)
        if not (found["split"] == "test").any():
            notes.append(f"no image is marked test in the column '{split.name}': the split is not an official one")
    if view is not None:
        found["view"] = _tables.parse_views(view)
    if age is not None:
        found["age"], more = _tables.parse_ages(age)
        notes += more
    if sex is not None:
        found["sex"], more = _tables.parse_sexes(sex)
        notes += more
    return found, notes


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [Csv()]
