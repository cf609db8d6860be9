"""`zoo plan`: how many images and patients an evaluation needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from zoo.cli.options import AS_JSON
from zoo.cli.printing import bare_table, plain_console, print_json

if TYPE_CHECKING:
    from zoo.evaluation.planning import Plan

_NAMES = {
    "auroc": "AUROC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "observed_expected": "observed / expected",
    "slope": "calibration slope",
}


@click.command()
@click.option("--prevalence", type=float, required=True, metavar="P", help="Expected share of images with the label.")
@click.option("--auroc", type=float, required=True, metavar="A", help="Expected AUROC.")
@click.option("--sensitivity", type=float, metavar="S", help="Expected sensitivity; left out without it.")
@click.option("--specificity", type=float, metavar="S", help="Expected specificity; left out without it.")
@click.option(
    "--width",
    type=float,
    default=0.1,
    show_default=True,
    metavar="W",
    help="Wanted width, end to end, of the intervals of AUROC, sensitivity and specificity.",
)
@click.option(
    "--calibration-width",
    type=float,
    default=0.2,
    show_default=True,
    metavar="W",
    help="Wanted width of the intervals of calibration slope and observed / expected.",
)
@click.option(
    "--images-per-patient",
    type=float,
    default=1.0,
    show_default=True,
    metavar="M",
    help="Images of a patient, on average.",
)
@click.option(
    "--correlation",
    type=float,
    default=1.0,
    show_default=True,
    metavar="R",
    help="Correlation of the images of one patient, 0 to 1; 1 is on the safe side.",
)
@click.option("--level", type=float, default=0.95, show_default=True, metavar="L", help="Level of the intervals.")
@AS_JSON
def plan(as_json: bool, **values: float) -> None:
    """Plan an evaluation: how many images and patients it needs.

    They are as many as give intervals as narrow as wanted.

    \b
    zoo plan --prevalence 0.08 --auroc 0.85
    zoo plan --prevalence 0.08 --auroc 0.85 --sensitivity 0.9 --width 0.05 --images-per-patient 3
    """
    from zoo.evaluation import planning

    found = planning.plan(**values)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Plan) -> None:
    from zoo.core.text import count_of

    table = bare_table("", numbers=("expected", "width", "images", "patients", "positive"))
    for each in found.requirements:
        counts = (f"{count:,}" for count in (each.images, each.patients, each.positives))
        table.add_row(_NAMES[each.measure], f"{each.expected:g}", f"{each.width:g}", *counts)
    console, most = plain_console(), found.decisive
    console.print(
        f"Images for {100 * found.level:g}% intervals of this width, at a prevalence of {found.prevalence:g}:"
    )
    console.print(table)
    console.print(
        f"All of these need {count_of(most.images, 'image')} of {count_of(most.patients, 'patient')}, {most.positives:,} "
        f"positive: {_NAMES[most.measure]} needs most."
    )
    if found.images_per_patient > 1:
        console.print(
            f"With {found.images_per_patient:g} images per patient that correlate by {found.correlation:g}, "
            f"{found.design_effect:.3g} images say as much as one of each patient would."
        )
