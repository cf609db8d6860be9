"""Any table of images: a CSV with an image column and labels as 0/1 columns or as one column of classes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from zoo import DataError, Dataset, DatasetInfo, Faults, Listing, Records, UsageError, hookimpl, option

if TYPE_CHECKING:
    import pandas as pd

    from zoo import FileSource
    from zoo.datasets._builder import RecordBuilder

LAYOUT = """\
  ROOT/table.csv      any name; one row per image, such as
      image,patient,label                        or  image,patient,Edema,Effusion
      images/a.png,p1,Edema|Effusion                  images/a.png,p1,1,1
      images/b.png,p2,No Finding                      images/b.png,p2,0,0
  ROOT/images/a.png    the paths of the image column, relative to ROOT"""


@dataclass(frozen=True)
class CsvOptions:
    """Options of the table reader: the names of its columns."""

    table: str = option(
        "", "the CSV or TSV file (.gz, .zip too), relative to the root or absolute; empty: the only one in the root"
    )
    image: str = option(
        "image", "column of image paths relative to the root; several, separated by commas, where a row is a study"
    )
    patient: str = option(
        "", "column of patient identifiers; empty: 'patient' if present, else every image counts as its own patient"
    )
    patient_pattern: str = option(
        "", r"regular expression whose first group, found in the image's path, is the patient, such as 'patient(\d+)/'"
    )
    labels: str = option(
        "label", "columns with 0, 1, blank or -1 (unknown), separated by commas; or one column with classes"
    )
    blank: Literal["unknown", "absent"] = option(
        "unknown", "meaning of an empty cell in a 0/1 column; -1 is always unknown"
    )
    separator: str = option("|", "separator between several findings in a column of classes")
    names: str = option(
        "", "names of the classes where the column holds their numbers: NAME,NAME in their order, or 0=NAME,2=NAME"
    )
    normal: str = option(
        "", "class that means no finding; empty: the one named normal, no finding, negative or healthy"
    )
    no_pathology: str = option(
        "Support Devices", "labels that are no pathology, which a normal image may have, separated by commas"
    )
    contradictions: Literal["refuse", "finding", "aside"] = option(
        "refuse", "an image that is normal and has a finding: an error, one with the finding, or set aside"
    )
    split: str = option("split", "column with train, val, test or train_val; used if present")
    view: str = option("view", "column of views, such as PA and AP; used if present")
    age: str = option("age", "column of ages in years; used if present")
    sex: str = option("sex", "column with M and F; used if present")
    allow_outside: bool = option(False, "also read images that the table names outside the root: absolute paths and ..")
    force: bool = option(False, "accept DICOM files whose header says they are not chest X-rays")
    keep: str = option("", "more columns to keep, for zoo evaluate --by, separated by commas")


class Csv(Dataset):
    """Reader of a table of images."""

    info = DatasetInfo(
        name="csv",
        summary="Any images listed in a CSV table, labels as 0/1 columns or as one column of classes",
        layout=LAYOUT,
    )
    Options = CsvOptions

    def read(self, root: Path | None, options: Any) -> Records:
        builder, source = self._build(root, options, None)
        return builder.records(source)

    def survey(self, root: Path | None, options: Any) -> Listing:
        builder, source = self._build(root, options, Faults())
        paths = builder.columns["path"]
        builder.columns["path"] = paths.where([os.path.lexists(os.path.join(source.root, path)) for path in paths], "")
        return builder.listing(source)

    def _build(self, root: Path | None, options: CsvOptions, faults: Faults | None) -> tuple[RecordBuilder, FileSource]:
        from zoo import FileSource
        from zoo.datasets import _tables
        from zoo.datasets._builder import RecordBuilder
        from zoo.datasets._labels import add_named

        root = _tables.need_root(root, self.info)
        tables = _tables.find_tables(root)
        missing = "*.csv (nor .tsv, .csv.gz, .csv.zip). The dataset 'csv' expects:"
        builder = RecordBuilder.from_csv(
            _tables.choose_file(root, options.table, "table", tables, missing, LAYOUT), faults
        )
        images = builder.add_images(*_image_columns(builder, options.image, str(root)))
        if faults is None and not any(os.path.lexists(os.path.join(root, image)) for image in images):
            raise DataError(
                f"none of the {len(images):,} images in the column '{images.name}' of {builder.file} is under {root}; "
                f"looked for {root / images.iloc[0]} first"
            )
        add_named(builder, options, blank=0.0 if options.blank == "absent" else float("nan"))
        for name in _tables.names_in(options.keep):
            column = builder.need(name, "keep")
            if column.name in (*builder.columns, *builder.labels, "digest", "split") or ":" in str(column.name):
                raise UsageError(f"data.keep: the name '{column.name}' is in use already; rename that column.")
            builder.columns[str(column.name)] = column
        return builder, FileSource(str(root), allow_outside=options.allow_outside, force=options.force)


def _image_columns(builder: RecordBuilder, names: str, root: str) -> list[pd.Series]:
    """The columns of images, with slashes in their paths."""
    from zoo.core.tables import with_slashes
    from zoo.datasets._tables import names_in

    usual = builder.usual("image") if names == "image" else None
    if names == "image" and usual is None:
        several = ",".join(str(each.name) for each in builder.candidates("image"))
        hint = (
            f" Where each row is a study, name all of its images, such as --set data.image={several}."
            if several
            else ""
        )
        raise builder.missing("image", "image", hint)
    whole = usual if usual is not None else builder.find(names)
    columns = [builder.need(name, "image") for name in ([str(whole.name)] if whole is not None else names_in(names))]
    return [column.map(lambda path: with_slashes(path, root)) for column in columns]


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [Csv()]
