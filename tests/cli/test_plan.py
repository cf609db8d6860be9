"""`zoo plan`: images and patients for intervals as narrow as wanted."""

from __future__ import annotations

import json

from click.testing import CliRunner

from zoo.cli.main import cli

WANTED = ["plan", "--prevalence", "0.08", "--auroc", "0.85"]


def test_the_table_fits_eighty_columns_and_the_sentence_names_the_largest_number() -> None:
    result = CliRunner().invoke(cli, [*WANTED, "--sensitivity", "0.9", "--images-per-patient", "3"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert any(line.split() == ["AUROC", "0.85", "0.1", "2,361", "787", "189"] for line in lines)
    assert "observed / expected needs most" in " ".join(result.output.split())
    assert "sensitivity" in result.output
    assert "specificity" not in result.output
    assert "3 images say as much as one of each patient would" in " ".join(result.output.split())


def test_json_has_every_requirement() -> None:
    result = CliRunner().invoke(cli, [*WANTED, "--json"])
    found = json.loads(result.output)
    assert found["design_effect"] == 1
    assert [each["measure"] for each in found["requirements"]] == ["auroc", "observed_expected", "slope"]
    assert found["requirements"][0]["images"] == 787


def test_a_value_out_of_range_is_one_line() -> None:
    result = CliRunner().invoke(cli, ["plan", "--prevalence", "8", "--auroc", "0.85"])
    assert result.exit_code == 2
    assert "the prevalence lies between 0 and 1, such as 0.05, not 8.0." in result.output
