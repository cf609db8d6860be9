"""NIH ChestX-ray14 as published: the tables, the official lists, the boxes, and images in one folder or in twelve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import DataError, Dataset, DatasetInfo, Download, Faults, Listing, Records, hookimpl

if TYPE_CHECKING:
    from zoo.datasets._builder import RecordBuilder

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


def read_tables(root: Path, faults: Faults | None = None) -> RecordBuilder:
    """Read labels, metadata, official split and boxes under `root`; needs no images.

    Where `faults` are collected, images in both lists, in no list, listed twice or normal beside a finding are noted there and
    kept; else they are an error, or set aside.

    Raises:
        DataError: the label table is not there, lacks a column, or names a finding that is none of the fourteen.
    """
    import pandas as pd

    from zoo.datasets._builder import RecordBuilder
    from zoo.datasets._labels import add_classes

    found = [folder / name for folder in (root, root / "sample") for name in TABLES if (folder / name).is_file()]
    if not found:
        raise DataError(f"{root} has no Data_Entry_2017.csv. The dataset 'nih' expects:", LAYOUT)
    builder = RecordBuilder.from_csv(found[0], faults)
    others = [each.name for each in found if each.name != found[0].name]  # Kaggle's sample has its table twice
    if others:
        builder.notes.append(f"{found[0].name} is read, {others[0]} beside it is not")
    builder.add_images(builder.need("Image Index"))
    builder.add_patients(builder.need("Patient ID"))
    add_classes(builder, builder.need("Finding Labels"), "|", NORMAL, FINDINGS)
    sex = builder.find("Patient Gender", "Patient Sex")
    builder.add_metadata(builder.find("View Position"), builder.find("Patient Age"), sex)
    follow_up = builder.find("Follow-up #")
    if follow_up is not None:
        builder.columns["follow_up"] = pd.to_numeric(follow_up, errors="coerce")
    _add_official_split(builder, root)
    _add_boxes(builder, root)
    return builder


def _add_official_split(builder: RecordBuilder, root: Path) -> None:
    """The side of each image in the official lists; images in neither are set aside."""
    from zoo.core.listing import BOTH_LISTS, NOT_IN_LISTS, NOT_IN_TABLE
    from zoo.core.tables import read_list

    missing = [name for name in LISTS.values() if not (root / name).is_file()]
    if missing:
        builder.notes.append(f"{root} has no {' and no '.join(missing)}: there is no official split")
        return
    images, faults = builder.columns["image"], builder.faults
    sides: dict[str, str] = {}
    for side, name in LISTS.items():
        names = read_list(root / name)
        both = [n for n in names if sides.get(n, side) != side]
        if faults is not None:
            faults.add(BOTH_LISTS, both, " and ".join(LISTS.values()))
        elif both:
            raise DataError(f"the image '{both[0]}' is in both lists, {' and '.join(LISTS.values())}, of {root}")
        sides.update(dict.fromkeys(names, side))
    split, known = images.map(sides), set(images)
    absent = [image for image in sides if image not in known]
    if absent:
        builder.notes.append(f"the official lists name {len(absent):,} images that the table does not have")
    builder.notes += [f"none of the images is in {name}" for side, name in LISTS.items() if not (split == side).any()]
    builder.columns["split"], builder.official_split = split, True
    reason = f"in neither {LISTS['train_val']} nor {LISTS['test']}"
    if faults is not None:
        for image in absent:
            faults.add(NOT_IN_TABLE, [image], LISTS[sides[image]])
        faults.add(NOT_IN_LISTS, images[split.isna()], reason)
    elif count := builder.set_aside(split.isna(), reason):
        builder.notes.append(f"{count:,} images are {reason}: set aside")
        if count == len(images):
            raise DataError(f"no image of {builder.file} is in {LISTS['train_val']} or {LISTS['test']}")


def _add_boxes(builder: RecordBuilder, root: Path) -> None:
    """The boxes of images in the table, in fractions of the image."""
    import pandas as pd

    from zoo.datasets._builder import RecordBuilder
    from zoo.datasets._tables import BOX

    if not (root / BOXES).is_file():
        return
    raw = RecordBuilder.from_csv(root / BOXES)
    if raw.cells.shape[1] < len(BOX):
        raise DataError(f"{raw.file} has {raw.cells.shape[1]} columns; it needs image, finding, x, y, width and height")
    boxes = raw.cells.iloc[:, : len(BOX)].set_axis(BOX, axis=1)  # the header splits "Bbox [x,y,w,h]" at its commas
    boxes["label"] = boxes["label"].replace({"Infiltrate": "Infiltration"})
    strange = ~boxes["label"].isin(FINDINGS)
    if strange.any():
        raise raw.error(strange, f"unknown finding '{boxes['label'][strange].iloc[0]}'")
    corners = list(BOX[2:])
    sizes = boxes[corners].apply(pd.to_numeric, errors="coerce")
    wrong = sizes.isna().any(axis=1)
    if wrong.any():
        raise raw.error(wrong, "the box is not four numbers")
    boxes[corners] = sizes / FRAME
    here = boxes["image"].isin(builder.columns["image"])
    if not here.all():
        builder.notes.append(f"{int((~here).sum()):,} boxes are of images that the table does not have")
    builder.boxes = boxes[here]


def find_images(root: Path) -> dict[str, str]:
    """Every PNG in `images`, `images_001` …, `sample` and their `images` folders: file name to path relative to `root`."""
    from zoo.data.image_files import is_hidden

    found: dict[str, str] = {}
    folders = [*sorted(p for p in root.glob("images*") if p.is_dir()), root / "sample"]
    for folder in [each for top in folders for each in (top, top / "images") if each.is_dir()]:
        prefix = folder.relative_to(root).as_posix()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.lower().endswith(".png") and not is_hidden(entry.name):
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

    def destination(self, member: str) -> str | None:
        name = member.rpartition("/")[2]
        if name in (*TABLES, *LISTS.values(), BOXES):
            return name
        return f"images/{name}" if name.lower().endswith(".png") and not name.startswith("._") else None

    def read(self, root: Path | None, options: Any) -> Records:
        from zoo import FileSource
        from zoo.datasets._tables import need_root

        root = need_root(root, self.info)
        builder, files = read_tables(root), find_images(root)
        images, name = builder.columns["image"], builder.file.name
        looked = f"{root / 'images'} and {root / 'images_001' / 'images'} … {root / 'images_012' / 'images'}"
        if not files:
            raise DataError(f"there are no images for {builder.file}: looked for *.png in {looked}")
        builder.columns["path"] = images.map(files)
        listed, missing = builder.reasons == "", builder.columns["path"].isna()
        if missing[listed].all():
            first = images[listed].iloc[0]
            raise DataError(f"none of the images of {builder.file} was found, '{first}' for one: looked in {looked}")
        if count := builder.set_aside(missing, "no image file"):
            builder.notes.append(f"{count:,} of {int(listed.sum()):,} images of {name} have no image file: set aside")
        if unlisted := len(files.keys() - set(images)):
            builder.notes.append(f"{unlisted:,} image files have no row in {name}: not read")
        return builder.records(FileSource(str(root)))

    def survey(self, root: Path | None, options: Any) -> Listing:
        from zoo import FileSource
        from zoo.core.listing import NO_ROW
        from zoo.datasets._tables import need_root

        root = need_root(root, self.info)
        faults = Faults()
        builder, files = read_tables(root, faults), find_images(root)
        images = builder.columns["image"]
        builder.columns["path"] = [files.get(image, "") for image in images]
        faults.add(NO_ROW, sorted(files.keys() - set(images)), f"{builder.file.name} has no row of it")
        return builder.listing(FileSource(str(root)))


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [Nih()]
