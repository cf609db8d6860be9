"""One folder per class, with or without train, val and test folders on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import DataError, Dataset, DatasetInfo, Records, hookimpl, option

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
LAYOUT = """\
  ROOT/NORMAL/*.png               one folder per class, the folder's name is the class; DICOM files too
  ROOT/PNEUMONIA/*.png
or, split already:
  ROOT/train/NORMAL/*.png         ROOT/val/… (optional)         ROOT/test/NORMAL/*.png
  ROOT/train/PNEUMONIA/*.png                                    ROOT/test/PNEUMONIA/*.png"""


@dataclass(frozen=True)
class FolderOptions:
    """Options of the folder reader."""

    normal: str = option("", "class that means normal; empty: the one named normal, no finding, negative or healthy")
    patient_pattern: str = option(
        "", r"regular expression whose first group, found in the image's path, is the patient, such as 'person(\d+)_'"
    )
    force: bool = option(False, "accept DICOM files whose header says they are not chest X-rays")


@dataclass(frozen=True)
class ClassImage:
    """One image file: its path relative to the root, its class, and its split ("" where the layout has none)."""

    image: str
    name: str
    split: str


def scan(root: Path) -> tuple[list[ClassImage], list[tuple[str, str]]]:
    """Find the images under `root`, sorted by name.

    Returns:
        The images, and `(path, reason)` for everything else that is there.
    """
    from zoo.data.image_files import image_files, place

    images: list[ClassImage] = []
    other: list[tuple[str, str]] = []
    folders = _folders(root, root, other)
    tops = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    beside = f"a folder beside {', '.join(top.name for top in tops)}"
    other += [(f"{folder.name}/", beside) for folder in folders if tops and folder not in tops]
    places = [
        (SPLIT_FOLDERS[top.name.lower()] if tops else "", folder)
        for top in tops or [root]
        for folder in (_folders(root, top, other) if tops else folders)
    ]
    known = frozenset(place(str(folder)) for _, folder in places)
    for split, folder in places:
        for file, reason in image_files(str(folder), known):
            image = Path(file).relative_to(root).as_posix()
            if reason:
                other.append((image, reason))
            else:
                images.append(ClassImage(image, folder.name, split))
    return images, other


def _folders(root: Path, parent: Path, other: list[tuple[str, str]]) -> list[Path]:
    """The folders in `parent` by name; those that hold no images (.git, __MACOSX) and files go to `other`."""
    from zoo.data.image_files import folders_of

    kept, left = folders_of(str(parent))
    reasons = dict(left)
    for path in sorted(parent.iterdir()):
        name = path.relative_to(root).as_posix()
        if path.name in reasons:
            other.append((f"{name}/", reasons[path.name]))
        elif path.name not in kept:
            other.append((name, "in no class folder"))
    return [parent / name for name in kept]


class Folder(Dataset):
    """Reader of class folders."""

    info = DatasetInfo(
        name="folder",
        summary="Any images in one folder per class, with or without train, val and test folders",
        layout=LAYOUT,
    )
    Options = FolderOptions

    def read(self, root: Path | None, options: Any) -> Records:
        import pandas as pd

        from zoo import FileSource
        from zoo.datasets import _tables

        root = _tables.need_root(root, self.info)
        images, other = scan(root)
        classes = sorted({image.name for image in images})
        if len(classes) < 2:
            what = f"only one class has images in {root}: '{classes[0]}'" if classes else f"no image files in {root}"
            raise DataError(f"{what}. The dataset 'folder' expects:", LAYOUT)
        _tables.need_distinct(classes, str(root))
        normal = _tables.find_normal(classes, options.normal, str(root))
        names = pd.Series([image.name for image in images])
        paths = [image.image for image in images]
        table = pd.DataFrame({"image": paths, "path": paths})
        table["patient"] = _tables.patients_in(paths, options.patient_pattern) if options.patient_pattern else paths
        labels = tuple(c for c in classes if c != normal)
        for label in labels:
            table[label] = (names == label).astype(float)
        splits = sorted({image.split for image in images}, key=list(SPLIT_FOLDERS).index) if images[0].split else []
        if splits:
            table["split"] = [image.split for image in images]
        return Records(
            table=table,
            labels=labels,
            source=FileSource(str(root), force=options.force),
            normal=normal,
            set_aside=_tables.aside(other),
            notes=tuple(_notes(images, splits, classes, other, options.patient_pattern)),
            official_split="test" in splits,
            patients_known=bool(options.patient_pattern),
        )


def _notes(
    images: list[ClassImage], splits: list[str], classes: list[str], other: list[tuple[str, str]], pattern: str
) -> Iterator[str]:
    if not pattern:
        yield (
            "folders do not say which images are of one patient: each image counts as a patient of its own, and one "
            "patient may be on both sides of a split; the option patient_pattern finds the patient in the path"
        )
    if splits and "test" not in splits:
        yield f"there is no test folder beside {' and '.join(splits)}: the split is not an official one"
    for split in splits:
        here = {image.name for image in images if image.split == split}
        yield from (f"the class '{name}' has no images in {split}" for name in classes if name not in here)
    if other:
        yield f"{len(other):,} files or folders are not images: set aside"


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [Folder()]
