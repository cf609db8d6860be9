from __future__ import annotations

import sys
import types
from collections.abc import Callable
from importlib.metadata import EntryPoint
from typing import Any

import click
import pytest

from zoo.core import manager
from zoo.core.contracts import Augmenter, Info, Loss, Model, ModelInfo, Recipe
from zoo.core.errors import UsageError
from zoo.core.hookspecs import hookimpl
from zoo.core.origins import OWN_DISTRIBUTION
from zoo.core.registry import KINDS, PLURALS, Registry, kind_of, registry


class Net(Model):
    def __init__(self, name: str) -> None:
        self.info = ModelInfo(name=name, summary="a net", parameters=1)

    def build(self, task: Any, image_size: int, weights: str | None, options: Any) -> Any:
        raise NotImplementedError


class Nameless(Model):
    def build(self, task: Any, image_size: int, weights: str | None, options: Any) -> Any:
        raise NotImplementedError


class Zero(Loss):
    info = Info(name="shared", summary="a loss")

    def build(self, task: Any, counts: Any, options: Any) -> Any:
        raise NotImplementedError


Make = Callable[..., Registry]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """A registry of plugins given as name=(hook, what it returns or raises)."""

    def build(**plugins: tuple[str, Any]) -> Registry:
        points = []
        for name, (hook, result) in plugins.items():
            module = types.ModuleType(f"made_{name}")

            def call(result: Any = result) -> Any:
                if isinstance(result, BaseException):
                    raise result
                return result

            call.__name__ = hook
            # pluggy passes only parameters without defaults, so `result` is not asked of the caller
            setattr(module, hook, hookimpl(call))
            monkeypatch.setitem(sys.modules, module.__name__, module)
            points.append(EntryPoint(name, module.__name__, "zoo"))
        return Registry(manager.load(points))

    return build


def test_what_plugins_register_is_found_with_its_origin(make: Make) -> None:
    made = make(a=("zoo_models", [Net("one"), Net("two")]), b=("zoo_losses", [Zero()]))
    assert made.names("model") == ["one", "two"]
    assert made.entry("model", "two").origin.plugin == "a"
    assert isinstance(made.get("loss", "shared"), Zero)
    assert [e.name for e in made.entries()] == ["one", "two", "shared"]
    assert made.failures == ()


class Same(Augmenter):
    def __init__(self, name: str) -> None:
        self.info = Info(name=name, summary="an augmenter")

    def build(self, image_size: int, options: Any) -> Any:
        raise NotImplementedError


def test_a_composition_comes_from_the_plugins_of_its_parts(make: Make) -> None:
    made = make(a=("zoo_augmenters", [Same("one"), Same("two")]), b=("zoo_augmenters", [Same("three")]))
    assert [each.plugin for each in made.entry("augmenter", "one+three+two").origins] == ["a", "b"]
    assert [each.plugin for each in made.entry("augmenter", "two").origins] == ["a"]


def test_one_name_in_two_kinds_is_allowed_and_find_returns_both(make: Make) -> None:
    made = make(a=("zoo_models", [Net("shared")]), b=("zoo_losses", [Zero()]))
    assert [e.kind for e in made.find("shared")] == ["model", "loss"]
    assert made.failures == ()


def test_a_duplicate_is_refused_and_names_both_plugins(make: Make) -> None:
    made = make(first=("zoo_models", [Net("net")]), second=("zoo_models", [Net("net"), Net("other")]))
    assert made.entry("model", "net").origin.plugin == "first"
    assert made.names("model") == ["net", "other"]
    (failure,) = made.failures
    assert failure.origin.plugin == "second"
    assert "'net' is already registered by plugin first" in failure.cause


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        (RuntimeError("no luck\ntoday"), "zoo_models() raised RuntimeError: no luck today"),
        (SystemExit(3), "zoo_models() raised SystemExit: 3"),
        (7, "zoo_models() raised TypeError"),
        ([3], "returned 3, which is not an instance of zoo.Model"),
        ([Net], "which is not an instance of zoo.Model"),
        ([Zero()], "which is not an instance of zoo.Model"),
        ([Nameless()], "Nameless with None as info"),
    ],
)
def test_a_hook_that_raises_or_returns_junk_takes_down_only_itself(result: Any, cause: str, make: Make) -> None:
    made = make(bad=("zoo_models", result), good=("zoo_models", [Net("net")]))
    assert made.names("model") == ["net"]
    (failure,) = made.failures
    assert failure.origin.plugin == "bad"
    assert cause in failure.cause


def test_unknown_name_says_closest_valid_next_command_and_the_cause_of_a_broken_plugin(make: Make) -> None:
    made = make(bad=("zoo_models", RuntimeError("no luck")), good=("zoo_models", [Net("densenet121")]))
    with pytest.raises(UsageError) as caught:
        made.get("model", "densnet121")
    for part in (
        "unknown model 'densnet121'",
        "Did you mean 'densenet121'?",
        "'zoo list models'",
        "plugin bad",
        "no luck",
    ):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match=r"unknown name 'densnet121'\. Did you mean 'densenet121'.*no luck"):
        made.find("densnet121")


def test_commands_keep_their_origin_and_a_duplicate_or_junk_is_refused(make: Make) -> None:
    first, second = click.Command("extra"), click.Command("extra")
    made = make(
        a=("zoo_commands", [first]), b=("zoo_commands", [second]), c=("zoo_commands", ["extra", click.Command(None)])
    )
    assert made.commands == {"extra": first}
    assert made.command_origin("extra").plugin == "a"
    assert [f.origin.plugin for f in made.failures] == ["b", "c", "c"]
    assert "already registered by plugin a" in made.failures[0].cause
    assert "'extra', which is not a click command" in made.failures[1].cause


def test_every_kind_can_be_named_in_singular_and_plural() -> None:
    assert set(KINDS) == set(PLURALS)
    for kind, plural in PLURALS.items():
        assert kind_of(kind) == kind_of(plural) == kind
    with pytest.raises(UsageError, match=r"unknown kind 'modles'\. Did you mean 'models'"):
        kind_of("modles")


def test_the_installed_builtins_load_without_failure() -> None:
    assert [f for f in registry().failures if f.origin.distribution == OWN_DISTRIBUTION] == []
    for kind, cls in (("augmenter", Augmenter), ("recipe", Recipe), ("loss", Loss), ("model", Model)):
        assert registry().names(kind), f"no {kind} is built in"
        assert all(isinstance(e.strategy, cls) for e in registry().entries(kind))
