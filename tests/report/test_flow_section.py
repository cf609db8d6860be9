"""The section on the flow of images says what the facts say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from reportable import BINARY, SEVERAL, make_results, make_run

from zoo.report.blocks import Panels, Table, Text
from zoo.report.flow import flow
from zoo.report.material import Material
from zoo.runs.flow import Reason
from zoo.runs.results import Results
from zoo.runs.run import Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Results]:
    run = make_run(tmp_path_factory.mktemp("made"), SEVERAL, explained=False, pixels=False)
    return run, make_results(run)


def changed(made: tuple[Run, Results], **values: object) -> Material:
    run, found = made
    assert found.flow is not None
    return Material.of(run, dataclasses.replace(found, flow=dataclasses.replace(found.flow, **values)))


def test_the_figure_names_every_count(made: tuple[Run, Results]) -> None:
    reasons = tuple(Reason(f"reason {i}", 10 - i) for i in range(5))
    shown = flow(changed(made, set_aside=40, reasons=reasons, listed=2400, where="age >= 18", filtered_out=2000))
    assert shown is not None
    panel, text, _ = shown.blocks
    assert isinstance(panel, Panels)
    assert isinstance(text, Text)
    figure = panel.figures[0]
    facts = made[1].flow
    assert facts is not None
    for count in ("2,400", "set aside: 40", "– 10 reason 0", "– 13 for other reasons", "filter: 2,000"):
        assert count in figure.svg
    for part in (*facts.parts.values(), facts.analysed):
        assert f"{part.images:,} images" in figure.svg
        assert f"{part.patients:,} patients" in figure.svg
        assert f"{part.images:,} images of {part.patients:,} patients" in text.text
    assert figure.label == text.text
    assert "2,000 images left out by the filter age >= 18" in text.text


def test_unknown_labels_are_counted_in_each_split(made: tuple[Run, Results]) -> None:
    facts = made[1].flow
    assert facts is not None
    rows = tuple(
        dataclasses.replace(each, known=each.known - 12, unknown=12, filled=7 if each.split == "train" else 0)
        if each.name == "Mass"
        else each
        for each in facts.missing
    )
    shown = flow(changed(made, missing=rows))
    assert shown is not None
    table = shown.blocks[-1]
    assert isinstance(table, Table)
    mass = next(row for row in table.rows if row[0] == "Mass")
    assert mass == ("Mass", "108", "12 (10.0%), 7 filled in", "78", "12 (13.3%)", "138", "12 (8.0%)")
    none = flow(changed(made))
    assert none is not None
    assert isinstance(none.blocks[-1], Text)


def test_the_only_label_stands_in_the_last_box(tmp_path: Path) -> None:
    run = make_run(tmp_path, BINARY, explained=False, pixels=False)
    found = make_results(run)
    shown = flow(Material.of(run, found))
    assert shown is not None
    panel = shown.blocks[0]
    assert isinstance(panel, Panels)
    assert f"{found.evaluation.positives['Abnormal']} positive" in panel.figures[0].svg
