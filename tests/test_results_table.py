"""docs/results: its table is what recipes.csv makes, and every row of it is a command that there is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from zoo.core.registry import registry

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "recipes.py"))


def test_the_table_is_made_from_the_figures(script: dict[str, Any]) -> None:
    page = script["PAGE"].read_text()
    assert script["page"](page, script["read"]()) == page, "run: python benchmarks/recipes.py"


def test_the_rows_name_recipes_that_there_are_and_say_what_they_leave_out(script: dict[str, Any]) -> None:
    for row in script["ROWS"]:
        assert set(re.findall(r"--recipe ([\w-]+)", row.words)) <= set(registry().names("recipe"))
        assert bool(row.reduction) == (
            "--epochs 0" not in row.words and bool(re.search(r"--weights none|image-size|--model", row.words))
        )
    names = [row.name for row in script["ROWS"]]
    assert len(names) == len(set(names))


def test_every_row_has_its_figures_and_the_page_of_recipes_shows_them(script: dict[str, Any]) -> None:
    rows = script["read"]()
    assert {row["row"] for row in rows} == {row.name for row in script["ROWS"]}
    shown = (ROOT / "docs" / "recipes.md").read_text()
    for row in rows:
        value, low, high = (f"{float(row[f'auroc{bound}']):.3f}".removeprefix("0") for bound in ("", "_low", "_high"))
        assert re.search(rf"{value}\s+\[{low}, {high}\]", shown), f"{row['run']}: its AUROC is not on the page"


def test_a_figure_is_shown_with_its_interval(script: dict[str, Any]) -> None:
    bounds = {"value": ("0.6", "0.55", "0.65"), "none": ("", "", "")}
    row = {"set_up": "one", "run": "r", "val_auroc": "0.7", "reduction": ""}
    for metric, kind in (("auroc", "value"), ("f1", "none")):
        row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), bounds[kind], strict=True))
    shown = script["table"]([row]).replace("&nbsp;", " ")
    assert "| one | r | .600 [.550, .650] | undefined [undefined, undefined] | .700 | none |" in shown
    assert ".600&nbsp;[.550,&nbsp;.650]" in script["table"]([row])  # not broken into lines
