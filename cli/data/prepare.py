"""`zoo data prepare`: images decoded and resized ahead of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.cli.configuration import flag
from zoo.cli.data.shared import MODEL, Chosen, on_dataset
from zoo.cli.options import AS_JSON, command
from zoo.cli.printing import print_json, print_line

if TYPE_CHECKING:
    from zoo.data.pipeline import ImageSet


@command()
@on_dataset
@flag("task")
@MODEL
@flag("image_size")
@flag("where")
@flag("findings")
@flag("limit")
@flag("seed")
@flag("drop_leaks")
@AS_JSON
def prepare(chosen: Chosen, as_json: bool, **flags: Any) -> None:
    """Decode and resize a dataset's images for training, and check its split.

    zoo train and zoo evaluate find the prepared images and start at once. They are stored in the cache ($ZOO_CACHE, else
    ~/.cache/zoo), with a table of images that cannot be used and why. You can stop it with Ctrl-C at any time; the same
    command continues.

    \b
    zoo data prepare --data nih --root DIR --image-size 224
    zoo data prepare --data folder --root DIR       (PNG, JPEG, DICOM …)
    """
    from zoo.core.registry import registry
    from zoo.data.pipeline import load_images

    # nothing is trained, so no batch can be too large, and no best epoch is looked for
    config = chosen.config(flags, batch_size=1, monitor="val_loss")
    found = _summary(load_images(config, registry()))
    if as_json:
        print_json(found)
        return
    _print_summary(found)


def _summary(images: ImageSet) -> dict[str, Any]:
    store = images.store
    reasons = images.set_aside["reason"].value_counts()
    held = sum(file.stat().st_size for file in store.path.iterdir())
    return {
        "store": str(store.path),
        "images": len(store.table),
        "image_size": store.size,
        "bytes": held,
        "task": images.task.kind,
        "labels": list(images.task.labels),
        "split": {name: int((images.table["split"] == name).sum()) for name in ("train", "val", "test")},
        "official_split": images.official_split,
        "normalised": int((store.table["note"] != "").sum()),
        "filtered_out": images.filtered_out,
        "set_aside": {str(reason): int(count) for reason, count in reasons.items()},
    }


def _print_summary(found: dict[str, Any]) -> None:
    aside = found["set_aside"]
    print_line(
        f"Prepared: {found['images']:,} images at {found['image_size']}×{found['image_size']}, "
        f"{found['bytes'] / 1e6:,.1f} MB, in {found['store']}"
    )
    if found["filtered_out"]:
        print_line(f"Filtered out: {found['filtered_out']:,} images")
    print_line(f"Set aside: {sum(aside.values()):,} images")
    for reason, count in aside.items():
        print_line(f"  {count:>7,}  {reason}")
    if aside:
        print_line("Those that could not be read are named in images.csv there, column reason.")
