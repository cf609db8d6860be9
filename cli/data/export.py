"""`zoo data export`: a prepared dataset as files that other pipelines read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from zoo.cli.data.shared import MODEL, Chosen, on_dataset
from zoo.cli.options import AS_JSON, PATH, command
from zoo.cli.printing import print_json, print_line


@command()
@on_dataset
@click.option("--out", type=PATH, metavar="DIR", required=True, help="New folder to write.")
@click.option(
    "--format", "kind", type=click.Choice(["tfrecord"]), default="tfrecord", show_default=True, help="File format."
)
@MODEL
@click.option("--image-size", type=int, metavar="PX", help="Height and width [default: the dataset's or the model's].")
@click.option(
    "--encoding",
    type=click.Choice(["png", "raw"]),
    default="png",
    show_default=True,
    help="Pixel encoding, both lossless; raw is larger and needs no decoding.",
)
@click.option(
    "--shard-mb",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    metavar="MB",
    help="Approximate size of a file.",
)
@click.option("--limit", type=int, metavar="N", help="Use about N images, whole patients, as zoo train does.")
@click.option("--seed", type=int, metavar="N", help="Seed of the split and of --limit [default: 0].")
@AS_JSON
def export(
    chosen: Chosen,
    out: Path,
    kind: str,
    encoding: Any,
    shard_mb: int,
    as_json: bool,
    **flags: Any,
) -> None:
    """Write a dataset's prepared images, labels and patient data as TFRecord files.

    DIR holds train-…, val-… and test-….tfrecord and metadata.json. zoo train --data tfrecord --root DIR gives the results of
    training on the dataset itself at that image size, for every task and seed.

    \b
    zoo data export --data nih --root DIR --image-size 224 --out images
    zoo train --data tfrecord --root images --image-size 224
    """
    from zoo.core.registry import registry
    from zoo.data.export import export_images

    config = chosen.config(flags)
    found = export_images(config, registry(), out, encoding=encoding, shard_bytes=shard_mb * 10**6)
    if as_json:
        print_json({**asdict(found), "folder": str(found.folder)})
        return
    images = ", ".join(f"{count:,} {name}" for name, count in found.split.items())
    print_line(f"Exported: {images} images in {len(found.shards):,} files, {found.bytes / 1e6:,.1f} MB, in {out}")
    if found.set_aside:
        print_line(f"Set aside: {found.set_aside:,} images, named with the reason in metadata.json")
    print_line(f"Train on it: zoo train --data tfrecord --root {out} --image-size {config.settings.image_size}")
