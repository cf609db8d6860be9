"""`zoo compare NEW REFERENCE --margin M`: non-inferiority and equivalence, in the direction of the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commandline import flat, zoo
from comparable import make_run


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def test_the_second_run_is_the_reference_wherever_it_ranks() -> None:
    make_run("poor", skill=0.2, seed=1)
    make_run("good", skill=3.0)
    for new, reference, outcome in (("poor", "good", "is inferior to"), ("good", "poor", "is not inferior to")):
        result = zoo("compare", new, reference, "--margin", "0.05")
        assert result.exit_code == 0, result.output
        assert f"{new} {outcome} {reference}: " in flat(result.stdout)
        assert f"(AUROC of {new} minus that of {reference}: " in flat(result.stdout)
        assert "95% interval, each bound a one-sided test at 2.5%; margin .050)" in flat(result.stdout)
        found = json.loads(zoo("compare", new, reference, "--margin", "0.05", "--json").stdout)["margin"]
        assert (found["new"], found["reference"]) == (new, reference)
        assert (found["difference"]["value"] > 0) == (new == "good")
        assert found["noninferior"] == (new == "good")


def test_a_wide_margin_makes_them_equivalent_and_the_page_says_so() -> None:
    make_run("one", skill=2.6, seed=2)
    make_run("two", skill=3.0)
    result = zoo("compare", "one", "two", "--margin", "0.9", "--html", "page.html")
    assert "one is equivalent to two, and so not inferior: both bounds lie within ±.900" in flat(result.stdout)
    assert "one is equivalent to two" in Path("page.html").read_text()
    assert "margin" not in zoo("compare", "one", "two").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("one", "two", "--margin", "2"), "above 0 and below 1, such as 0.02, not 2.0"),
        (("one", "--margin", "0.02"), "--margin is for two runs, the new one first"),
        (("--margin", "0.02"), "--margin is for two runs, the new one first"),
        (("one", "one", "--margin", "0.02"), "not two different runs"),
    ],
)
def test_what_cannot_be_tested_is_refused(arguments: tuple[str, ...], message: str) -> None:
    make_run("one", skill=2.6, seed=2)
    make_run("two", skill=3.0)
    result = zoo("compare", *arguments)
    assert result.exit_code == 2
    assert message in flat(result.output)
