"""The section of a report on how the images came to be analysed, and what is unknown of them."""

from __future__ import annotations

import textwrap

from zoo.core.text import count_of
from zoo.report.blocks import Figure, Panels, Section, Table, Text, section
from zoo.report.figures import BOX_LINE, BOX_PADDING, box_figure
from zoo.report.material import Material
from zoo.report.sentences import SPLITS, share
from zoo.runs.flow import Count, Flow

KEY = "flow"
_WIDTH, _BOX, _EDGE, _BETWEEN, _STEP = 3.6, 1.7, 0.02, 0.12, 0.26  # inches: drawing, box, margin, gaps across and down
_REASONS = 3  # most frequent ones that are drawn
_LETTERS = 24  # of a line in the box of what was left out


def flow(material: Material) -> Section | None:
    """Images and patients from the dataset to the analysis as boxes and arrows, and missing values by label and split."""
    found = material.results.flow
    if found is None:
        return None
    return section(
        KEY,
        "Flow of images and patients" if found.used.patients is not None else "Flow of images",
        Panels(
            "From the dataset to the images that were analysed. flow-*.csv has every step, and every reason.",
            (Figure(flow_figure(found), sentence(found)),),
            narrow=True,
        ),
        Text(sentence(found)),
        missing(found),
    )


def flow_figure(found: Flow) -> str:
    """Listed, left out, used, split, analysed: one box each, from top to bottom."""
    first, aside = ["Listed in the dataset", number(found.listed, "image")], _left_out(found)
    used = ["Used", ", ".join(_counted(found.used))]
    across, third = _WIDTH - 2 * _EDGE, (_WIDTH - 2 * _EDGE - 2 * _BETWEEN) / 3
    boxes = [(_EDGE, _EDGE, _BOX, _height(first), first)]
    aside_left, aside_top, aside_height = _WIDTH - _BOX - _EDGE, _EDGE + _height(first) / 2, _height(aside)
    boxes.append((aside_left, aside_top, _BOX, aside_height, aside))
    top, middle, turn = aside_top + aside_height + _STEP, _EDGE + _BOX / 2, _EDGE + _height(first) + _BETWEEN
    arrows = [(middle, _EDGE + _height(first), middle, top), (middle, turn, aside_left, turn)]
    boxes.append((_EDGE, top, across, _height(used), used))
    start = top + _height(used)
    row = bottom = start + _STEP
    below = _WIDTH / 2
    for i, name in enumerate(SPLITS):
        if name not in found.parts:
            continue
        lines, left = [SPLITS[name].capitalize(), *_counted(found.parts[name])], _EDGE + i * (third + _BETWEEN)
        boxes.append((left, row, third, _height(lines), lines))
        arrows.append((left + third / 2, start, left + third / 2, row))
        bottom = row + _height(lines)
        if name == found.split:
            below = left + third / 2
    last = [f"Analysed ({SPLITS[found.split]})", *_counted(found.analysed), *_outcomes(found)]
    left = min(max(_EDGE, below - _BOX / 2), _WIDTH - _BOX - _EDGE)
    boxes.append((left, bottom + _STEP, _BOX, _height(last), last))
    arrows.append((below, bottom, below, bottom + _STEP))
    return box_figure((_WIDTH, bottom + _STEP + _height(last) + _EDGE), boxes, arrows)


def _height(lines: list[str]) -> float:
    return 2 * BOX_PADDING + len(lines) * BOX_LINE


def _counted(count: Count) -> list[str]:
    patients = [] if count.patients is None else [count_of(count.patients, "patient")]
    return [count_of(count.images, "image"), *patients]


def number(value: int | None, noun: str) -> str:
    """A count with its noun, or that it was not kept."""
    return "number not kept" if value is None else count_of(value, noun)


def _left_out(found: Flow) -> list[str]:
    def said(value: int | None) -> str:
        return "not kept" if value is None else f"{value:,}"

    lines = ["Left out (images)", f"set aside: {said(found.set_aside)}"]
    for each in found.reasons[:_REASONS]:
        lines += textwrap.wrap(f"– {each.images:,} {each.reason}", _LETTERS, max_lines=2, placeholder="…")
    if len(found.reasons) > _REASONS:
        lines.append(f"– {sum(each.images for each in found.reasons[_REASONS:]):,} for other reasons")
    if found.where is not None:
        lines.append(f"by the filter: {said(found.filtered_out)}")
    if found.limit is not None:
        lines.append(f"by the limit: {said(found.limited_out)}")
    return lines


def _outcomes(found: Flow) -> list[str]:
    """With and without the only label; several stand in the table."""
    rows = [each for each in found.missing if each.kind == "label" and each.split == found.split]
    if len(rows) != 1:
        return [f"{len(rows)} labels: see the table"] if rows else []
    row = rows[0]
    lines = [f"{row.positive:,} positive", f"{row.negative:,} negative"]
    return [*lines, f"{row.unknown:,} unknown"] if row.unknown else lines


def left_out(found: Flow) -> str:
    """How many images were set aside, filtered out and beyond the limit."""
    left = [f"{number(found.set_aside, 'image')} set aside"]
    if found.where is not None:
        left.append(f"{number(found.filtered_out, 'image')} left out by the filter {found.where}")
    if found.limit is not None:
        left.append(f"{number(found.limited_out, 'image')} left out by the limit of {found.limit:,}")
    return ", ".join(left)


def parts(found: Flow) -> str:
    """Images and patients of every split."""
    return "; ".join(f"{SPLITS[name]} {' of '.join(_counted(each))}" for name, each in found.parts.items())


def sentence(found: Flow) -> str:
    """The whole flow in words."""
    unknown = " The patients are unknown." if found.used.patients is None else ""
    return (
        f"Listed: {number(found.listed, 'image')}. Left out: {left_out(found)}. Used: {' of '.join(_counted(found.used))} "
        f"({parts(found)}). Analysed here: {' of '.join(_counted(found.analysed))}.{unknown}"
    )


def missing(found: Flow) -> Table | Text:
    """Known and unknown values of every label, and of age, sex and view, in each split."""
    if not any(each.unknown for each in found.missing):
        return Text("No label is unknown in any image, nor are age, sex and view where the dataset has them.")
    rows = []
    for name in dict.fromkeys(each.name for each in found.missing):
        cells: list[str] = []
        for split in found.parts:
            row = next((each for each in found.missing if each.name == name and each.split == split), None)
            if row is None:
                cells += ["–", "–"]
                continue
            filled = f", {row.filled:,} filled in" if row.filled else ""
            cells += [f"{row.known:,}", share(row.unknown, row.images) + filled]
        rows.append((name, *cells))
    columns = [f"{SPLITS[split]}, {what}" for split in found.parts for what in ("known", "unknown")]
    caption = (
        "Images where a label or another value is known or not; in brackets the share of all images of that part. Unknown labels "
        "count neither in training nor in any measure, label by label"
    )
    if any(each.filled for each in found.missing):
        caption += ", but for those that the setting uncertain filled in for training"
    return Table(f"{caption}. missing-*.csv has positives and negatives too.", ("", *columns), tuple(rows))
