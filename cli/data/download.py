"""`zoo data download`: download a published dataset, or unpack archives of it, into the layout that its reader expects."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from zoo.cli.options import AS_JSON, PATH, command
from zoo.cli.printing import print_json, print_line


@command()
@click.argument("name")
@click.option("--out", type=PATH, metavar="DIR", help="Folder to write [default: NAME].")
@click.option(
    "--archive",
    "archives",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Unpack this .tar.gz or .zip file, or copy this table, instead of downloading; may be repeated.",
)
@AS_JSON
def download(name: str, out: Path | None, archives: tuple[Path, ...], as_json: bool) -> None:
    """Download a dataset from Kaggle, or unpack archives you already have.

    You can stop it at any time; the same command continues. Files are checked by checksum and recorded in
    DIR/manifest.csv; nothing is ever written outside DIR.

    \b
    zoo data download nih-sample
    zoo data download nih --out DIR --archive images_001.tar.gz --archive Data_Entry_2017.csv
    """
    from zoo.core.registry import registry
    from zoo.data.download import fetch, find_download, unpack_archives

    dataset, wanted = find_download(name, registry())
    out = out or Path(wanted.name)
    done = unpack_archives(dataset, wanted, archives, out) if archives else fetch(dataset, wanted, out)
    if as_json:
        print_json({**asdict(done), "folder": str(done.folder)})
        return
    print_line(f"In {done.folder}: {done.files:,} files, {done.bytes / 1e6:,.1f} MB ({done.added:,} of them new)")
    if done.left_out:
        print_line(f"Left out: {done.left_out:,} files that the dataset '{dataset.info.name}' does not read")
    print_line(f"Next: zoo data prepare --data {dataset.info.name} --root {done.folder}")
