"""What a report says of decision curves, likelihood ratios and the fit of the probabilities."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import pytest
from reportable import BINARY, CLASSES, SEVERAL, make_results, make_run

from zoo.core.tasks import Task
from zoo.evaluation import Interval
from zoo.evaluation.sheet import Sheet
from zoo.report import fairness, utility
from zoo.report.blocks import Panels, Table
from zoo.report.material import Material


def made(folder: Path, task: Task) -> Material:
    run = make_run(folder, task, explained=False, pixels=False)
    return Material.of(run, make_results(run))


@pytest.mark.parametrize("task", [BINARY, SEVERAL, CLASSES], ids=lambda task: task.kind)
def test_every_label_has_a_curve_a_row_of_ratios_and_one_of_each_stage(tmp_path: Path, task: Task) -> None:
    material = made(tmp_path, task)
    section, fit = utility.utility(material), utility.fit(material)
    assert section is not None
    assert fit is not None
    (panels,) = (block for block in section.blocks if isinstance(block, Panels))
    (ratios,) = (block for block in section.blocks if isinstance(block, Table))
    (stages,) = (block for block in fit.blocks if isinstance(block, Table))
    assert len(panels.figures) == len(task.labels)
    assert all("treat all" in each.svg for each in panels.figures)
    assert [row[0] for row in ratios.rows] == list(task.labels)
    assert [row[:2] for row in stages.rows] == [(n, s) for n in task.labels for s in ("as trained", "calibrated")]
    assert "(calibrated)" in panels.caption


def with_ranges(sheet: Sheet, *ranges: tuple[float, float] | None) -> Sheet:
    curves = tuple(dataclasses.replace(c, useful=r) for c, r in zip(sheet.decision, ranges, strict=True))
    return dataclasses.replace(sheet, decision=curves)


def test_the_sentence_names_the_thresholds_or_says_that_there_are_none(tmp_path: Path) -> None:
    several = made(tmp_path / "several", SEVERAL).results.sheet
    one = made(tmp_path / "one", BINARY).results.sheet
    assert "for 2 of 3 labels, such as Effusion at thresholds of 2% to 40%" in utility.sentence(
        with_ranges(several, (0.1, 0.2), (0.02, 0.4), None)
    )
    assert "for no label" in utility.sentence(with_ranges(several, None, None, None))
    assert utility.sentence(with_ranges(one, (0.5, 0.5))).endswith("at thresholds of 50%.")
    assert "beyond chance at no threshold" in utility.sentence(with_ranges(one, None))


def test_the_sheet_is_kept_in_tables(tmp_path: Path) -> None:
    results = made(tmp_path, SEVERAL).results
    results.save(tmp_path)
    rows = {}
    for name in ("decision", "ratios", "calibration-fit"):
        with (tmp_path / f"{name}-test.csv").open() as file:
            rows[name] = list(csv.DictReader(file))
    assert len(rows["decision"]) == 3 * 24
    assert {row["label"] for row in rows["decision"]} == set(SEVERAL.labels)
    assert float(rows["ratios"][0]["lr_positive"]) == pytest.approx(results.sheet.ratios[0].lr_positive.value)
    assert float(rows["ratios"][0]["partial_auroc_low"]) > 0
    assert [row["stage"] for row in rows["calibration-fit"][:2]] == ["as_trained", "calibrated"]


def test_fairness_says_how_many_gaps_were_looked_at_and_which_are_clear(tmp_path: Path) -> None:
    material = made(tmp_path, SEVERAL)
    section = fairness.fairness(material)
    assert section is not None
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert {row[0] for row in table.rows} >= {"sex F", "sex M", "age 40-59", "sex × age F 40-59"}
    rows = material.results.sheet.fairness
    assert re.match(r"\d+ gaps .* examined, corrected by the method of Holm: none is clear", fairness.sentence(rows))
    first = rows[0]
    planted = dataclasses.replace(
        first,
        under_diagnosis=dataclasses.replace(
            first.under_diagnosis, gap=Interval(0.2, 0.1, 0.3), examined=True, clear=True
        ),
    )
    assert "1 clear, such as sex F, under-diagnosis .200 [.100, .300]." in fairness.sentence((planted, *rows[1:]))
    assert fairness.table([planted]).marked == {0}
    unexamined = dataclasses.replace(
        planted,
        **{k: dataclasses.replace(getattr(planted, k), examined=False) for k in ("under_diagnosis", "over_diagnosis")},
    )
    assert "enough images" in fairness.sentence((unexamined,))


@pytest.mark.parametrize(("task", "rows"), [(SEVERAL, 3), (CLASSES, 1)], ids=["several", "classes"])
def test_sets_and_referral_have_a_row_per_label(tmp_path: Path, task: Task, rows: int) -> None:
    material = made(tmp_path, task)
    section = utility.uncertainty(material)
    assert section is not None
    sets, errors, curves = section.blocks
    assert isinstance(sets, Table)
    assert isinstance(errors, Table)
    assert isinstance(curves, Panels)
    assert len(curves.figures) == rows
    assert [row[0] for row in sets.rows] == list(task.labels)
    assert "hold the label of 90% of positive" in sets.caption
    assert len(errors.rows) == rows
    itself = utility.uncertainty(dataclasses.replace(material, results=make_results(material.run, split="val")))
    assert itself is not None
    assert len(itself.blocks) == 2  # sets calibrated on the same images would say nothing
