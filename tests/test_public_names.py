"""The public names of `zoo`: one import for plugin authors, loaded on first use, documented, and used by the built-in plugins."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parents[1]
HEAVY = {"numpy", "pandas", "PIL", "keras", "tensorflow", "jax", "pydantic", "rich", "click"}
NEED_NUMPY = {"ArraySource", "FileSource"}  # read pixels
CONSTANTS = {
    "__version__",
    "ALL_TASKS",
    "CENTRED",
    "NORMALISED",
    "SYMMETRIC",
    "Scaling",
    "LossFunction",
    "AugmentFunction",
}
CONSTANTS |= {"hookimpl"}


def typed_imports() -> dict[str, str]:
    """Name and module of every import that type checkers see in zoo/__init__.py."""
    tree = ast.parse((ROOT / "zoo" / "__init__.py").read_text())
    return {
        alias.name: str(node.module)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module not in {"__future__", "typing", "importlib.metadata"}
    }


def test_type_checkers_editors_and_python_see_the_same_names() -> None:
    assert typed_imports() == zoo._HOME
    assert set(zoo.__all__) == {*zoo._HOME, "__version__"}
    assert set(zoo.__all__) <= set(dir(zoo))


@pytest.mark.parametrize("name", zoo.__all__)
def test_every_public_name_exists_and_is_documented(name: str) -> None:
    value = getattr(zoo, name)
    if name not in CONSTANTS:
        assert inspect.getdoc(value)
        assert value.__module__ == zoo._HOME[name]


def test_public_names_load_nothing_heavy(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    light = sorted(set(zoo.__all__) - NEED_NUMPY)
    code = f"import sys, zoo; dir(zoo)\nassert 'zoo.core' not in sys.modules\nfor n in {light}: getattr(zoo, n)\n"
    code += f"print(sorted({HEAVY} & set(sys.modules)))"
    done = run_python("-c", code)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


@pytest.mark.parametrize("folder", ["plugins", "datasets", "examples", "zoo/scaffold/templates", "docs/plugins.md"])
def test_plugins_import_public_names_from_zoo(folder: str) -> None:
    place = ROOT / folder
    files = [place] if place.is_file() else [p for p in place.rglob("*") if p.suffix in {".py", ".j2"}]
    assert files
    around = [
        f"{file.relative_to(ROOT)}: {name} from {module}"
        for file in files
        for module, names in re.findall(r"^ *from (zoo\.[\w.]+) import (\([^)]*\)|[^\n(]+)", file.read_text(), re.M)
        for name in re.findall(r"\w+", names)
        if zoo._HOME.get(name) == module
    ]
    assert around == []
