"""A run's report: one page that opens from disk, on a phone, on paper, and without a network."""

from __future__ import annotations

import dataclasses
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.files import write_text
from zoo.core.text import RESEARCH_ONLY
from zoo.evaluation.interval import short
from zoo.report import cases, checklist_values, fairness, flow, sections, utility
from zoo.report import results as measured
from zoo.report.blocks import Section, Table
from zoo.report.material import Material
from zoo.report.sentences import shown, split_name, unit

if TYPE_CHECKING:
    from jinja2 import Environment

    from zoo.runs.results import Results
    from zoo.runs.run import Run

PAGE = "report.html"
PARTS = (
    sections.summary,
    flow.flow,
    sections.data,
    sections.training,
    measured.metrics,
    measured.curves,
    measured.calibration,
    measured.operating,
    utility.utility,
    utility.fit,
    utility.uncertainty,
    measured.confusion,
    measured.subgroups,
    fairness.fairness,
    measured.baselines,
    measured.reference,
    cases.mistakes,
    cases.explanations,
    sections.repeat,
)


def write_report(run: Run, results: Results, target: Path, *, pictures: bool = True) -> Path:
    """Write `report.html` of a run into the folder `target`, whole or not at all, and return its path; and the checklists in
    it as `checklists.json` and `checklists.csv`.

    Args:
        run: the run, whose predictions, metrics, images and explanations are shown as far as they exist.
        results: what was measured on it.
        target: a folder; made where it is missing.
        pictures: whether images stand in the page; without them it may be shared where the images may not.

    Raises:
        ZooError: run.json or the predictions cannot be read.
    """
    path = target / PAGE
    material = Material.of(run, results, pictures)
    write_text(path, render(material))
    checklist_values.write(material, target)
    return path


def render(material: Material) -> str:
    """The page as text. Equal runs and results give equal pages."""
    first, *parts = [found for part in PARTS if (found := part(material)) is not None]
    parts.append(checklist_values.checklists(material, {each.key: each.title for each in (first, *parts)}))
    return page(material, [first, *(dataclasses.replace(each, folded=True) for each in parts)])


def page(material: Material, parts: list[Section]) -> str:
    """Put sections into the page."""
    evaluation = material.results.evaluation
    remarks = []
    if material.pictures:
        remarks.append("This page holds images of the dataset: pass it on only where the images may be passed on.")
    remarks.append(
        f"Intervals are {100 * evaluation.level:.0f}% intervals over {unit(evaluation.patients_known)}. Those of calibration are "
        f"percentiles of {evaluation.replicates:,} resamples (seed {evaluation.seed}), the bands of curves of 500."
    )
    return render_sections(f"{material.results.run}: {split_name(evaluation.split)} report", parts, remarks)


def render_sections(title: str, parts: list[Section], remarks: list[str]) -> str:
    """A page of sections under a title, with remarks at its foot."""
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=title,
            style=(resources.files("zoo.report") / "templates" / "style.css").read_text(encoding="utf-8"),
            research_only=RESEARCH_ONLY,
            sections=parts,
            remarks=remarks,
        )
    )


def environment(**options: Any) -> Environment:
    """jinja2 over the package's templates; everything that is filled in is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    def read(name: str) -> str:
        return (resources.files("zoo.report") / "templates" / name).read_text(encoding="utf-8")

    found = Environment(
        loader=FunctionLoader(read),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        **options,
    )
    found.filters |= {"texts": _text_columns, "shown": shown, "number": short}
    return found


def _text_columns(table: Table) -> set[int]:
    """The columns that hold text, which stand to the left; numbers stand to the right."""
    return {
        i for i in range(len(table.columns)) if any(row[i][:1].isalpha() and row[i][:3] != "inf" for row in table.rows)
    }
