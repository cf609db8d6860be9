"""An exploration as CSV files and as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.core.files import write_text
from zoo.explore.association import LEVEL
from zoo.explore.explore import Exploration
from zoo.report.exploration_page import p_text

if TYPE_CHECKING:
    from rich.table import Table

_TESTS = 12  # associations on the terminal
_SPLITS = ("train", "val", "test")


def write_tables(found: Exploration, folder: Path) -> list[str]:
    """Write every table as CSV into the folder; returns the names of the files."""
    tables = {
        "labels": found.labels,
        "together": found.together.rename_axis("finding").reset_index(),
        "people": found.people,
        "associations": found.tests,
        "missing": found.missing,
        "problems": found.problems,
        "identical": found.copies,
    }
    if found.intensities is not None:
        tables["intensities"] = found.intensities.table(found.table[list(found.names)])
    for name, table in tables.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    return [f"{name}.csv" for name in tables]


def labels_table(found: Exploration) -> Table:
    """Images with each finding, their share, and prevalence split by split."""
    from rich.text import Text

    from zoo.report.tables import plain_table

    patients = f", {found.table['patient'].nunique():,} patients" if found.patients_known else ""
    table = plain_table(f"{found.name}: {len(found.table):,} images{patients}", padding=(0, 1, 0, 0))
    table.add_column("finding", overflow="fold")
    for name in ("images", "share", *_SPLITS):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.labels.to_dict("records"):
        shares = [row["share"], *(row[f"{split}_share"] for split in _SPLITS)]
        cells = ["–" if share != share else f"{share:.1%}" for share in shares]  # NaN where a split is empty
        table.add_row(Text(str(row["label"])), f"{row['images']:,}", *cells)
    return table


def tests_table(found: Exploration) -> Table | None:
    """The clearest associations; None where there are none."""
    from rich.text import Text

    from zoo.report.tables import plain_table

    clear = found.tests[found.tests["p_holm"] < LEVEL]
    if clear.empty:
        return None
    unit = "one per patient" if found.patients_known else "patients unknown"
    shown = f"the {_TESTS} clearest of {len(clear)}" if len(clear) > _TESTS else f"{len(clear)}"
    title = f"Associations: {shown} in {len(found.tests)} tests, {found.tested:,} images, {unit}"
    table = plain_table(title, padding=(0, 1, 0, 0))
    table.add_column("finding", overflow="fold")
    table.add_column("against", no_wrap=True)
    table.add_column("effect", justify="right", no_wrap=True)
    table.add_column("p (Holm)", justify="right", no_wrap=True)
    table.add_column("what differs", overflow="fold", min_width=24)
    for row in clear.head(_TESTS).to_dict("records"):
        effect = f"{row['value']:+.2f}" if row["effect"] == "rank-biserial" else f"{row['value']:.2f}"
        detail = f"{row['detail']}{' (few images)' if row['few'] else ''}"
        table.add_row(Text(str(row["finding"])), row["variable"], effect, p_text(row["p_holm"]), Text(detail))
    return table


def lines(found: Exploration) -> Iterator[str]:
    """What is missing, faulty or identical, in a few sentences."""
    empty = found.missing[(found.missing["missing"] > 0) & ~found.missing["column"].isin(found.names)]
    if len(empty):
        yield "Empty cells: " + ", ".join(f"{r['missing']:,} of {r['column']}" for r in empty.to_dict("records"))
    unknown = int(found.missing.loc[found.missing["column"].isin(found.names), "missing"].sum())
    if unknown:
        yield f"Unknown labels: {unknown:,}"
    for kind, count in found.problems["kind"].value_counts().items():
        yield f"{count:,} images: {kind}"
    if found.size is None:
        yield "No image was read: gray values, examples and identical images are left out."
        return
    groups = found.copies["group"].nunique()
    yield f"Identical images: {len(found.copies):,}" + (f" in {groups:,} group{'s' * (groups > 1)}" if groups else "")
    if found.intensities is not None:
        rows = found.intensities.table(found.table[[]]).to_dict("records")
        values = ", ".join(f"{r['kind']} mean {r['mean']:.0f} sd {r['sd']:.0f}" for r in rows)
        yield f"Gray values of {len(found.intensities.rows):,} images: {values}"
