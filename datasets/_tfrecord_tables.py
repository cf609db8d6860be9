"""From the features of TFRecord records to the table of records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo import DataError, Records
from zoo.core.documents import read_json
from zoo.core.errors import did_you_mean
from zoo.data.export import FORMAT, METADATA, VERSION
from zoo.data.tfrecord import Feature
from zoo.datasets import _tables
from zoo.datasets._builder import RecordBuilder
from zoo.datasets._labels import add_named
from zoo.datasets._tfrecord_images import Contents, Example, TFRecordSource, find_files, read_contents

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_BOXES = (*(f"image/object/bbox/{corner}" for corner in _CORNERS), "image/object/class/text")


def read(root: Path, options: Any) -> Records:
    """The records of an export of zoo, or of anybody's files; `options` are `zoo.datasets.tfrecord.TFRecordOptions`."""
    metadata, files = read_metadata(root), find_files(root, options.files)
    source = TFRecordSource(str(root), options.image, options.height, options.width)
    if metadata is None:
        contents = read_contents(root, files, source)
        builder = foreign(root, contents, options)
    else:
        _need_shards(root, files, metadata)
        split = options.split or ("published_split" if metadata.get("published_split") else "")
        features = ("image/filename", "labels", "row", *_BOXES, *metadata["columns"], split)
        contents = read_contents(root, files, source, frozenset(features))
        builder = exported(root, contents, metadata, split)
    if contents.damaged:
        name, reason = contents.damaged[0]
        count = len(contents.damaged)
        builder.notes.append(f"{count:,} records cannot be used, the first {name} ({reason}): set aside")
    records = builder.records(source)
    aside = [*metadata["set_aside"]] if metadata else []
    rows = [*((each["image"], each["reason"]) for each in aside), *contents.damaged]
    return replace(records, set_aside=pd.concat([records.set_aside, _tables.aside(rows)], ignore_index=True))


def read_metadata(root: Path) -> dict[str, Any] | None:
    """metadata.json of an export; None where there is none, or one of another program.

    Raises:
        DataError: it is damaged, or of a later version.
    """
    file = root / METADATA
    try:
        found = read_json(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    if found.get("version") != VERSION:
        raise DataError(
            f"{file} is of version {found.get('version')}; this zoo reads version {VERSION}: export it again"
        )
    kinds = {"labels": list, "columns": dict, "shards": dict, "notes": list, "set_aside": list, "image_size": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(found.get(name), kind)]
    rows = {"set_aside": ("image", "reason")}  # and what each row of a list needs as text
    wrong += [k for k, needed in rows.items() if k not in wrong and not all(map(partial(_has, needed), found[k]))]
    wrong += [k for k in ("labels", "notes") if k not in wrong and not all(isinstance(each, str) for each in found[k])]
    if wrong:
        raise DataError(f"{file} is damaged: it has no {' and no '.join(wrong)}. Export it again")
    return found


def _has(needed: Sequence[str], row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(name), str) for name in needed)


def _need_shards(root: Path, files: Sequence[Path], metadata: dict[str, Any]) -> None:
    """Every file of an export must be there, and none besides."""
    names = {file.relative_to(root).as_posix() for file in files}
    missing = sorted(set(metadata["shards"]) - names)
    if missing:
        raise DataError(f"{root} lacks {len(missing):,} of its files, {missing[0]} for one: export or copy it again")
    strange = sorted(names - set(metadata["shards"]))
    if strange:
        hint = did_you_mean(strange[0], metadata["shards"])
        raise DataError(f"{root} has {strange[0]}, which its metadata.json does not name: move it elsewhere.{hint}")


def exported(root: Path, contents: Contents, metadata: dict[str, Any], split: str) -> RecordBuilder:
    """The records as they were exported, in their order; `split` is the feature of the split, "" where there is none."""
    examples = sorted(contents.examples, key=lambda e: _number(e.features.get("row")))
    builder = RecordBuilder(root, pd.DataFrame(index=range(len(examples))), term="feature")
    builder.add_images(_texts(examples, "image/filename"))
    builder.columns["path"] = [e.path for e in examples]
    for name, kind in metadata["columns"].items():
        if kind == "number":
            builder.columns[name] = [_number(e.features.get(name)) for e in examples]
        else:
            texts = _texts(examples, name).astype(object)
            builder.columns[name] = texts.where(texts != "", np.nan)
    if split:
        builder.add_split(_texts(examples, split))
    builder.official_split = bool(metadata.get("official_split")) and split == "published_split"
    builder.patients_known = bool(metadata.get("patients_known"))
    labels = metadata["labels"]
    values = [e.features.get("labels", []) for e in examples]
    wrong = [e.position for e, held in zip(examples, values, strict=True) if len(held) != len(labels)]
    if wrong:
        raise DataError(f"{root}: the record {wrong[0]} has not the {len(labels)} labels of metadata.json")
    builder.labels = pd.DataFrame(np.array(values, dtype=float), columns=labels)
    builder.normal, builder.boxes = metadata.get("normal"), _boxes(examples)
    builder.no_pathology = tuple(map(str, metadata.get("no_pathology", ())))
    size = metadata["image_size"]
    builder.notes += map(str, metadata["notes"])
    builder.notes.append(f"the images have {size}×{size} pixels: other image sizes resample them")
    return builder


def foreign(root: Path, contents: Contents, options: Any) -> RecordBuilder:
    """Records of other people's files, by the names of their features."""
    examples = contents.examples
    features = sorted({name for example in examples for name in example.features})
    cells = pd.DataFrame({name: _texts(examples, name) for name in features})
    names = _names(examples, options.filename)
    if options.patient in cells:
        cells[options.patient] = cells[options.patient].where(cells[options.patient] != "", names)
    builder = RecordBuilder(root, cells, term="feature")
    builder.add_images(names)
    builder.columns["path"] = [e.path for e in examples]
    add_named(builder, replace(options, labels=_label_cells(builder, examples, options), names=""))
    if "split" not in builder.columns:
        builder.notes.append("there is no feature 'split': one is drawn (option split)")
    return builder


def _label_cells(builder: RecordBuilder, examples: Sequence[Example], options: Any) -> str:
    """The features of the labels; one that holds all labels or a class number is first spread over cells by their names."""
    wanted = [str(builder.need(name, "labels").name) for name in _tables.names_in(options.labels)]
    names = _tables.names_in(options.names)
    if len(wanted) != 1 or not names:
        for name in wanted:
            size = max(len(example.features.get(name, ())) for example in examples)
            if size > 1:
                raise DataError(
                    f"{builder.file}: the feature '{name}' has {size} values per image: name them with the option names"
                )
        return str(options.labels)
    held = [example.features.get(wanted[0], []) for example in examples]
    sizes = {len(each) for each in held}
    if sizes == {1} and len(names) > 1:
        numbers = [_number(each) for each in held]
        strange = [number for number in numbers if number not in range(len(names))]
        if strange:
            has = f"there is a class {strange[0]:g}, and the option names has {len(names)}, counted from 0"
            raise DataError(f"{builder.file}: {has}")
        builder.cells["class"] = [names[int(number)] for number in numbers]
        return "class"
    if sizes != {len(names)}:
        listed = ", ".join(map(str, sorted(sizes)))
        has = f"the feature '{wanted[0]}' has {listed} values per image, the option names {len(names)}"
        raise DataError(f"{builder.file}: {has}")
    builder.cells[names] = [[_cell(value) for value in each] for each in held]
    return ",".join(names)


def _names(examples: Sequence[Example], feature: str) -> pd.Series:
    """A name for each image: its own where there is one, and no second image of that name, else its file and number."""
    given = _texts(examples, feature)
    times = Counter(given)
    names = (n if n and times[n] == 1 else e.position for n, e in zip(given, examples, strict=True))
    return pd.Series(list(names), name=feature)


def _boxes(examples: Sequence[Example]) -> pd.DataFrame:
    rows = []
    for example in examples:
        *corners, names = (example.features.get(name, []) for name in _BOXES)
        if not isinstance(names, list) or any(len(corner) != len(names) for corner in corners):
            continue
        image = _text(example.features.get("image/filename"))
        for name, x, y, right, bottom in zip(names, *corners, strict=True):
            rows.append((image, name.decode(), float(x), float(y), float(right) - float(x), float(bottom) - float(y)))
    return pd.DataFrame(rows, columns=_tables.BOX)


def _texts(examples: Sequence[Example], feature: str) -> pd.Series:
    return pd.Series([_text(example.features.get(feature)) for example in examples], name=feature, dtype=object)


def _text(held: Feature | None) -> str:
    """The first value as text; "" where there is none, or NaN."""
    return "" if held is None or not len(held) else _cell(held[0])


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape").strip()
    if isinstance(value, np.integer):
        return str(value)
    return "" if np.isnan(value) else np.format_float_positional(value, trim="-")


def _number(held: Feature | None) -> float:
    """One value as a number; NaN where there is none."""
    return float(held[0]) if isinstance(held, np.ndarray) and len(held) == 1 else float("nan")
