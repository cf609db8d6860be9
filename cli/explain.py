"""`zoo explain`: where in an image the network's answer comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.options import AS_JSON, DEVICE, PATH, RUNS_DIR, command
from zoo.cli.printing import bare_table, plain_console, print_json

if TYPE_CHECKING:
    from zoo.explain.explain import Explanation
    from zoo.explain.localisation import Localisation


@command()
@click.argument("run_reference", metavar="RUN")
@click.argument("files", metavar="[IMAGE]...", nargs=-1, type=PATH)
@click.option("--split", type=click.Choice(["train", "val", "test"]), help="Explain images of the run's own dataset.")
@click.option("--boxes", is_flag=True, help="Score the maps of all images with boxes [--split: test].")
@click.option(
    "--method",
    type=click.Choice(["gradcam", "gradcam++", "occlusion"]),
    default="gradcam",
    show_default=True,
    help="How the maps are made.",
)
@click.option("--label", "labels", multiple=True, metavar="NAME", help="Explain this label; may be repeated.")
@click.option("--layer", metavar="NAME", help="Layer that Grad-CAM reads [default: the last spatial layer].")
@click.option(
    "--patch", type=click.IntRange(1), metavar="PX", help="Side of an occluding patch [default: 1/8 of an image]."
)
@click.option("--stride", type=click.IntRange(1), metavar="PX", help="Step between patches [default: half a patch].")
@click.option(
    "--limit",
    type=click.IntRange(0),
    default=24,
    show_default=True,
    metavar="N",
    help="Draw at most N pictures; scores use all images.",
)
@click.option(
    "--sanity/--no-sanity",
    default=None,
    help="Compare with maps of the network with random weights [default: with --boxes].",
)
@click.option("--out", type=PATH, metavar="DIR", help="Where to write [default: explanations/ in the run].")
@RUNS_DIR
@DEVICE
@AS_JSON
@click.pass_context
def explain(
    context: click.Context,
    run_reference: str,
    files: tuple[Path, ...],
    split: str | None,
    boxes: bool,
    out: Path | None,
    runs_dir: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Draw heat maps that show which parts of an image a run's predictions come from.

    Explains image files, or with --split images of the run's own dataset; --boxes scores the maps against radiologists' boxes.
    Writes one picture per image and finding and index.json.

    \b
    zoo explain RUN image.png --label Effusion
    zoo explain RUN --split test --boxes            (all images with boxes, scored)
    zoo explain RUN --split test                    (some images that have a finding)
    """
    from zoo.core.registry import registry
    from zoo.explain.explain import Options, check_request, explain_files, explain_split
    from zoo.runs.run import Run

    check_request(files, split, boxes)
    run = Run.find(run_reference, runs_dir)

    if files:
        result = explain_files(run, files, Options(**options), out)
    else:
        result = explain_split(run, split or "test", boxes, Options(**options), registry(), out)
    if as_json:
        print_json({"folder": str(result.folder), **result.to_dict()})
    else:
        _print(result)
    if result.skipped:
        context.exit(1)


def _print(result: Explanation) -> None:
    from zoo.core.text import RESEARCH_ONLY

    console = plain_console()
    if result.localisation is not None:
        _print_localisation(console, result.localisation)
    elif result.images:
        _print_images(console, result)
    for line in (result.localisation.notes if result.localisation else ()) + result.notes:
        console.print(line)
    if result.sanity is not None:
        console.print(result.sanity.sentence)
    count = len(result.images)
    console.print(f"{count} picture{'s' if count != 1 else ''} and index.json: {result.folder}", soft_wrap=True)
    console.print(RESEARCH_ONLY)


def _print_images(console: Any, result: Explanation) -> None:
    from zoo.evaluation.interval import short

    table = bare_table("image", "label", "reference", numbers=["probability"])
    reference = {None: "", 1: "present", 0: "absent"}
    for each in result.images:
        table.add_row(Path(each.image).name, each.label, reference[each.reference], short(each.probability))
    console.print(table)


def _print_localisation(console: Any, found: Localisation) -> None:
    from zoo.evaluation.interval import short
    from zoo.report.cells import cell

    middle = f"{found.thresholds[len(found.thresholds) // 2]:g}"
    console.print("Maps against boxes. In each cell: the maps, a blob in the centre, smooth noise.")
    titles = ["images", "boxes", "pointing game", "energy inside", f"IoU at {middle.lstrip('0')}"]
    table = bare_table("finding", numbers=titles)
    labels = list(dict.fromkeys(row.label for row in found.rows))
    for number, label in enumerate(labels):
        rows = [row for row in found.rows if row.label == label]
        cells = (
            [r.pointing.value for r in rows],
            [r.energy.value for r in rows],
            [r.iou[middle].value for r in rows],
        )
        shown = [" ".join(f"{short(value):>4}" for value in each) for each in cells]
        table.add_row(
            cell(label), str(rows[0].images), str(rows[0].boxes), *shown, end_section=number == len(labels) - 2
        )
    console.print(table)
    own = found.rows[-len({row.method for row in found.rows})]
    console.print(f"Over all: pointing game {own.pointing}, energy {own.energy}, IoU {own.iou[middle]}.")
