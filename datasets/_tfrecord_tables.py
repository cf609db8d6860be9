"""From the features of TFRecord records to the table of records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zoo import DataError, Records
from zoo.core.errors import closest
from zoo.data.export import FORMAT, METADATA, VERSION
from zoo.data.tfrecord import Feature
from zoo.datasets import _csv_labels, _tables
from zoo.datasets._tfrecord_images import Contents, Example, TFRecordSource

if TYPE_CHECKING:
    from zoo.datasets.tfrecord import TFRecordOptions

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_metadata(root: Path) -> dict[str, Any] | None:
    """metadata.json of an export; None where there is none, or one of another program.

    Raises:
        DataError: it is damaged, or of a later version.
    """
    file = root / METADATA
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read: {error}") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        return None
    if found.get("version") != VERSION:
        raise DataError(
            f"{file} is of version {found.get('version')}; this zoo reads version {VERSION}: export it again"
        )
    kinds = {"labels": list, "columns": dict, "shards": dict, "notes": list, "set_aside": list, "image_size": int}
    wrong = [name for name, kind in kinds.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise DataError(f"{file} is damaged: it has no {' and no '.join(wrong)}. Export it again")
    return found


def features_of(metadata: dict[str, Any], options: TFRecordOptions) -> frozenset[str]:
    """The features of an export that records are made of."""
    boxes = (f"image/object/bbox/{c}" for c in _CORNERS)
    fixed = ("image/filename", "labels", "row", "published_split", "image/object/class/text")
    return frozenset((*fixed, *boxes, *metadata["columns"], *filter(None, [options.split])))


def own(
    root: Path, contents: Contents, source: TFRecordSource, options: TFRecordOptions, metadata: dict[str, Any]
) -> Records:
    """The records as they were exported, in their order."""
    labels = tuple(metadata["labels"])
    examples = sorted(contents.examples, key=lambda e: _number(e.features.get("row")))
    values = np.full((len(examples), len(labels)), np.nan)
    for row, example in enumerate(examples):
        held = example.features.get("labels")
        if not isinstance(held, np.ndarray) or len(held) != len(labels):
            raise DataError(f"{root}: the record {example.place} has not the {len(labels)} labels of metadata.json")
        values[row] = held
    columns: dict[str, Any] = {"image": _texts(examples, "image/filename"), "path": [e.path for e in examples]}
    for name, kind in metadata["columns"].items():
        if kind == "number":
            columns[name] = [_number(e.features.get(name)) for e in examples]
        else:
            texts = pd.Series(_texts(examples, name), dtype=object)
            columns[name] = texts.where(texts != "", np.nan)
    split = options.split or ("published_split" if metadata.get("published_split") else "")
    if split:
        columns["split"] = _csv_labels.read_split(pd.Series(_texts(examples, split), name=split), root)
    table = pd.DataFrame({**columns, **dict(zip(labels, values.T, strict=True))})
    aside = pd.DataFrame(metadata["set_aside"], columns=["image", "reason"], dtype=object)
    damaged = pd.DataFrame(contents.damaged, columns=["image", "reason"], dtype=object)
    return Records(
        table=table,
        labels=labels,
        source=source,
        normal=metadata.get("normal"),
        boxes=_boxes(examples),
        set_aside=pd.concat([aside, damaged], ignore_index=True),
        notes=(
            *map(str, metadata["notes"]),
            f"the images have {metadata['image_size']}×{metadata['image_size']} pixels: other image sizes resample them",
            *_damage(contents),
        ),
        official_split=bool(metadata.get("official_split")) and split == "published_split",
        patients_known=bool(metadata.get("patients_known")),
    )


def foreign(root: Path, contents: Contents, source: TFRecordSource, options: TFRecordOptions) -> Records:
    """Records of other people's files, by the names of their features."""
    found = Counter(name for example in contents.examples for name in example.features)
    examples, notes = contents.examples, list(_damage(contents))
    names = _names(examples, options.filename)
    raw = _label_columns(root, examples, options, found)
    labels = _csv_labels.read_labels(raw, ",".join(raw.columns), options.separator, options.normal, root)
    columns: dict[str, Any] = {"image": names, "path": [e.path for e in examples], "patient": names}
    if options.patient in found:
        columns["patient"] = _filled(_texts(examples, options.patient), names)
    else:
        notes.append(
            f"there is no feature '{options.patient}': each image counts as a patient of its own (option patient)"
        )
    split = options.split or "split"
    if split in found:
        columns["split"] = _csv_labels.read_split(pd.Series(_texts(examples, split), name=split), root)
    elif options.split:
        raise _no_feature(root, split, "split", found)
    else:
        notes.append("there is no feature 'split': one is drawn (option split)")
    columns |= _metadata(examples, options, found, notes)
    whole = pd.DataFrame({**columns, **labels.table})
    unusable = labels.unusable.to_numpy()
    aside = _tables.aside(whole["image"][unusable != ""].tolist(), unusable[unusable != ""].tolist())
    damaged = pd.DataFrame(contents.damaged, columns=["image", "reason"], dtype=object)
    return Records(
        table=whole[unusable == ""].reset_index(drop=True),
        labels=tuple(labels.table),
        source=source,
        normal=labels.normal,
        set_aside=pd.concat([aside, damaged], ignore_index=True),
        notes=(*notes, *labels.notes),
        official_split="split" in columns and bool((pd.Series(columns["split"]) == "test").any()),
        patients_known=options.patient in found,
    )


def _label_columns(
    root: Path, examples: Sequence[Example], options: TFRecordOptions, found: Counter[str]
) -> pd.DataFrame:
    """The labels as columns of text, as a table would have them."""
    wanted = [name.strip() for name in options.labels.split(",") if name.strip()]
    for name in wanted:
        if name not in found:
            raise _no_feature(root, name, "labels", found)
    names = [name.strip() for name in options.names.split(",") if name.strip()]
    if len(wanted) != 1 or not names:
        return pd.DataFrame({name.replace(",", " "): _texts(examples, name) for name in wanted})
    held = [example.features.get(wanted[0], []) for example in examples]
    sizes = {len(each) for each in held}
    if sizes == {1} and len(names) > 1:
        return pd.DataFrame({"class": [_class_name(root, _number(each), names) for each in held]})
    if sizes != {len(names)}:
        listed = ", ".join(map(str, sorted(sizes)))
        raise DataError(
            f"{root}: the feature '{wanted[0]}' has {listed} values per image, the option names {len(names)}"
        )
    return pd.DataFrame([[_cell(value) for value in each] for each in held], columns=names)


def _class_name(root: Path, number: float, names: list[str]) -> str:
    if number not in range(len(names)):
        raise DataError(f"{root}: there is a class {number:g}, and the option names has {len(names)}, counted from 0")
    return names[int(number)]


def _metadata(
    examples: Sequence[Example], options: TFRecordOptions, found: Counter[str], notes: list[str]
) -> dict[str, pd.Series]:
    columns: dict[str, pd.Series] = {}
    if options.view in found:
        columns["view"] = _tables.parse_views(pd.Series(_texts(examples, options.view)))
    if options.age in found:
        columns["age"], more = _tables.parse_ages(pd.Series(_texts(examples, options.age)))
        notes += more
    if options.sex in found:
        columns["sex"], more = _tables.parse_sexes(pd.Series(_texts(examples, options.sex)))
        notes += more
    return columns


def _names(examples: Sequence[Example], feature: str) -> list[str]:
    """A name for each image: its own where there is one, and no second image of that name, else its file and number."""
    given = _texts(examples, feature)
    times = Counter(given)
    return [n if n and times[n] == 1 else e.place for n, e in zip(given, examples, strict=True)]


def _filled(texts: list[str], otherwise: list[str]) -> list[str]:
    return [text or other for text, other in zip(texts, otherwise, strict=True)]


def _boxes(examples: Sequence[Example]) -> pd.DataFrame:
    rows = []
    for example in examples:
        corners = [example.features.get(f"image/object/bbox/{c}") for c in _CORNERS]
        names = example.features.get("image/object/class/text")
        if not isinstance(names, list) or not all(isinstance(c, np.ndarray) and len(c) == len(names) for c in corners):
            continue
        image = _text(example.features.get("image/filename"))
        for name, corner in zip(names, np.stack([np.asarray(c) for c in corners], axis=-1), strict=True):
            x, y, right, bottom = (float(each) for each in corner)
            rows.append((image, name.decode(), x, y, right - x, bottom - y))
    return pd.DataFrame(rows, columns=["image", "label", "x", "y", "width", "height"])


def _texts(examples: Sequence[Example], feature: str) -> list[str]:
    return [_text(example.features.get(feature)) for example in examples]


def _text(held: Feature | None) -> str:
    """One value as text; "" where there is none, or NaN."""
    if held is None or not len(held):
        return ""
    return held[0].decode(errors="surrogateescape").strip() if isinstance(held, list) else _cell(held[0])


def _cell(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="surrogateescape").strip()
    return "" if np.isnan(value) else f"{float(value):g}"


def _number(held: Feature | None) -> float:
    """One value as a number; NaN where there is none."""
    return float(held[0]) if isinstance(held, np.ndarray) and len(held) == 1 else float("nan")


def _damage(contents: Contents) -> list[str]:
    if not contents.damaged:
        return []
    name, reason = contents.damaged[0]
    return [f"{len(contents.damaged):,} records cannot be used, the first {name} ({reason}): set aside"]


def _no_feature(root: Path, name: str, option: str, found: Counter[str]) -> DataError:
    near = closest(name, found)
    hint = f" Did you mean '{near}'?" if near else ""
    return DataError(
        f"{root}: no record has the feature '{name}' (option {option}).{hint} Features: {', '.join(sorted(found))}."
    )
