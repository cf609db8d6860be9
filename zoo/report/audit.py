"""The issues an audit found, as tables and sentences for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from zoo.core.text import count_of
from zoo.data.audit import checks
from zoo.report.cells import cell
from zoo.report.tables import new_table

if TYPE_CHECKING:
    from zoo.data.audit.audit import Audit
    from zoo.data.audit.fix import Fixed

_REASONS = 8


def sides_table(found: Audit) -> Table:
    """Images and patients of each dataset and each part of it."""
    table = new_table("Images and patients", "dataset", "part", "images", "patients", words=2, gap=1)
    for name, own in found.summary()["datasets"].items():
        for part, counts in own["splits"].items():
            patients = "unknown" if counts["patients"] is None else f"{counts['patients']:,}"
            table.add_row(cell(name), part, f"{counts['images']:,}", patients)
    return table


def issues_table(found: Audit) -> Table:
    """How many issues of each kind, with an example."""
    table = new_table("Found", "", "what", "number", gap=1, words=2)
    table.columns[0].no_wrap, table.columns[1].min_width, table.columns[1].max_width = True, 20, 31
    table.add_column("for example", overflow="fold")
    for (weight, kind), own in found.issues.groupby(["weight", "kind"], sort=False):
        table.add_row(str(weight), cell(str(kind)), f"{len(own):,}", cell(_example(own.iloc[0])))
    return table


def _example(row: object) -> str:
    image, other, detail = (str(getattr(row, name)) for name in ("image", "other_image", "detail"))
    kind = str(getattr(row, "kind", ""))
    if kind in (checks.PATIENT, checks.SHARED_PATIENT, checks.TWO_SEXES):
        return f"{getattr(row, 'patient', '')}: {detail}"
    side, other_side = str(getattr(row, "split", "")), str(getattr(row, "other_split", ""))
    parts = " ".join(part for part in (image, f"({side})" if side else "") if part)
    if other:
        parts += " = " + " ".join(part for part in (other, f"({other_side})" if other_side else "") if part)
    return f"{parts}: {detail}" if detail else parts


def conclusion(found: Audit) -> Iterator[str]:
    """What the issues mean."""
    if found.proposed is not None:
        yield (
            f"Near-duplicates: {found.proposed:,} pairs of images have hashes within {found.threshold} of 256 bits, "
            f"{len(found.pairs):,} of them correlate by {found.correlation:g} or more (identical images included)."
        )
    unknown = [name for name in found.images["dataset"].unique() if name not in found.known]
    if unknown:
        yield f"Patients unknown in {', '.join(unknown)}: leaks by patient cannot be checked there."
    if (found.issues["kind"] == checks.SHARED_PATIENT).any():
        yield "Patients of two datasets are compared by their identifiers, which may coincide between hospitals by chance."
    risks = int((found.issues["weight"] == checks.RISK).sum())
    if found.leaks:
        yield (
            f"NOT CLEAN: {count_of(found.leaks, 'leak')}. Results on such a split are too good. --fix FILE.csv writes a table "
            "without them."
        )
    elif found.patients_known:
        yield "Clean: no patient and no image is in two splits."
    else:
        yield "No image is in two splits. Whether a patient is cannot be told."
    if risks:
        yield f"{risks:,} pairs may become leaks where a split is drawn by patient; --fix keeps one image of each."


def fixed_lines(fixed: Fixed, patients_known: bool) -> Iterator[str]:
    """What --fix wrote and removed, and whether the result is clean."""
    yield f"Fixed table: {fixed.table} ({fixed.kept:,} images kept)"
    yield f"Left out: {len(fixed.removed):,} images, with the reasons in {fixed.removed_table}"
    reasons = fixed.removed["reason"].str.split(":").str[0].value_counts()
    for reason, count in reasons.iloc[:_REASONS].items():
        yield f"  {count:>7,}  {reason}"
    if len(fixed.left):
        yield f"Audited again: {len(fixed.left):,} issues are left, of test images that another dataset has too."
    else:
        yield f"Audited again: {'no patient and no image' if patients_known else 'no image'} is in two splits."
    yield "Train on it:"
    yield f"  {fixed.command}"
