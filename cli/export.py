"""`zoo export`: a run as one file for use without zoo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import AS_JSON, PATH, RUNS_DIR, command
from zoo.cli.printing import bare_table, plain_console, print_json

if TYPE_CHECKING:
    from zoo.export.export import Exported
    from zoo.export.parity import Difference


@command()
@click.argument("run_reference", metavar="RUN")
@click.option(
    "--format",
    "form",
    type=click.Choice(["keras", "savedmodel", "litert", "onnx"]),
    required=True,
    help="Format of the file.",
)
@click.option(
    "--quantize",
    type=click.Choice(["float16", "int8"]),
    help="Weights in half precision, or computing in 8-bit integers (litert and onnx).",
)
@click.option("--out", type=PATH, metavar="PATH", help="The file [default: exports/ in the run].")
@click.option(
    "--images",
    metavar="DIR|N",
    help="Compare on the images of this folder, or on N of the run's own [default: 100; with --quantize 1000 test images].",
)
@click.option(
    "--tolerance",
    type=float,
    metavar="X",
    help="Refuse a larger difference of a probability [default: 0.0001], with --quantize a larger loss of AUROC [default: 0.01].",
)
@click.option("--force", is_flag=True, help="Keep the file even if it differs more.")
@RUNS_DIR
@AS_JSON
def export(
    run_reference: str,
    form: str,
    quantize: str | None,
    out: Path | None,
    images: str | None,
    tolerance: float | None,
    force: bool,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Export a run as one file that takes raw gray images of any size and returns calibrated probabilities.

    The file holds resizing, scaling, activation and calibration, with labels, thresholds and licences as metadata, and loads
    without zoo. Its predictions are compared with zoo's; a file that differs is not kept.

    \b
    zoo export NAME --format onnx
    zoo export NAME --format litert --quantize int8
    zoo export NAME --format savedmodel --out chest.savedmodel --images DIR
    """
    from zoo.core.registry import registry
    from zoo.export.export import Options, check_options
    from zoo.export.export import export as export_run
    from zoo.runs.run import Run

    chosen: Path | int | None = None if images is None else _images(images)
    options = Options(form, quantize, out, chosen, tolerance, force)
    check_options(options)
    run = Run.find(run_reference, runs_dir)
    result = export_run(run, options, registry())
    if as_json:
        print_json(result.to_dict())
    else:
        _print(result)


def _images(text: str) -> Path | int:
    """A number that is no folder's name counts images."""
    try:
        return Path(text) if Path(text).exists() else int(text)
    except ValueError:
        return Path(text)


def _print(result: Exported) -> None:
    from zoo.core.text import RESEARCH_ONLY

    console = plain_console()
    parity = result.parity
    console.print(f"Against zoo on {parity.images:,} images ({parity.where}):")
    console.print(f"  at the network's size: {_difference(parity.prepared)}")
    console.print(f"  as they are, resized by the file: {_difference(parity.original)}")
    console.print(f"{parity.images_per_s:,.0f} images/s, one at a time, with resizing.")
    if parity.changes:
        _print_changes(console, result)
    for note in result.notes:
        console.print(note)
    console.print(f"{result.size / 1e6:,.2f} MB: {result.file}", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def _difference(found: Difference) -> str:
    decisions = f"{found.flipped:,} decision{'s' if found.flipped != 1 else ''} changed"
    return f"probabilities differ by at most {found.largest:.2g}, {found.mean:.2g} in the mean; {decisions}."


def _print_changes(console: Any, result: Exported) -> None:
    table = bare_table("AUROC", numbers=["zoo", "file", "change", "95% interval"])
    for each in result.parity.changes:
        interval = f"{each.low:+.4f} to {each.high:+.4f}"
        table.add_row(each.label or "mean", f"{each.zoo:.4f}", f"{each.file:.4f}", f"{each.change:+.4f}", interval)
    console.print(table)
