"""The documentation holds what it says: code as in the example, help as the commands print it."""

from __future__ import annotations

import inspect
import re
import runpy
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from zoo.core import hookspecs, manager
from zoo.core.registry import KINDS, Registry
from zoo.testing import check_model

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "zoo-tinycnn"
SHORT = "resnet_plugin.py"  # a plugin of one module, shown whole


def blocks(page: Path) -> dict[str, list[str]]:
    """The code blocks of a page that name a file, by file."""
    found: dict[str, list[str]] = {}
    for name, code in re.findall(r'^```\w+ title="(\S+)"\n(.*?)^```$', page.read_text(), re.MULTILINE | re.DOTALL):
        found.setdefault(name, []).append(code)
    return found


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["pyproject.toml", "zoo_tinycnn/__init__.py", "tests/test_plugin.py"])
def test_the_code_of_the_plugin_page_is_the_code_of_the_example(name: str) -> None:
    assert lines("\n".join(blocks(ROOT / "docs" / "plugins.md")[name])) == lines((EXAMPLE / name).read_text())


def test_the_plugin_page_shows_no_file_that_the_example_lacks() -> None:
    shown = set(blocks(ROOT / "docs" / "plugins.md")) - {SHORT}
    assert shown == {
        str(p.relative_to(EXAMPLE))
        for p in EXAMPLE.rglob("*")
        if p.suffix in {".py", ".toml"} and "build" not in p.parts
    }


def short_plugin(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The registry of the module shown, loaded as an installed plugin is."""
    (code,) = blocks(ROOT / "docs" / "plugins.md")[SHORT]
    assert len(code.splitlines()) <= 15, "the page promises a plugin in 15 lines"
    (folder / SHORT).write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    return Registry(manager.load([EntryPoint("short", Path(SHORT).stem, "zoo")]))


def test_the_plugin_in_15_lines_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = short_plugin(tmp_path, monkeypatch)
    assert made.failures == ()
    assert [(entry.kind, entry.name) for entry in made.entries()] == [("model", "our-resnet")]


@pytest.mark.slow
def test_the_plugin_in_15_lines_passes_the_public_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_model(short_plugin(tmp_path, monkeypatch).get("model", "our-resnet"))


def test_every_hook_is_documented() -> None:
    hooks = {name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("zoo_")}
    assert {hook for hook, _ in KINDS.values()} < hooks
    assert hooks == set(re.findall(r"^\| `(zoo_\w+)` \|", (ROOT / "docs" / "plugins.md").read_text(), re.MULTILINE))


def test_the_page_of_the_command_line_is_current(run_python: Callable[..., Any]) -> None:
    script = ROOT / "docs" / "generate_cli.py"
    made = run_python("-c", f"import runpy; print(runpy.run_path({str(script)!r})['page'](), end='')")
    assert made.returncode == 0, made.stderr
    assert (ROOT / "docs" / "cli.md").read_text() == made.stdout, "run: python docs/generate_cli.py"


def test_every_file_that_the_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:zoo|plugins|datasets|cli|tests|docs)/[\w./*-]*)`", page))
    assert len(named) > 30
    assert [name for name in named if "NAME" not in name and not (ROOT / name).exists()] == []


def test_the_picture_of_the_house_is_current(run_python: Callable[..., Any]) -> None:
    script = ROOT / "docs" / "generate_house.py"
    made = run_python("-c", f"import runpy; print(runpy.run_path({str(script)!r})['picture'](), end='')")
    assert made.returncode == 0, made.stderr
    assert (ROOT / "docs" / "images" / "house.svg").read_text() == made.stdout, "run: python docs/generate_house.py"


def test_the_page_of_licences_names_every_package_that_zoo_asks_for() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_licences.py"))
    page = (ROOT / "docs" / "licences.md").read_text()
    rows = {
        row[0]: row for row in (line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| "))
    }
    asked = {made["plain"](each.name): part for part, wanted in made["declared"]().items() for each in wanted}
    assert {n: rows[n][3].strip("[`]") for n in rows.keys() & asked.keys()} == asked, (
        "run: python docs/generate_licences.py"
    )
    assert "see its licence file" not in page
    assert "not installed" not in page
    for name, package in made["installed"](each for wanted in made["declared"]().values() for each in wanted).items():
        if name in rows and rows[name][1] == package.version:
            assert rows[name][2] == made["licence"](package)
    assert len(made["old"]()) == page.partition("## Without")[2].partition("## What")[0].count(" | 20")


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "changelog").glob("*.md"),
        *EXAMPLE.glob("*.md"),
    ]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert broken == []
