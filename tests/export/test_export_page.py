"""The table of docs/export.md is made from the measurements, and has a model of every family in it."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
from families import representatives

from zoo.export.formats import FORMATS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "export.md"


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "generate_exports.py"))


def test_the_table_is_made_from_the_measurements(generator: dict[str, Any]) -> None:
    rows = generator["kept"]()
    assert generator["page"](PAGE.read_text(), rows) == PAGE.read_text(), "run: python docs/generate_exports.py"


def test_the_lightest_model_of_every_family_is_shown_and_tried_in_every_way_or_not_at_all(
    generator: dict[str, Any],
) -> None:
    built_in = [each.name for each in representatives() if each.origin.distribution == "cxr-zoo"]
    assert sorted(generator["lightest"]()) == sorted(built_in)
    ways = {(form.name, quantize) for form in FORMATS.values() for quantize in ("", *form.quantize)}
    assert set(generator["WAYS"]) == ways
    tried = {(row["model"], row["format"], row["quantize"]) for row in generator["kept"]()}
    for name in {name for name, *_ in tried}:
        assert {(name, *way) for way in ways} <= tried, f"run: python docs/generate_exports.py {name}"
    for name in built_in:
        assert f"| {name} |" in PAGE.read_text()


def test_models_that_export_agree_with_zoo_in_float32(generator: dict[str, Any]) -> None:
    exact = [row for row in generator["kept"]() if not row["quantize"] and not row["refused"]]
    assert exact
    assert max(float(row["difference"]) for row in exact) <= 1e-4


def test_a_model_that_does_not_export_is_shown_with_its_reason(generator: dict[str, Any]) -> None:
    row = {"model": "odd", "format": "onnx", "quantize": "", "difference": "", "refused": "it has no words for it"}
    made = generator["table"]([row], ["odd"])
    assert "| odd | not tried | not tried | not tried | not tried | not tried | no | not tried | not tried |" in made
    assert "- odd, onnx: it has no words for it" in made
