"""TFRecord files of tf.train.Example records: those of `zoo data export`, and other people's by the names of their features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import DataError, Dataset, DatasetInfo, Records, hookimpl, option
from zoo.core.errors import closest

LAYOUT = """\
  ROOT/metadata.json                        as written by zoo data export; without it, name the features with --set data.…
  ROOT/train-00000-of-00004.tfrecord …      any names that end in .tfrecord, .tfrecords or .tfrec"""


@dataclass(frozen=True)
class TFRecordOptions:
    """Options of the TFRecord reader: the names of the features. For files of zoo data export none is needed."""

    files: str = option("", "pattern of the file names, such as train*.bin; empty: *.tfrecord and the like")
    image: str = option("image/encoded", "feature of the image: PNG, JPEG … or raw rows of uint8")
    height: str = option("image/height", "of raw pixels: a feature, or the number itself")
    width: str = option("image/width", "of raw pixels: a feature, or the number itself")
    labels: str = option(
        "labels",
        "features of 0, 1 and NaN, separated by commas; or one of all labels, of class numbers, or of class names",
    )
    names: str = option(
        "", "names of the labels or classes in their order, separated by commas, where one feature has all"
    )
    separator: str = option("|", "what stands between several findings in a feature of class names")
    normal: str = option(
        "", "class that means no finding; empty: the one named normal, no finding, negative or healthy"
    )
    filename: str = option(
        "image/filename", "feature of the image's name; without it images are named by file and number"
    )
    patient: str = option("patient", "feature of the patient; without it each image is a patient")
    split: str = option("", "feature of train, val and test; empty: published_split of zoo data export, else split")
    view: str = option("view", "feature of the view; used if there is one")
    age: str = option("age", "feature of the age in years; used if there is one")
    sex: str = option("sex", "feature of the sex, M or F; used if there is one")


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
        from zoo.datasets._tfrecord_images import TFRecordSource, find_files, read_contents

        root = _tables.need_root(root, "tfrecord", LAYOUT)
        metadata = _tfrecord_tables.read_metadata(root)
        files = find_files(root, options.files)
        source = TFRecordSource(str(root), options.image, options.height, options.width)
        if metadata is None:
            return _tfrecord_tables.foreign(root, read_contents(root, files, source), source, options)
        _need_shards(root, files, metadata)
        contents = read_contents(root, files, source, _tfrecord_tables.features_of(metadata, options))
        return _tfrecord_tables.own(root, contents, source, options, metadata)


def _need_shards(root: Path, files: list[Path], metadata: dict[str, Any]) -> None:
    """Every file of an export must be there, and none besides."""
    names = {file.relative_to(root).as_posix() for file in files}
    missing = sorted(set(metadata["shards"]) - names)
    if missing:
        raise DataError(f"{root} lacks {len(missing):,} of its files, {missing[0]} for one: export or copy it again")
    strange = sorted(names - set(metadata["shards"]))
    if strange:
        near = closest(strange[0], metadata["shards"])
        like = f", it is like {near}" if near else ""
        raise DataError(f"{root} has {strange[0]}, which its metadata.json does not name{like}: move it elsewhere")


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [TFRecord()]
