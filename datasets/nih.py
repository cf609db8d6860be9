"""NIH ChestX-ray14 as published: the tables, the official lists, the boxes, and images in one folder or in twelve."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import DataError, Dataset, DatasetInfo, Download, Faults, Listing, Records, hookimpl
from zoo.core.errors import closest

if TYPE_CHECKING:
    import pandas as pd


FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NORMAL = "No Finding"
FRAME = 1024.0  # pixels: the side of the published images, which the boxes are given in
SAMPLE = "sample_labels.csv"  # of the random sample on Kaggle
TABLES = (*(f"Data_Entry_2017{v}.csv{gz}" for v in ("_v2020", "") for gz in ("", ".gz")), SAMPLE)  # corrected one first
LISTS = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
BOXES = "BBox_List_2017.csv"
LAYOUT = """\
  ROOT/Data_Entry_2017_v2020.csv   or Data_Entry_2017.csv, .gz too
  ROOT/train_val_list.txt
  ROOT/test_list.txt
  ROOT/BBox_List_2017.csv          optional
  ROOT/images/00000001_000.png …   or ROOT/images_001/images/ … ROOT/images_012/images/
  Kaggle's sample: ROOT/sample_labels.csv and ROOT/images/ or ROOT/sample/images/
  zoo data download nih (or nih-sample) fetches it"""
PAGE = "https://nihcc.app.box.com/v/ChestXray-NIHCC"
DOWNLOADS = (
    Download(
        name="nih",
        kaggle="nih-chest-xrays/data",
        bytes=45 * 10**9,
        page=PAGE,
        files="images_001.tar.gz … images_012.tar.gz of the folder images, Data_Entry_2017_v2020.csv, train_val_list.txt, "
        "test_list.txt and BBox_List_2017.csv",
    ),
    Download(
        name="nih-sample",
        kaggle="nih-chest-xrays/sample",
        bytes=45 * 10**8,
        page="https://www.kaggle.com/datasets/nih-chest-xrays/sample",
        files="the archive of 5,606 images (button Download)",
    ),
)


@dataclass(frozen=True)
class Tables:
    """The published tables without the images.

    `table` has image, patient, the 14 labels and, where published, split, view, age, sex and follow_up; `boxes`,
    `set_aside`, `notes` and `official_split` are as in `Records`; `file` is the table that was read.
    """

    table: pd.DataFrame
    boxes: pd.DataFrame
    set_aside: pd.DataFrame
    notes: tuple[str, ...]
    official_split: bool
    file: Path


def read_tables(root: Path, faults: Faults | None = None) -> Tables:
    """Read labels, metadata, official split and boxes under `root`; needs no images.

    Where `faults` are collected, images in both lists, in no list, listed twice or called normal beside a finding are noted
    there and stay in the table; else they are an error, or set aside.

    Raises:
        DataError: the label table is not there, lacks a column, or names a finding that is none of the fourteen.
    """
    from zoo.core.listing import NOT_IN_LISTS
    from zoo.datasets import _tables

    found = [folder / name for folder in (root, root / "sample") for name in TABLES if (folder / name).is_file()]
    if not found:
        raise DataError(f"{root} has no Data_Entry_2017.csv. The dataset 'nih' expects:\n{LAYOUT}")
    file = found[0]
    others = [each.name for each in found if each.name != file.name]  # Kaggle's sample has its table twice
    notes = [f"{file.name} is read, {others[0]} beside it is not"] if others else []
    raw = _tables.read_text_table(file)
    table, more = _entries(raw, file, faults)
    notes += more
    split, more = _official_split(root, table["image"], faults)
    notes += more
    set_aside = _tables.aside([], "")
    if split is not None:
        listed = split.notna()
        reason = f"in neither {LISTS['train_val']} nor {LISTS['test']}"
        if faults is not None:
            faults.add(NOT_IN_LISTS, table.loc[~listed, "image"], reason)
            listed[:] = True
        if not listed.all():
            set_aside = _tables.aside(table.loc[~listed, "image"].tolist(), reason)
            notes.append(f"{len(set_aside):,} images are {reason}: set aside")
        table = table.assign(split=split)[listed].reset_index(drop=True)
        if table.empty:
            raise DataError(f"no image of {file} is in {LISTS['train_val']} or {LISTS['test']}")
    boxes, more = _boxes(root, table["image"])
    return Tables(table, boxes, set_aside, (*notes, *more), split is not None, file)


def _entries(raw: pd.DataFrame, file: Path, faults: Faults | None) -> tuple[pd.DataFrame, list[str]]:
    """Image, patient, labels and metadata from the columns of either published header."""
    import pandas as pd

    from zoo.datasets import _tables

    raw = _tables.unique_images(raw, _tables.need_column(raw, "Image Index", file), file, faults)
    images = raw[_tables.need_column(raw, "Image Index", file)]
    findings = raw[_tables.need_column(raw, "Finding Labels", file)]
    patients = raw[_tables.need_column(raw, "Patient ID", file)]
    _tables.need_filled(patients, file)
    columns = {"image": images, "patient": patients, **_labels(findings, file, images, faults)}
    notes: list[str] = []
    view, age, follow_up = (_tables.find_column(raw, n) for n in ("View Position", "Patient Age", "Follow-up #"))
    sex = _tables.find_column(raw, "Patient Gender") or _tables.find_column(raw, "Patient Sex")
    if view:
        columns["view"] = _tables.parse_views(raw[view])
    if age:
        columns["age"], more = _tables.parse_ages(raw[age])
        notes += more
    if sex:
        columns["sex"], more = _tables.parse_sexes(raw[sex])
        notes += more
    if follow_up:
        columns["follow_up"] = pd.to_numeric(raw[follow_up], errors="coerce")
    return pd.DataFrame(columns), notes


def _labels(findings: pd.Series, file: Path, images: pd.Series, faults: Faults | None) -> dict[str, Any]:
    """One 0/1 float column per finding. Few combinations recur, so each is taken apart once."""
    import pandas as pd

    from zoo.core.listing import NORMAL_AND_FINDING

    codes, combinations = pd.factorize(findings)
    names = [{n.strip() for n in str(c).split("|")} for c in combinations]
    for number, each in enumerate(names):
        strange = sorted(each - {*FINDINGS, NORMAL})
        where = f"{file}, line {int((codes == number).argmax()) + 2}"
        if strange == [""]:
            raise DataError(f"{where}: no finding in the column '{findings.name}'; a normal image says '{NORMAL}'")
        if strange:
            near = closest(strange[0], [*FINDINGS, NORMAL])
            hint = f" Did you mean '{near}'?" if near else ""
            listed = ", ".join(f"'{s}'" for s in strange)
            raise DataError(f"{where}: unknown finding {listed}.{hint} Valid: {', '.join((*FINDINGS, NORMAL))}.")
        if NORMAL in each and len(each) > 1:
            if faults is not None:
                faults.add(NORMAL_AND_FINDING, images[codes == number], str(combinations[number]))
                continue
            raise DataError(f"{where}: '{combinations[number]}' says '{NORMAL}' and a finding")
    present = pd.DataFrame([[float(f in each) for f in FINDINGS] for each in names], columns=list(FINDINGS))
    return {f: present[f].to_numpy()[codes] for f in FINDINGS}


def _official_split(root: Path, images: pd.Series, faults: Faults | None) -> tuple[pd.Series | None, list[str]]:
    """The side of each image in the official lists (NaN in neither); None where a list is not there."""
    from zoo.core.listing import BOTH_LISTS, NOT_IN_TABLE

    missing = [name for name in LISTS.values() if not (root / name).is_file()]
    if missing:
        return None, [f"{root} has no {' and no '.join(missing)}: there is no official split"]
    sides: dict[str, str] = {}
    for side, name in LISTS.items():
        text = (root / name).read_text(encoding="utf-8", errors="replace")
        names = [line.strip() for line in text.splitlines() if line.strip()]
        both = [n for n in names if sides.get(n, side) != side]
        if faults is not None:
            faults.add(BOTH_LISTS, both, " and ".join(LISTS.values()))
        elif both:
            raise DataError(f"the image '{both[0]}' is in both lists, {' and '.join(LISTS.values())}, of {root}")
        sides.update(dict.fromkeys(names, side))
    split = images.map(sides)
    absent = len(sides) - int(split.notna().sum())
    if faults is not None and absent:
        known = set(images)
        for image, side in sides.items():
            if image not in known:
                faults.add(NOT_IN_TABLE, [image], LISTS[side])
    notes = [f"the official lists name {absent:,} images that the table does not have"] if absent else []
    notes += [f"none of the images is in {name}" for side, name in LISTS.items() if not (split == side).any()]
    return split, notes


def _boxes(root: Path, images: pd.Series) -> tuple[pd.DataFrame, list[str]]:
    """Boxes of the images at hand, in fractions of the image."""
    import pandas as pd

    from zoo.datasets import _tables

    names = ["image", "label", "x", "y", "width", "height"]
    file = root / BOXES
    if not file.is_file():
        return pd.DataFrame({n: pd.Series(dtype=float if n in names[2:] else object) for n in names}), []
    raw = _tables.read_text_table(file)
    if raw.shape[1] < len(names):
        raise DataError(f"{file} has {raw.shape[1]} columns; it needs image, finding, x, y, width and height")
    boxes = raw.iloc[:, : len(names)].set_axis(names, axis=1)  # the header splits "Bbox [x,y,w,h]" at its commas
    boxes["label"] = boxes["label"].replace({"Infiltrate": "Infiltration"})
    strange = ~boxes["label"].isin(FINDINGS)
    if strange.any():
        raise DataError(f"{file}, line {_tables.line_of(strange)}: unknown finding '{boxes['label'][strange].iloc[0]}'")
    sizes = boxes[names[2:]].apply(pd.to_numeric, errors="coerce")
    wrong = sizes.isna().any(axis=1)
    if wrong.any():
        raise DataError(f"{file}, line {_tables.line_of(wrong)}: the box is not four numbers")
    boxes[names[2:]] = sizes / FRAME
    here = boxes["image"].isin(images)
    notes = [f"{int((~here).sum()):,} boxes are of images that the table does not have"] if not here.all() else []
    return boxes[here].reset_index(drop=True), notes


def find_images(root: Path) -> dict[str, str]:
    """Every PNG in `images`, `images_001` …, `sample` and their `images` folders: file name to path relative to `root`."""
    found: dict[str, str] = {}
    folders = [*sorted(p for p in root.glob("images*") if p.is_dir()), root / "sample"]
    for folder in [each for top in folders for each in (top, top / "images") if each.is_dir()]:
        prefix = folder.relative_to(root).as_posix()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(".png"):
                    found.setdefault(entry.name, f"{prefix}/{entry.name}")
    return found


class Nih(Dataset):
    """Reader of the published ChestX-ray14 layout."""

    info = DatasetInfo(
        name="nih",
        summary="NIH ChestX-ray14: 112,120 frontal images of 30,805 patients, 14 findings, official split, boxes",
        licence="no restriction on use; cite the paper and the source, https://nihcc.app.box.com/v/ChestXray-NIHCC",
        paper="Wang et al. 2017, ChestX-ray8, arXiv:1705.02315",
        layout=LAYOUT,
        downloads=DOWNLOADS,
    )

    def place(self, member: str) -> str | None:
        name = member.rpartition("/")[2]
        if name in (*TABLES, *LISTS.values(), BOXES):
            return name
        return f"images/{name}" if name.lower().endswith(".png") and not name.startswith("._") else None

    def read(self, root: Path | None, options: Any) -> Records:
        import pandas as pd

        from zoo import FileSource
        from zoo.datasets import _tables

        root = _tables.need_root(root, "nih", LAYOUT)
        tables = read_tables(root)
        files = find_images(root)
        looked = f"{root / 'images'} and {root / 'images_001' / 'images'} … {root / 'images_012' / 'images'}"
        if not files:
            raise DataError(f"there are no images for {tables.file}: looked for *.png in {looked}")
        paths = tables.table["image"].map(files)
        here = paths.notna()
        if not here.any():
            first = tables.table["image"].iloc[0]
            raise DataError(f"none of the images of {tables.file} was found, '{first}' for one: looked in {looked}")
        missing = _tables.aside(tables.table.loc[~here, "image"].tolist(), "no image file")
        notes = list(tables.notes)
        if len(missing):
            notes.append(
                f"{len(missing):,} of {len(here):,} images of {tables.file.name} have no image file: set aside"
            )
        unlisted = len(files) - int(here.sum()) - int(tables.set_aside["image"].isin(list(files)).sum())
        if unlisted:
            notes.append(f"{unlisted:,} image files have no row in {tables.file.name}: not read")
        table = tables.table.assign(path=paths)[here].reset_index(drop=True)
        return Records(
            table=table,
            labels=FINDINGS,
            source=FileSource(str(root)),
            normal=NORMAL,
            boxes=tables.boxes[tables.boxes["image"].isin(table["image"])].reset_index(drop=True),
            set_aside=pd.concat([tables.set_aside, missing], ignore_index=True),
            notes=tuple(notes),
            official_split=tables.official_split,
        )

    def survey(self, root: Path | None, options: Any) -> Listing:
        from zoo import FileSource
        from zoo.core.listing import NO_FILE, NO_ROW
        from zoo.datasets import _tables

        root = _tables.need_root(root, "nih", LAYOUT)
        faults = Faults()
        tables = read_tables(root, faults)
        files = find_images(root)
        table = tables.table.assign(path=[files.get(image, "") for image in tables.table["image"]])
        missing = table.loc[table["path"] == "", "image"]
        faults.add(NO_FILE, missing, f"{tables.file.name} has a row of it")
        faults.add(NO_ROW, sorted(set(files) - set(table["image"])), f"{tables.file.name} has no row of it")
        records = Records(
            table=table,
            labels=FINDINGS,
            source=FileSource(str(root)),
            normal=NORMAL,
            boxes=tables.boxes,
            notes=tables.notes,
            official_split=tables.official_split,
        )
        return Listing(records, faults.table())


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [Nih()]
