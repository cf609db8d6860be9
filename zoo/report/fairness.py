"""The section of a report on who is missed, or alarmed, more often than others."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.core.text import count_of, listed
from zoo.evaluation.fairness import Fairness
from zoo.evaluation.subgroups import MACRO
from zoo.report.blocks import Intervals, Section, Table, Text, section
from zoo.report.material import Material
from zoo.report.sentences import shown

_KINDS = {"under_diagnosis": "under-diagnosis", "over_diagnosis": "over-diagnosis"}
_SHOWN = 5  # clear gaps that are spelled out


def fairness(material: Material) -> Section | None:
    """Gaps in under- and over-diagnosis by group of patients and by sex and age together."""
    rows = material.results.sheet.fairness
    first = overall(rows)
    if not first:
        return None
    charts = []
    for kind, name in _KINDS.items():
        gaps = [(_name(row), getattr(row, kind).gap, "" if getattr(row, kind).examined else "small") for row in first]
        caption = (
            f"{name[0].upper()}{name[1:]} of each group minus that of all other images, with 95% intervals, each on its own: to "
            "the right of the dashed line the group is at a disadvantage."
        )
        charts.append(Intervals(caption, tuple(gaps), 0.0))
    hollow = "Hollow points were not examined: too few images, or the better side of two groups."
    return section(
        "fairness",
        "Fairness",
        Text(sentence(rows)),
        charts,
        Text(hollow),
        table(first, material.results.evaluation.patients_known),
    )


def overall(rows: Sequence[Fairness]) -> list[Fairness]:
    """The means over labels, or the rows of the only finding."""
    return [row for row in rows if row.label == MACRO] or [row for row in rows if row.label == rows[0].label]


def table(rows: Sequence[Fairness], patients: bool = True) -> Table:
    """Rates and gaps of every group, those with a clear gap marked."""
    cells = tuple(
        (
            _name(row),
            *(f"{count:,}" for count in (row.images, *((row.patients,) if patients else ()))),
            *(shown(each) for kind in _KINDS for each in (getattr(row, kind).value, getattr(row, kind).gap)),
        )
        for row in rows
    )
    mean = ", means over the findings" if rows[0].label == MACRO else ""
    caption = (
        f"Under-diagnosis (findings missed) and over-diagnosis (findings where there are none) by group{mean}. A gap is to all "
        "other images. fairness-*.csv has every label. Rows in italics have a clear gap."
    )
    rates = ("under-diagnosis", "gap, under", "over-diagnosis", "gap, over")
    names = ("group", "images", *(("patients",) if patients else ()), *rates)
    clear = frozenset(i for i, row in enumerate(rows) if any(getattr(row, kind).clear for kind in _KINDS))
    return Table(caption, names, cells, marked=clear)


def sentence(rows: Sequence[Fairness]) -> str:
    """The clear gaps, and how many were looked at."""
    examined = sum(getattr(row, kind).examined for row in rows for kind in _KINDS)
    if not examined:
        return "No group has enough images to examine who is missed or alarmed more often."
    clear = [
        (abs(rate.gap.value), f"{_name(row)}, {name}{'' if row.label == MACRO else f' of {row.label}'} {rate.gap}")
        for row in rows
        for kind, name in _KINDS.items()
        if (rate := getattr(row, kind)).clear
    ]
    how = (
        f"{count_of(examined, 'gap in under- and over-diagnosis was', 'gaps in under- and over-diagnosis were')} examined, "
        "corrected by the method of Holm"
    )
    if not clear:
        return f"{how}: none is clear. With few images in a group that is no proof of fairness."
    clear.sort(key=lambda each: -each[0])
    return f"{how}: {len(clear)} clear, such as {listed([text for _, text in clear[:_SHOWN]])}."


def _name(row: Fairness) -> str:
    return f"{row.column} {row.group}"
