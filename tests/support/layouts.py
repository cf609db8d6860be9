"""Small layouts of every dataset that reads files, for the public checks: name -> function that writes one under a root."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

NIH_COLUMNS = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def write_image(file: Path, seed: int = 0) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


def nih(root: Path) -> None:
    findings = ("Effusion|Mass", "No Finding", "Mass", "No Finding")
    names = [f"0000000{patient}_000.png" for patient in range(1, 5)]
    rows = [f"{name},{found},0,{i + 1},60,F,PA" for i, (name, found) in enumerate(zip(names, findings, strict=True))]
    (root / "Data_Entry_2017.csv").write_text("\n".join([NIH_COLUMNS, *rows]) + "\n")
    (root / "train_val_list.txt").write_text("\n".join(names[:2]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[2:]) + "\n")
    for i, name in enumerate(names):
        write_image(root / "images" / name, i)


def folder(root: Path) -> None:
    for i, name in enumerate(("normal/a", "normal/b", "pneumonia/c", "pneumonia/d")):
        write_image(root / f"{name}.png", i)


def csv(root: Path) -> None:
    for i in range(3):
        write_image(root / f"{i}.png", i)
    (root / "images.csv").write_text("image,patient,label\n0.png,p,effusion\n1.png,q,normal\n2.png,q,effusion\n")


def medmnist(root: Path) -> None:
    generator, arrays = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = generator.integers(0, 256, (4, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(4) % 2).astype(np.uint8)[:, None]
    np.savez(root / "pneumoniamnist.npz", **arrays)


def tfrecord(root: Path) -> None:
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.data.export import export_images

    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", f"{scratch}/cache")
        config = resolve([{"image_size": 32, "data": {"name": "phantom", "patients": 12}}], registry())
        export_images(config, registry(), Path(scratch, "images"))
        for file in Path(scratch, "images").iterdir():
            shutil.move(file, root)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "nih": nih,
    "folder": folder,
    "csv": csv,
    "medmnist": medmnist,
    "tfrecord": tfrecord,
}

SEVEN = ("Atelectasis", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumothorax", "No Finding")
OTHERS = (
    "Cardiomegaly",
    "Pneumonia",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)


def phantom_as_nih(root: Path, images: int) -> None:
    """Drawn images in NIH's layout, two of each patient; the labels go round and have nothing to do with the images."""
    from zoo.datasets.phantom import Phantom, PhantomOptions

    drawn = Phantom().read(None, PhantomOptions(patients=images))
    rows, boxes, lists = (
        [],
        ["Image Index,Finding Label,Bbox [x,y,w,h],,,"],
        {"train_val": list[str](), "test": list[str]()},
    )
    (root / "images").mkdir(parents=True)
    for i, path in enumerate(drawn.table["path"][:images]):
        patient, label = i // 2, SEVEN[i % 7]
        name = f"{patient:08d}_{i % 2:03d}.png"
        if i % 4 == 3 and label != "No Finding":
            label += f"|{OTHERS[i // 4 % 8]}"
        split = "test" if patient % 4 == 0 else "train_val"
        view, sex = ("PA", "AP")[i % 3 == 0], "MF"[patient % 2]
        rows.append(f"{name},{label},{i % 2},{patient},{20 + patient % 60},{sex},{view}")
        lists[split].append(name)
        if split == "test" and label in SEVEN[:2]:
            boxes.append(f"{name},{label},256,256,256,256,,,")
        Image.fromarray(drawn.source.read(path)[0]).save(root / "images" / name)
    (root / "Data_Entry_2017.csv").write_text("\n".join([NIH_COLUMNS, *rows]) + "\n")
    (root / "BBox_List_2017.csv").write_text("\n".join(boxes) + "\n")
    for split, names in lists.items():
        (root / f"{split}_list.txt").write_text("\n".join(names) + "\n")
