"""A plugin that zoo writes loads, registers what was asked for and passes the public checks as it stands."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest

from zoo.core import manager
from zoo.core.errors import UsageError
from zoo.core.registry import Registry
from zoo.scaffold import PARTS, write_plugin


def load(folder: Path, patch: pytest.MonkeyPatch) -> Registry:
    """The plugin as it is found when it is installed: through the entry point that its pyproject.toml declares."""
    patch.syspath_prepend(str(folder))
    declared = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["zoo"]
    return Registry(manager.load([EntryPoint(name, value, "zoo") for name, value in declared.items()]))


def registered(part: str, name: str) -> list[tuple[str, str]]:
    """What a part adds to the registry."""
    return {
        "layer": [],
        "command": [],
        "network": [("model", f"{name}-finished")],
    }.get(part, [(part, name)])


def test_a_plugin_of_everything_passes_the_tests_it_is_written_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_plugin("all-kinds", "all", tmp_path / "new")
    found = load(folder, monkeypatch)
    assert found.failures == ()
    expected = [each for part in PARTS for each in registered(part, "all-kinds")]
    assert [(each.kind, each.name) for each in found.entries()] == expected
    assert list(found.commands) == ["all-kinds-count"]
    monkeypatch.setattr("zoo.registry", lambda: found)
    monkeypatch.setattr("zoo.core.registry.registry", beside_the_built_in_ones)
    monkeypatch.setattr("zoo.testing.models.logits_elsewhere", lambda file, pixels: None)  # it is not installed
    scope: dict[str, Any] = {}
    exec(compile((folder / "tests" / "test_plugin.py").read_text(), "test_plugin.py", "exec"), scope)
    tests = [name for name in scope if name.startswith("test_")]
    assert tests == [f"test_{part}" for part in PARTS if part != "layer"]
    for name in tests:
        (tmp_path / name).mkdir()
        scope[name](*([tmp_path / name] if name in ("test_dataset", "test_command") else []))


def beside_the_built_in_ones() -> Registry:
    """The plugin with the built-in strategies, whose dataset its recipe leaves at the default."""
    own = [each for each in entry_points(group="zoo") if each.module.startswith("zoo.")]
    return Registry(manager.load([*own, EntryPoint("all-kinds", "zoo_all_kinds", "zoo")]))


@pytest.mark.parametrize("kind", PARTS)
def test_a_plugin_of_one_kind_registers_that_alone(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = load(write_plugin(f"only-{kind}", kind, tmp_path), monkeypatch)
    assert found.failures == ()
    name = f"only-{kind}"
    model = registered("model", name) if kind == "layer" else []  # which it stands in
    assert [(each.kind, each.name) for each in found.entries()] == model + registered(kind, name)
    assert list(found.commands) == ([f"{name}-count"] if kind == "command" else [])


@pytest.mark.parametrize(
    ("name", "kinds", "message"),
    [
        ("My Model", "model", "'My Model' cannot be a plugin's name"),
        ("x--y", "model", "cannot be a plugin's name"),
        ("tiny-cnn", "loss,model", "there is a model 'tiny-cnn' already, from plugin tiny-cnn"),
        ("mine", "modle", "unknown kind 'modle'. Did you mean 'model'"),
        ("mine", ",", "--with names what the plugin adds"),
        ("there", "model", "zoo-there exists already"),
    ],
)
def test_a_refused_plugin_leaves_nothing_behind(name: str, kinds: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "zoo-there").mkdir()
    with pytest.raises(UsageError, match=message):
        write_plugin(name, kinds, tmp_path)
    assert [each.name for each in tmp_path.iterdir()] == ["zoo-there"]
    assert not list((tmp_path / "zoo-there").iterdir())
