"""An exploration as one page, made of the same parts as a run's report, as CSV files, and as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table as TerminalTable

from zoo.core.cells import guarded_text
from zoo.core.files import write_text
from zoo.core.text import count_of
from zoo.evaluation.p_values import ALPHA
from zoo.explore.explore import Exploration
from zoo.report.blocks import Block, Cards, Figure, Panels, Picture, Pictures, Points, Section, Table, Text, section
from zoo.report.figures import distribution_figure, matrix_figure
from zoo.report.images import pixels_uri
from zoo.report.page import render_sections
from zoo.report.sentences import SPLITS, p_text
from zoo.report.tables import terminal

PAGE = "exploration.html"
_ROWS = 40  # of a table of images; the CSV files have them all
_MATRIX = 30  # findings that a drawing can name
_TESTS = 12  # associations on the terminal


def write_page(found: Exploration, folder: Path, *, pictures: bool = True) -> Path:
    """Write `exploration.html` into the folder and return its path.

    Args:
        found: what is shown.
        folder: made where it is missing.
        pictures: whether images stand in the page; without them it may be shared where the images may not.
    """
    path = folder / PAGE
    write_text(path, render(found, pictures=pictures))
    return path


def render(found: Exploration, *, pictures: bool = True) -> str:
    """The page as text; equal explorations give equal pages."""
    parts = [
        _summary(found),
        _labels(found),
        _together(found),
        _people(found),
        _tests(found),
        _pixels(found),
        _images(found) if pictures else None,
        _missing(found),
    ]
    remarks = [f"All random draws use seed {found.seed}."]
    if pictures and found.thumbnails:
        remarks.insert(0, "This page holds images of the dataset: pass it on only where the images may be passed on.")
    return render_sections(f"{found.name}: exploration", [each for each in parts if each is not None], remarks)


def _summary(found: Exploration) -> Section | None:
    figures = found.summary()
    looked = figures["images_looked_at"]
    patients = figures["patients"]
    split = figures["split"]
    cards = (
        ("images", f"{len(found.table):,}", f"{looked:,} of them read" if looked else "tables only, no image was read"),
        ("patients", "unknown" if patients is None else f"{patients:,}", _per_patient(found)),
        ("split", " / ".join(f"{split[n]:,}" for n in SPLITS), f"training / validation / test, {_drawn(found)}"),
        ("identical images", f"{len(found.copies):,}" if looked else "not known", "equal pixel for pixel to another"),
    )
    return section("summary", "Summary", Cards(cards), Points(found.notes) if found.notes else None)


def _per_patient(found: Exploration) -> str:
    if not found.patients_known:
        return "each image counts as a patient of its own"
    counts = found.table["patient"].value_counts()
    return f"{counts.mean():.1f} images each, at most {counts.max():,}"


def _drawn(found: Exploration) -> str:
    missing = "validation drawn" if found.official_split else "drawn by patient"
    return f"{missing} with seed {found.seed} for the {found.task} task, as zoo train does"


def _labels(found: Exploration) -> Section | None:
    return section("labels", "Findings", _labels_table(found))


def _labels_table(found: Exploration) -> Table:
    rows = tuple(
        (
            str(row["label"]),
            f"{row['images']:,}",
            f"{row['patients']:,}",
            *map(_percent, (row["share"], *(row[f"{s}_share"] for s in SPLITS))),
        )
        for row in found.labels.to_dict("records")
    )
    caption = "Images with each finding, and its prevalence in all images where it is known and in each split."
    return Table(caption, ("finding", "images", "patients", "share", *SPLITS.values()), rows)


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f}%"


def _together(found: Exploration) -> Section | None:
    counts = found.together
    if len(counts) < 2:
        return None
    names = [str(name) for name in counts.columns]
    rows = tuple((name, *(f"{n:,}" for n in counts.loc[name])) for name in names)
    blocks: list[Block] = []
    if len(names) <= _MATRIX:
        values = counts.to_numpy(dtype=float)
        shares = values / np.maximum(np.diag(values), 1)[:, None]
        np.fill_diagonal(shares, 0)
        label = "A square of findings against findings; the table below has the counts."
        drawing = matrix_figure(shares, names, "also have (%)")
        caption = "Of the images with the finding on the left, how many in a hundred have the one below too."
        blocks.append(Panels(caption, (Figure(drawing, label),), large=True))
    blocks.append(Table("Images with both findings; on the diagonal, with the one.", ("", *names), rows, folded=True))
    return section("together", "Findings together", blocks)


_HEADS = {
    "age_median": ("median age", "{:.0f}"),
    "age_q25": ("age 25%", "{:.0f}"),
    "age_q75": ("age 75%", "{:.0f}"),
    "female": ("women", "{:.1%}"),
    "follow_up_median": ("median follow-up", "{:.0f}"),
}


def _people(found: Exploration) -> Section | None:
    columns = [c for c in found.people if c not in ("split", "images", "patients")]
    if not columns:
        return None
    heads, rows = [], []
    for column in columns:
        heads.append(_HEADS[column][0] if column in _HEADS else str(column).removeprefix("view_"))
    for row in found.people.to_dict("records"):
        cells = [_cell(row[c], _HEADS[c][1] if c in _HEADS else "{:.1%}") for c in columns]
        name = SPLITS.get(str(row["split"]), str(row["split"]))
        rows.append((name, f"{row['images']:,}", f"{row['patients']:,}", *cells))
    caption = "Who is on the images of each split: shares are of the images where the value is known."
    return section("people", "People and views", Table(caption, ("split", "images", "patients", *heads), tuple(rows)))


def _cell(value: Any, form: str) -> str:
    return "–" if value is None or math.isnan(value) else form.format(value)


def _tests(found: Exploration) -> Section | None:
    tests = found.tests
    if tests.empty:
        return None
    clear = int((tests["p_holm"] < ALPHA).sum())
    unit = (
        "one image of each patient, drawn at random"
        if found.patients_known
        else "all images, whose patients are not known"
    )
    text = (
        f"{clear} of {len(tests)} tests find an association at the level {ALPHA:g} after Holm's correction. They use {unit} "
        f"({count_of(found.tested, 'image')}), since images of one patient are not independent. An association means that a "
        "network could rely on age, sex or view in place of the finding; it does not mean that one does."
    )
    return section("tests", "Who has which finding", Text(text), _tests_table(tests))


def _tests_table(tests: pd.DataFrame) -> Table:
    rows = tuple(
        (
            str(row["finding"]),
            str(row["variable"]).replace("_", "-"),
            f"{row['value']:+.2f}" if row["effect"] == "rank-biserial" else f"{row['value']:.2f}",
            str(row["effect"]),
            p_text(row["p"]),
            p_text(row["p_holm"]),
            f"{row['detail']}{' (few images)' if row['few'] else ''}",
        )
        for row in tests.to_dict("records")
    )
    columns = ("finding", "against", "effect", "measure", "p", "p (Holm)", "what differs")
    caption = (
        "Associations, the clearest first: chi-square with Cramér's V for sex and view, Mann-Whitney with the rank-biserial "
        "correlation for age and follow-up (positive: higher with the finding). In italics: too few images to rely on p."
    )
    return Table(caption, columns, rows, marked=frozenset(i for i, few in enumerate(tests["few"]) if few))


def _pixels(found: Exploration) -> Section | None:
    measured = found.intensities
    if measured is None or not len(measured.rows):
        return None
    labels = found.table[list(found.names)]
    figures = []
    for name, chosen in measured.groups(labels).items():
        lines = {"raw": measured.raw[chosen].mean(axis=0), "prepared": measured.prepared[chosen].mean(axis=0)}
        title = "all images" if name == "all" else name
        label = f"Distribution of gray values of {title}, raw and prepared; the table below has its quartiles."
        drawing = distribution_figure(lines, title, "gray value", "% of pixels")
        figures.append(Figure(drawing, label, count_of(int(chosen.sum()), "image")))
    rows = tuple(
        (
            str(row["images"]),
            str(row["kind"]),
            f"{row['n']:,}",
            *(f"{row[c]:.0f}" for c in ("mean", "sd", "q25", "q50", "q75")),
        )
        for row in measured.table(labels).to_dict("records")
    )
    caption = (
        f"Gray values of a sample of {count_of(len(measured.rows), 'image')} (seed {measured.seed}), each image counting the "
        "same. Raw: the original files at their own size, in 8 bits. Prepared: padded with black to a square of "
        f"{found.size}×{found.size} pixels."
    )
    columns = ("images", "", "sample", "mean", "sd", "25%", "median", "75%")
    return section(
        "pixels", "Gray values", Panels(caption, tuple(figures)), Table("In figures.", columns, rows, folded=True)
    )


def _images(found: Exploration) -> Section | None:
    blocks: list[Block] = []
    for name, rows in found.examples.items():
        pictures = tuple(
            Picture(pixels_uri(found.thumbnails[int(row)]), f"An image with {name}", _lines(found, int(row)))
            for row in rows
        )
        blocks.append(Pictures(name, pictures))
    return (
        section("images", "Example images", Text("Drawn at random, of different patients."), blocks) if blocks else None
    )


def _lines(found: Exploration, row: int) -> tuple[str, ...]:
    image = found.table.iloc[row].to_dict()
    parts = [str(image[c]) for c in ("sex", "view") if c in image and isinstance(image[c], str)]
    if "age" in image and not math.isnan(image["age"]):
        parts.insert(0, f"{image['age']:.0f} years")
    has = [name for name in found.names if image[name] == 1]
    return str(image["image"]), ", ".join(parts), ", ".join(has) or (found.normal or "no finding")


def _missing(found: Exploration) -> Section | None:
    rows = tuple(
        (str(r["column"]), f"{r['missing']:,}", _percent(r["share"])) for r in found.missing.to_dict("records")
    )
    blocks: list[Block] = [Table("Empty or unknown values in each column.", ("column", "missing", "share"), rows)]
    if len(found.problems):
        counts = found.problems["kind"].value_counts()
        blocks.append(Text("; ".join(f"{count_of(int(n), 'image')}: {kind}" for kind, n in counts.items()), "bad"))
        shown = found.problems.head(_ROWS)
        more = f" (the first {_ROWS} of {len(found.problems):,})" if len(found.problems) > _ROWS else ""
        faults = tuple((str(r["image"]), str(r["kind"]), str(r["detail"])) for r in shown.to_dict("records"))
        blocks.append(Table(f"Images that are missing or faulty{more}.", ("image", "what", "why"), faults, folded=True))
    elif found.size is not None:
        blocks.append(Text("Every image is there and can be read.", "good"))
    if len(found.copies):
        shown = found.copies.head(_ROWS)
        more = f" (the first {_ROWS} of {len(found.copies):,})" if len(found.copies) > _ROWS else ""
        lines = tuple(
            (str(r["image"]), str(r["group"]), str(r["patient"]), str(r["split"])) for r in shown.to_dict("records")
        )
        columns = ("image", "group", "patient", "split")
        blocks.append(Table(f"Images that are equal pixel for pixel{more}.", columns, lines, folded=True))
        blocks.append(Text("zoo data audit shows which of them are in two splits, and finds near-duplicates.", "note"))
    return section("missing", "Missing, faulty and identical", blocks)


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
        write_text(folder / f"{name}.csv", guarded_text(table))
    return [f"{name}.csv" for name in tables]


def labels_table(found: Exploration) -> TerminalTable:
    """Images with each finding, their share, and prevalence split by split."""
    patients = f", {count_of(found.table['patient'].nunique(), 'patient')}" if found.patients_known else ""
    title = f"{found.name}: {count_of(len(found.table), 'image')}{patients}"
    columns = {"finding": "finding", "images": "images", "share": "share", **{SPLITS[name]: name for name in SPLITS}}
    return terminal(_labels_table(found), title, columns, gap=1)


def tests_table(found: Exploration) -> TerminalTable | None:
    """The clearest associations; None where there are none."""
    clear = found.tests[found.tests["p_holm"] < ALPHA]
    if clear.empty:
        return None
    unit = "one per patient" if found.patients_known else "patients unknown"
    shown = f"the {_TESTS} clearest of {len(clear)}" if len(clear) > _TESTS else f"{len(clear)}"
    title = f"Associations: {shown} in {len(found.tests)} tests, {count_of(found.tested, 'image')}, {unit}"
    columns = {name: name for name in ("finding", "against", "effect", "p (Holm)", "what differs")}
    table = terminal(_tests_table(clear.head(_TESTS)), title, columns, gap=1)
    table.columns[1].justify = "left"
    last = table.columns[-1]
    last.justify, last.no_wrap, last.overflow, last.min_width = "left", False, "fold", 24
    return table


def lines(found: Exploration) -> Iterator[str]:
    """What is missing, faulty or identical."""
    empty = found.missing[(found.missing["missing"] > 0) & ~found.missing["column"].isin(found.names)]
    if len(empty):
        yield "Empty cells: " + ", ".join(f"{r['missing']:,} of {r['column']}" for r in empty.to_dict("records"))
    unknown = int(found.missing.loc[found.missing["column"].isin(found.names), "missing"].sum())
    if unknown:
        yield f"Unknown labels: {unknown:,}"
    for kind, count in found.problems["kind"].value_counts().items():
        yield f"{count_of(count, 'image')}: {kind}"
    if found.size is None:
        yield "No image was read: gray values, examples and identical images are left out."
        return
    groups = found.copies["group"].nunique()
    yield f"Identical images: {len(found.copies):,}" + (f" in {count_of(groups, 'group')}" if groups else "")
    if found.intensities is not None:
        rows = found.intensities.table(found.table[[]]).to_dict("records")
        values = ", ".join(f"{r['kind']} mean {r['mean']:.0f} sd {r['sd']:.0f}" for r in rows)
        yield f"Gray values of {len(found.intensities.rows):,} images: {values}"
