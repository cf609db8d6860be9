"""The table of docs/results/speed.md is the one that the results of the benchmarks give."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "benchmarks" / "speed_table.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("speed_table", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "speed_table", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_was_measured(script: ModuleType) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.shown(page) == script.table(), "run: python benchmarks/speed_table.py --write"


def test_every_result_of_the_table_has_its_script(script: ModuleType) -> None:
    assert {line.file for line in script.LINES} <= {file.stem for file in SCRIPT.parent.glob("*.py")}


def test_figures_are_those_of_the_rows_meant(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    head = "png_side,contender,ratio_median,ratio_min,ratio_max\n"
    (tmp_path / "batches.csv").write_text(f"{head}1024,keras,301.6,280.2,1320.9\n224,keras,24.31,9.96,25\n")
    (tmp_path / "end_to_end.csv").write_text(f'{head}1024,"zoo, steps only",0.931,0.905,1.004\n1024,timm,2,0.5,3\n')
    (tmp_path / "epoch_gap.csv").write_text("epoch,gap_ms\n1,49.9\n2,50.1\n3,12.3\n")
    text = script.table()
    assert "| batches of prepared images, made of 1024-pixel PNGs |" in text
    assert "| 302 (280–1,321) |" in text
    assert "| 24 (9.96–25) |" in text
    assert "| 93% (90%–100%) |" in text
    assert "| 2.00 (.50–3.00) |" in text
    assert "2 of 3 epochs pause for less than 50 ms (at most 50)" in text
    assert "Pillow" not in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 2 + 4


def test_the_table_is_put_between_the_markers(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{script.BEGIN}\nold\n{script.END}\n\nafter\n")
    monkeypatch.setattr(script, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["speed_table.py", "--write"])
    script.main()
    text = page.read_text()
    assert script.shown(text) == script.table()
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nafter\n")
