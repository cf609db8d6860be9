from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from zoo.core import manager
from zoo.core.hookspecs import hookimpl

Module = Callable[..., EntryPoint]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Module:
    """Make an importable module with the given attributes and the entry point that names it."""

    def make(name: str, **attributes: object) -> EntryPoint:
        made = types.ModuleType(f"made_{name}")
        for key, value in attributes.items():
            setattr(made, key, value)
        monkeypatch.setitem(sys.modules, made.__name__, made)
        return EntryPoint(name, made.__name__, "zoo")

    return make


def test_plugins_are_loaded_and_named(module: Module) -> None:
    loaded = manager.load([module("b"), module("a")])
    assert [o.plugin for o in loaded.origins.values()] == ["a", "b"]
    assert loaded.failures == ()


def test_installed_builtins_come_first_and_carry_distribution_and_version() -> None:
    origins = list(manager.load().origins.values())
    assert origins[0].distribution == "cxr-zoo"
    assert origins[0].version[0].isdigit()
    assert str(origins[0]) == f"{origins[0].plugin} (cxr-zoo {origins[0].version})"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_fails_to_import_takes_down_only_itself(
    code: str, cause: str, module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_bad.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded = manager.load([EntryPoint("bad", "made_bad", "zoo"), module("good")])
    assert [o.plugin for o in loaded.origins.values()] == ["good"]
    assert [f.origin.plugin for f in loaded.failures] == ["bad"]
    assert cause in loaded.failures[0].cause
    assert "\n" not in str(loaded.failures[0])


def test_an_unknown_hook_is_refused_and_the_rest_keeps_working(module: Module) -> None:
    @hookimpl
    def zoo_modles() -> list[object]:
        return []

    loaded = manager.load([module("typo", zoo_modles=zoo_modles), module("good"), module("zzz")])
    assert [o.plugin for o in loaded.origins.values()] == ["good", "zzz"]
    assert "zoo_modles" in loaded.failures[0].cause


def test_a_hook_with_parameters_nobody_passes_is_refused(module: Module) -> None:
    @hookimpl
    def zoo_models(config: object) -> list[object]:
        return []

    loaded = manager.load([module("greedy", zoo_models=zoo_models), module("good")])
    assert [o.plugin for o in loaded.origins.values()] == ["good"]
    assert "config" in loaded.failures[0].cause


def test_a_missing_attribute_is_a_failure(module: Module) -> None:
    good = module("good")
    loaded = manager.load([EntryPoint("lost", f"{good.value}:nothing", "zoo"), good])
    assert [f.origin.plugin for f in loaded.failures] == ["lost"]


def test_the_same_distribution_seen_twice_is_loaded_once(module: Module) -> None:
    twice = module("twice")
    loaded = manager.load([twice, EntryPoint("twice", twice.value, "zoo")])
    assert len(loaded.origins) == 1
    assert loaded.failures == ()
