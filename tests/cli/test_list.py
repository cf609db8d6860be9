from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from zoo.cli.entries import count_text, tasks_text
from zoo.cli.main import cli
from zoo.core.registry import KINDS, PLURALS, registry

Run = Callable[..., Any]


def zoo_list(*words: str, columns: int | None = None) -> Result:
    return CliRunner(env={"COLUMNS": str(columns) if columns else None}).invoke(cli, ["list", *words])


def test_list_shows_every_registered_name_of_every_kind_with_its_origin() -> None:
    result = zoo_list()
    assert result.exit_code == 0
    for entry in registry().entries():
        (line,) = [
            line
            for line in result.stdout.split(f"{PLURALS[entry.kind].capitalize()}\n")[1].split("\n\n")[0].splitlines()
            if line.split()[0] == entry.name
        ]
        assert entry.strategy.info.summary in line
        assert f"{entry.origin.distribution} {entry.origin.version}" in line


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_kind_in_singular_or_plural_shows_that_kind_alone(kind: str) -> None:
    result = zoo_list(PLURALS[kind])
    assert result.output == zoo_list(kind).output
    assert f"{PLURALS[kind].capitalize()}\n" in result.stdout
    for other in set(KINDS) - {kind}:
        assert f"{PLURALS[other].capitalize()}\n" not in result.stdout


def test_a_model_shows_parameters_input_and_tasks() -> None:
    info = registry().get("model", "mobilenetv3").info
    (line,) = [
        line for line in zoo_list("models", "mobilenetv3").stdout.splitlines() if line.startswith("mobilenetv3 ")
    ]
    assert line.split()[1:5] == [count_text(info.parameters), str(info.image_size), f"(≥{info.min_image_size})", "all"]


def test_pattern_looks_into_names_and_summaries_and_glob_into_names() -> None:
    assert "mobilenetv3" in zoo_list("MOBILE").stdout
    assert "mobilenetv3" in zoo_list("mobile*").stdout
    assert "densenet121" not in zoo_list("mobile*").stdout
    word = registry().get("dataset", "phantom").info.summary.split()[0]
    assert "phantom" in zoo_list("datasets", word).stdout
    assert zoo_list("datasets", f"{word}*").exit_code == 2


def test_no_match_is_a_usage_error_with_the_closest_name() -> None:
    result = zoo_list("mobilnetv3")
    assert result.exit_code == 2
    assert "Error: no entries match 'mobilnetv3'. Did you mean 'mobilenetv3'?" in result.stderr
    assert "Did you mean 'models'?" in zoo_list("modles").stderr
    assert "unknown kind 'modles'. Did you mean 'models'?" in zoo_list("modles", "dense").stderr
    assert "no models match 'zzz'. Valid: " in zoo_list("models", "zzz").stderr


def test_eighty_columns_are_enough() -> None:
    result = zoo_list(columns=80)
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    flat = " ".join(result.stdout.split())
    for entry in registry().entries():
        assert entry.strategy.info.summary in flat


def test_json_holds_everything() -> None:
    document = json.loads(zoo_list("--json").stdout)
    assert document["failures"] == []
    assert [(e["kind"], e["name"]) for e in document["entries"]] == [(e.kind, e.name) for e in registry().entries()]
    (model,) = [e for e in document["entries"] if e["name"] == "mobilenetv3"]
    info = registry().get("model", "mobilenetv3").info
    assert model["parameters"] == info.parameters
    assert model["tasks"] == list(info.tasks)
    assert model["distribution"] == "cxr-zoo"
    assert set(model["options"][0]) == {"name", "type", "default", "none", "help"}


def test_a_broken_plugin_is_named_with_its_cause_and_the_rest_is_listed(
    run_zoo: Run, make_plugin: Callable[..., Path]
) -> None:
    site = make_plugin("import not_installed_anywhere")
    cause = "ModuleNotFoundError: No module named 'not_installed_anywhere'"
    result = run_zoo("list", path=site)
    assert result.returncode == 0
    assert "mobilenetv3" in result.stdout
    assert result.stdout.splitlines()[-2:] == ["Could not be loaded", f"stranger (stranger 2.5): {cause}"]
    assert result.stderr == f"Warning: plugin stranger (stranger 2.5): {cause}\n"
    document = json.loads(run_zoo("list", "models", "--json", path=site).stdout)
    assert document["failures"] == [
        {"plugin": "stranger", "distribution": "stranger", "version": "2.5", "cause": cause},
    ]


def test_a_stranger_s_duplicate_is_reported_with_both_plugins(run_zoo: Run, make_plugin: Callable[..., Path]) -> None:
    site = make_plugin(
        "from zoo.core.contracts import Info, Recipe\n"
        "from zoo.core.hookspecs import hookimpl\n"
        "from zoo.plugins.losses import bce as builtin\n"
        "@hookimpl\n"
        "def zoo_losses():\n"
        "    return builtin.zoo_losses()\n"
        "@hookimpl\n"
        "def zoo_recipes():\n"
        "    return [Recipe(info=Info(name='strange', summary='a recipe'), config={'model': {'name': 'x'}})]\n"
    )
    result = run_zoo("list", path=site)
    assert (
        "plugin stranger (stranger 2.5): the loss 'bce' is already registered by plugin bce (cxr-zoo" in result.stderr
    )
    assert "strange" in result.stdout


NOISY = """
from __future__ import annotations
from dataclasses import dataclass
from zoo import Info, Loss, Model, ModelInfo, hookimpl, option
print("{hello")

@dataclass(frozen=True)
class Options:
    where: NotImported = option(None, "an annotation that nothing resolves")

class Net(Model):
    info = ModelInfo(name="net", summary="a model", parameters=1)
    Options = Options
    def build(self, task, image_size, weights, options): ...

@hookimpl
def zoo_models():
    print("models")
    return [Net()]

def zoo_losses():
    return []
"""


def test_a_noisy_plugin_with_mistakes_spoils_nothing_and_each_mistake_is_told(
    run_zoo: Run, make_plugin: Callable[..., Path]
) -> None:
    site = make_plugin(NOISY)
    result = run_zoo("list", "--json", path=site)
    document = json.loads(result.stdout)
    assert result.stderr.startswith("{hello\nmodels\n")
    assert "mobilenetv3" in [each["name"] for each in document["entries"]]
    hook, options = [each["cause"] for each in document["failures"] if each["distribution"] == "stranger"]
    assert hook.startswith("zoo_losses() lacks the decorator @hookimpl")
    assert options.startswith("the model 'net' of plugin stranger (stranger 2.5) cannot be used: the annotations of")
    assert "NotImported" in options
    trained = run_zoo("train", "--model", "net", path=site)
    assert trained.returncode == 1
    assert f"Error: {options}" in trained.stderr


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (940, "940"), (1_530, "1.5k"), (1_529_768, "1.5M"), (54_336_736, "54M"), (2_000_000_000, "2.0G")],
)
def test_parameters_as_people_say_them(number: int, text: str) -> None:
    assert count_text(number) == text


def test_tasks_in_a_few_letters() -> None:
    assert tasks_text(("multiclass", "binary", "multilabel")) == "all"
    assert tasks_text(("binary", "multilabel")) == "binary, multilabel"
