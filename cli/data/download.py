"""`zoo data download`: download a published dataset, or unpack archives of it, into the layout that its reader expects."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from zoo.cli import catalogue
from zoo.cli.data.shared import AS_JSON


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the dataset [default: NAME].")
@click.option(
    "--archive",
    "archives",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Unpack this local .tar.gz or .zip, or copy this table, instead of downloading; may be repeated.",
)
@AS_JSON
def download(name: str, out: Path | None, archives: tuple[Path, ...], as_json: bool) -> None:
    """Download NAME by kagglehub, or unpack archives of it that you have.

    An interrupted download is resumed by the same command. Files are checked by checksum and recorded in
    DIR/manifest.csv; nothing is ever written outside DIR.

    \b
    zoo data download nih-sample
    zoo data download nih --out DIR --archive images_001.tar.gz --archive Data_Entry_2017.csv
    """
    catalogue.warn()
    from zoo.core.registry import registry
    from zoo.data.download import fetch, find_download, unpack_archives

    dataset, wanted = find_download(name, registry())
    out = out or Path(wanted.name)
    done = unpack_archives(dataset, wanted, archives, out) if archives else fetch(dataset, wanted, out)
    if as_json:
        click.echo(json.dumps({**asdict(done), "folder": str(done.folder)}, indent=2))
        return
    click.echo(f"In {done.folder}: {done.files:,} files, {done.bytes / 1e6:,.1f} MB ({done.added:,} of them new)")
    if done.left_out:
        click.echo(f"Left out: {done.left_out:,} files that the dataset '{dataset.info.name}' does not read")
    click.echo(f"Next: zoo data prepare --data {dataset.info.name} --root {done.folder}")
