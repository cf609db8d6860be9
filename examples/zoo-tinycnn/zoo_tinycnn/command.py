"""A command: `zoo widths`."""

from __future__ import annotations

import click


@click.command()
@click.option("--most", type=click.IntRange(min=8), default=64, show_default=True, help="Largest width.")
def widths(most: int) -> None:
    """Print the parameters of small-cnn for several widths."""
    width = 8
    while width <= most:
        click.echo(f"{width:4} {90 * width**2 + 41 * width + 1:10,}")
        width *= 2
