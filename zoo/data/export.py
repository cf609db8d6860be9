"""A prepared dataset as sharded TFRecord files that any pipeline can read, and from which zoo trains with the same results."""

from __future__ import annotations

import io
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from zoo.config.run_config import RunConfig
from zoo.core.errors import UsageError, ZooError
from zoo.core.files import replacing
from zoo.core.locks import LOCK, locked
from zoo.core.pools import usable_cores
from zoo.core.progress import Progress
from zoo.core.records import SPLITS, Records
from zoo.core.registry import Registry
from zoo.data.boxes import CORNERS, square_boxes
from zoo.data.pipeline import read_records
from zoo.data.split import assign, check_leaks, join_groups
from zoo.data.store import Store, prepare
from zoo.data.tfrecord import Value, encode_example, write_records

logger = logging.getLogger(__name__)

METADATA = "metadata.json"
FORMAT, VERSION = "zoo-images", 1
SHARD_BYTES = 128 * 10**6
_SAMPLE = 64  # images that say how large the others will be
_BATCH = 256  # images encoded at a time
_RESERVED = ("image", "path", "split")
_FIXED = ("labels", "published_split", "row")

Encoding = Literal["png", "raw"]


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, images per file, bytes in all, and the images of each split."""

    folder: Path
    shards: dict[str, int]
    bytes: int
    split: dict[str, int]
    set_aside: int


def export_images(
    config: RunConfig,
    registry: Registry,
    out: Path,
    *,
    encoding: Encoding = "png",
    shard_bytes: int = SHARD_BYTES,
) -> Exported:
    """Write the images of the configured dataset, with all their findings, into the new folder `out`.

    The folder appears under its name when it is complete. The split written down is the published one; what that leaves open
    is drawn by patient with the configured seed, stratified over all findings, as for the multilabel task.

    Args:
        config: names dataset, image size, limit and seed.
        registry: of the strategies.
        out: must not exist.
        encoding: "png", without loss, or "raw": rows of uint8.
        shard_bytes: images of one file, about; the files of each split are of equal numbers of images.

    Raises:
        UsageError: `out` exists.
        ZooError: the disk has no room for it, or it cannot be written.
    """
    _refuse_existing(out)
    records = read_records(config, registry)
    for note in records.notes:
        logger.info(note)
    store = prepare(records, int(config.settings.image_size or 0), name=config.data.name)
    rows = np.flatnonzero((store.table["reason"] == "").to_numpy())
    split = _split(records, store, rows, config)
    images = _Images(records, store, rows, split, encoding)
    size = images.expected_bytes()
    plan = _plan(split, size / max(len(rows), 1), shard_bytes)
    try:
        with _new_folder(out) as partial:
            _need_room(partial, size, len(rows))
            logger.info(f"Writing {len(rows):,} images to {len(plan)} files in {out} (about {size / 1e6:,.0f} MB)")
            with Progress("Exporting", len(rows)) as progress:
                written = sum(_write_shard(partial / name, images, places, progress) for name, places in plan.items())
            shards = {name: len(places) for name, places in plan.items()}
            metadata = images.metadata(config, shards)
            (partial / METADATA).write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ZooError(f"cannot write {out}: {error.strerror or error}. Nothing was left there.") from error
    counts = {name: int((split == name).sum()) for name in SPLITS}
    return Exported(out, shards, written, counts, len(metadata["set_aside"]))


def _refuse_existing(out: Path) -> None:
    if os.path.lexists(out):
        raise UsageError(f"--out {out} exists already: name a new folder, or remove that one first.")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its name on success, and is removed on failure."""
    out = Path(os.path.abspath(out))
    partial = out.with_name(f".partial-{out.name}")
    with locked(partial / LOCK, busy=f"{out} is being written"):
        try:
            for left in partial.iterdir():  # by a process that was killed
                if left.name != LOCK:
                    left.unlink()
            yield partial
            _refuse_existing(out)
            partial.rename(out)
            (out / LOCK).unlink(missing_ok=True)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _need_room(folder: Path, size: int, images: int) -> None:
    """Raise ZooError where the disk has less than `size` bytes free."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ZooError(
            f"{images:,} images take about {size / 1e6:,.0f} MB, but {folder.parent} has only {free / 1e6:,.0f} MB free. Free some "
            "space, name another folder, or a smaller --image-size."
        )


def _split(records: Records, store: Store, rows: np.ndarray, config: RunConfig) -> np.ndarray:
    """The split of each image, from the published lists where there are any."""
    settings = config.settings
    table = records.table.iloc[rows].reset_index(drop=True)
    digests = store.table["digest"].to_numpy()[rows]
    published = table["split"].to_numpy() if "split" in table else None
    if published is not None and not np.isin(published, ("train", "train_val")).any():
        split = published.astype(object)  # nothing to draw from
    else:
        split = assign(
            published,
            join_groups(table["patient"].to_numpy(), digests),
            table[list(records.labels)].to_numpy(dtype=np.float32),
            seed=settings.seed,
            val_fraction=settings.val_fraction,
            test_fraction=settings.test_fraction,
        )
    copies = int(check_leaks(split, table, digests).sum())
    if copies:
        logger.warning(f"{copies:,} images stand pixel for pixel in a later split too; they are written nevertheless")
    return split


def _plan(split: np.ndarray, image_bytes: float, shard_bytes: int) -> dict[str, np.ndarray]:
    """Which images go into which file: every split into files of its own, the images in their order."""
    plan = {}
    for name in SPLITS:
        places = np.flatnonzero(split == name)
        count = max(1, min(len(places), math.ceil(len(places) * image_bytes / shard_bytes)))
        for number, part in enumerate(np.array_split(places, count) if len(places) else ()):
            plan[f"{name}-{number:05}-of-{count:05}.tfrecord"] = part
    return plan


def _write_shard(file: Path, images: _Images, places: np.ndarray, progress: Progress) -> int:
    """Write one file; returns its size in bytes."""

    def contents() -> Iterator[bytes]:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for start in range(0, len(places), _BATCH):
                part = places[start : start + _BATCH]
                yield from pool.map(images.record, part)
                progress.advance(len(part))

    with replacing(file) as partial:
        write_records(partial, contents())
    return file.stat().st_size


class _Images:
    """The images to be written, each as one record: `rows` of the records and of the store, in order."""

    def __init__(self, records: Records, store: Store, rows: np.ndarray, split: np.ndarray, encoding: Encoding) -> None:
        self.records, self.store, self.rows, self.split, self.encoding = records, store, rows, split, encoding
        table = records.table
        others = [c for c in table.columns if c not in (*_RESERVED, *records.labels)]
        taken = next((c for c in others if c in _FIXED or c.startswith("image/")), None)
        if taken is not None:
            raise UsageError(
                f"the column '{taken}' has the name of a feature that every record has: rename or leave it out."
            )
        self.labels = table[list(records.labels)].to_numpy(dtype=np.float32)
        self.columns = {c: "number" if pd.api.types.is_numeric_dtype(table[c]) else "text" for c in others}
        self.cells = {
            name: table[name].to_numpy(float, na_value=np.nan)
            if kind == "number"
            else table[name].fillna("").astype(str).to_numpy()
            for name, kind in self.columns.items()
        }
        self.names = table["image"].to_numpy()
        self.published = table["split"].astype(str).to_numpy() if "split" in table else np.full(len(table), "")
        self.boxes = _square_boxes(records, rows)

    def expected_bytes(self) -> int:
        """About how many bytes all the records take, from a sample of them."""
        if not len(self.rows):
            return 0
        some = np.unique(np.linspace(0, len(self.rows) - 1, _SAMPLE).astype(int))
        return int(1.05 * sum(len(self.record(number)) for number in some) / len(some) * len(self.rows))

    def record(self, number: int) -> bytes:
        """The record of one of the images that are written."""
        row = int(self.rows[number])
        pixels = np.ascontiguousarray(self.store.images[row])
        features: dict[str, Value] = {
            "image/encoded": _png(pixels) if self.encoding == "png" else pixels.tobytes(),
            "image/format": self.encoding,
            "image/filename": self.names[row],
            "image/height": pixels.shape[0],
            "image/width": pixels.shape[1],
            "image/channels": 1,
            "labels": self.labels[row],
            "split": str(self.split[number]),
            "published_split": self.published[row],
            "row": row,
            **{name: cells[row] for name, cells in self.cells.items()},
            **self.boxes.get(self.names[row], {}),
        }
        return encode_example(features)

    def metadata(self, config: RunConfig, shards: dict[str, int]) -> dict[str, Any]:
        """What metadata.json holds."""
        import zoo

        records, settings = self.records, config.settings
        unread = self.store.table[self.store.table["reason"] != ""]
        aside = pd.concat([records.set_aside[["image", "reason"]], unread[["image", "reason"]]])
        return {
            "format": FORMAT,
            "version": VERSION,
            "written_by": f"zoo {zoo.__version__}",
            "dataset": config.data.name,
            "images": len(self.rows),
            "image_size": self.store.size,
            "encoding": self.encoding,
            "labels": list(records.labels),
            "normal": records.normal,
            "no_pathology": list(records.no_pathology),
            "columns": self.columns,
            "official_split": records.official_split,
            "patients_known": records.patients_known,
            "published_split": "split" in records.table,
            "split_seed": settings.seed,
            "limit": settings.limit,
            "shards": shards,
            "notes": list(records.notes),
            "set_aside": aside.to_dict("records"),
        }


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=3)
    return stream.getvalue()


def _square_boxes(records: Records, rows: np.ndarray) -> dict[str, dict[str, Value]]:
    """Features of the images that have boxes, in fractions of the padded square that is written."""
    found: dict[str, dict[str, Value]] = {}
    for image, boxes in square_boxes(records, rows).groupby("image", sort=False):
        corners = boxes[CORNERS].to_numpy(float)
        found[str(image)] = {
            "image/object/bbox/xmin": corners[:, 0],
            "image/object/bbox/ymin": corners[:, 1],
            "image/object/bbox/xmax": corners[:, 0] + corners[:, 2],
            "image/object/bbox/ymax": corners[:, 1] + corners[:, 3],
            "image/object/class/text": boxes["label"].tolist(),
        }
    return found
