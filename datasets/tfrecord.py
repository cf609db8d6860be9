"""TFRecord files of tf.train.Example records: those of `zoo data export`, and other people's by the names of their features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo import Dataset, DatasetInfo, Records, hookimpl, option

LAYOUT = """\
  ROOT/metadata.json                        as written by zoo data export; without it, name the features with --set data.…
  ROOT/train-00000-of-00004.tfrecord …      any names that end in .tfrecord, .tfrecords or .tfrec"""


@dataclass(frozen=True)
class TFRecordOptions:
    """Options of the TFRecord reader: the names of the features. For files of zoo data export none is needed."""

    files: str = option("", "pattern of the file names, such as train*.bin; empty: *.tfrecord and the like")
    image: str = option("image/encoded", "feature of the image: PNG, JPEG … or raw rows of uint8")
    height: str = option("image/height", "size of raw pixels: a feature, or the number itself")
    width: str = option("image/width", "size of raw pixels: a feature, or the number itself")
    labels: str = option(
        "labels",
        "features of 0, 1 and NaN, separated by commas; or one of all labels, of class numbers, or of class names",
    )
    names: str = option(
        "", "names of the labels or classes in their order, separated by commas, where one feature has all"
    )
    separator: str = option("|", "separator between several findings in a feature of class names")
    normal: str = option(
        "", "class that means no finding; empty: the one named normal, no finding, negative or healthy"
    )
    no_pathology: str = option(
        "Support Devices", "labels that are no pathology, which a normal image may have, separated by commas"
    )
    contradictions: Literal["refuse", "finding", "aside"] = option(
        "refuse", "an image that is normal and has a finding: an error, one with the finding, or set aside"
    )
    filename: str = option(
        "image/filename", "feature of the image's name; without it images are named by file and position"
    )
    patient: str = option(
        "patient", "feature of the patient identifier; without it every image counts as its own patient"
    )
    patient_pattern: str = option(
        "", r"regular expression whose first group, found in the image's name, is the patient, such as '(\d+)_'"
    )
    split: str = option("", "feature of train, val and test; empty: published_split of zoo data export, else split")
    view: str = option("view", "feature of the view; used if present")
    age: str = option("age", "feature of the age in years; used if present")
    sex: str = option("sex", "feature of the sex, M or F; used if present")


class TFRecord(Dataset):
    """Reader of TFRecord files."""

    info = DatasetInfo(
        name="tfrecord",
        summary="TFRecord files: what 'zoo data export' writes, or any others by the names of their features",
        layout=LAYOUT,
    )
    Options = TFRecordOptions

    def read(self, root: Path | None, options: Any) -> Records:
        from zoo.datasets import _tables, _tfrecord_tables

        return _tfrecord_tables.read(_tables.need_root(root, self.info), options)


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [TFRecord()]
