"""Write a cleaned table of a dataset for `zoo train --data csv`; the dataset itself is not changed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from zoo.core.cells import csv_text, guarded_text
from zoo.core.errors import DataError, UsageError
from zoo.core.files import write_text
from zoo.core.listing import NO_FILE, NORMAL_AND_FINDING, NOT_IN_LISTS
from zoo.core.progress import Progress
from zoo.core.records import ImageSource, Records
from zoo.data.audit import checks
from zoo.data.audit.audit import Audit, again
from zoo.data.audit.images import AuditImages
from zoo.data.images import FileSource

_UNUSABLE = (checks.UNREADABLE, NO_FILE, NORMAL_AND_FINDING, NOT_IN_LISTS)
_COLUMNS = ("image", "patient")
_METADATA = ("view", "age", "sex", "split")


@dataclass(frozen=True)
class Fixed:
    """The table written, the one of removed images (image, split, reason, because_of), and the command that trains on the first.

    `left` are leaks and risks that remain among the images kept: none, unless another dataset has test images too.
    """

    table: Path
    removed_table: Path
    kept: int
    removed: pd.DataFrame
    left: pd.DataFrame
    command: str


def removed_path(target: Path) -> Path:
    """The table of removed images: `clean-removed.csv` for `clean.csv`."""
    return target.with_name(f"{target.stem}-removed{target.suffix}")


def images_path(target: Path) -> Path:
    """The folder for images that are not files: `clean-images` for `clean.csv`."""
    return target.with_name(f"{target.stem}-images")


def refuse_overwriting(target: Path) -> None:
    """Refuse to overwrite files.

    Raises:
        UsageError: one is there already, the name is not that of a CSV file, or its folder is missing.
    """
    if target.suffix.lower() != ".csv":
        raise UsageError(f"--fix writes a CSV table; received {target}. Name one such as {target.stem or 'clean'}.csv.")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"--fix {target}: the folder {target.absolute().parent} does not exist.")
    for path in (target, removed_path(target), images_path(target)):
        if path.exists():
            raise UsageError(f"--fix writes {path}, which exists already. Name another table, or move it away.")


def removals(found: Audit) -> pd.DataFrame:
    """The images of the audited dataset to remove, once each: image, split, reason, because_of.

    Unusable images are removed from any split. Of a leak the image in the earlier split is removed and the test image kept; of
    a patient in two splits, all images in the earlier ones; of what another dataset has too, all but test images.
    """
    own = found.images[found.images["dataset"] == found.name]
    rank = own["split"].map(checks.RANK)
    rows: list[tuple[str, str, str]] = []
    issues = found.issues
    mine = issues[issues["dataset"] == found.name]
    for kind in _UNUSABLE:
        for _, row in mine[mine["kind"] == kind].iterrows():
            rows.append((row["image"], f"{kind}: {row['detail']}", ""))
    latest = rank.groupby(own["patient"]).transform("max")
    for patient in mine.loc[mine["kind"] == checks.PATIENT, "patient"]:
        images = own["patient"] == patient
        keeper = str(own.loc[images & (rank == latest), "image"].iloc[0])
        rows += [
            (image, f"{checks.PATIENT}: {patient}", keeper) for image in own.loc[images & (rank < latest), "image"]
        ]
    for kind in (checks.IDENTICAL, checks.NEAR, checks.NEAR_OTHER):
        for _, row in mine[mine["kind"] == kind].iterrows():
            rows.append((row["image"], kind, row["other_image"]))
    shared = issues[issues["kind"].isin((checks.SHARED_IMAGE, checks.SHARED_NEAR))]
    for _, row in shared.iterrows():
        here, there = ("", "other_") if row["dataset"] == found.name else ("other_", "")
        if row[f"{here}dataset"] == found.name and checks.RANK[row[f"{here}split"]] < checks.RANK["test"]:
            rows.append((row[f"{here}image"], row["kind"], f"{row[f'{there}dataset']}: {row[f'{there}image']}"))
    for _, row in issues[issues["kind"] == checks.SHARED_PATIENT].iterrows():
        images = (own["patient"] == row["patient"]) & (rank < checks.RANK["test"])
        other = row["other_dataset"] if row["dataset"] == found.name else row["dataset"]
        rows += [(image, f"{checks.SHARED_PATIENT}: {row['patient']}", other) for image in own.loc[images, "image"]]
    table = pd.DataFrame(rows, columns=["image", "reason", "because_of"], dtype=object).drop_duplicates("image")
    table = table[table["image"].isin(set(own["image"]))]
    table.insert(1, "split", table["image"].map(dict(zip(own["image"], own["split"], strict=True))))
    return table.reset_index(drop=True)


def write_fixed(found: Audit, images: AuditImages, target: Path) -> Fixed:
    """Write the cleaned table and the table of removed images, and check that no leak is left.

    Images that are rows of an array are written as PNG files beside the table.

    Raises:
        UsageError: a file is there already.
        DataError: nothing would be left, or a leak.
    """
    refuse_overwriting(target)
    gone = removals(found)
    own = (found.images["dataset"] == found.name).to_numpy()
    kept = ~(own & found.images["image"].isin(set(gone["image"])).to_numpy())
    if not (kept & own).any():
        raise DataError(f"all {int(own.sum()):,} images would be removed: there is nothing to write.")
    left = again(found, kept)
    inside = left[(left["dataset"] == found.name) & left["kind"].isin((checks.PATIENT, checks.IDENTICAL, checks.NEAR))]
    if len(inside):
        raise DataError(f"the cleaned table still has {len(inside):,} leaks, {inside['image'].iloc[0]} for one.")
    records = images.listing.records
    rows = np.flatnonzero(kept[: len(images.table)])
    table = records.table.iloc[rows].reset_index(drop=True)
    source = records.source
    if isinstance(source, FileSource):
        root, names = Path(source.root), table["path"].tolist()
    else:
        root = target.absolute().parent
        names = _write_images(source, table["path"], images_path(target))
    out = table[list(_COLUMNS)].assign(image=names)
    if not records.patients_known:
        out = out.drop(columns="patient")
    labels = [label for label in records.labels if (table[label] == 1).any()]
    for label in labels:
        out[label] = table[label].map({1.0: "1", 0.0: "0"}).fillna("")
    for column in _METADATA:
        if column in table and (table[column].notna() & (table[column] != "")).any():
            out[column] = table[column]
    write_text(removed_path(target), guarded_text(gone))
    write_text(target, csv_text(out))
    command = _command(root, target, labels, records, source)
    return Fixed(target, removed_path(target), len(out), gone, left, command)


def _write_images(source: ImageSource, paths: pd.Series, folder: Path) -> list[str]:
    folder.mkdir()
    images = []
    with Progress("Writing images", len(paths)) as progress:
        for path in paths:
            name = f"{folder.name}/{str(path).replace('/', '-')}.png"
            Image.fromarray(source.read(path)[0]).save(folder.parent / name)
            images.append(name)
            progress.advance(1)
    return images


def _command(root: Path, target: Path, labels: list[str], records: Records, source: ImageSource) -> str:
    words = ["zoo", "train", "--data", "csv", "--root", str(root)]
    settings = {"table": str(target.absolute()), "labels": ",".join(labels)}
    if records.normal:
        settings["normal"] = records.normal
    if kept := [name for name in records.no_pathology if name in labels]:
        settings["no_pathology"] = ",".join(kept)
    for name in ("allow_outside", "force"):
        if getattr(source, name, False):
            settings[name] = "true"
    for name, value in settings.items():
        words += ["--set", f"data.{name}={value}"]
    return shlex.join(words)
