from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from zoo.cli.info import example
from zoo.cli.main import cli
from zoo.core.options import describe
from zoo.core.registry import Entry, registry

ENTRIES = list(registry().entries())


def zoo_info(*words: str) -> Result:
    return CliRunner().invoke(cli, ["info", *words])


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.kind}-{e.name}")
def test_everything_known_about_a_name_is_shown(entry: Entry) -> None:
    result = zoo_info(entry.name)
    assert result.exit_code == 0
    info = entry.strategy.info
    flat = " ".join(result.stdout.split())
    for text in (info.summary, info.licence, info.paper, str(entry.origin), example(entry)):
        assert " ".join(text.split()) in flat
    if entry.kind == "recipe":
        return
    for each in describe(entry.strategy.Options):
        assert f"  {each.name} " in result.stdout


def test_options_are_a_table_of_type_default_and_meaning() -> None:
    result = zoo_info("mobilenetv3")
    (line,) = [line for line in result.stdout.splitlines() if line.split()[:1] == ["dropout"]]
    (dropout,) = [o for o in describe(registry().get("model", "mobilenetv3").Options) if o.name == "dropout"]
    assert dropout.type in line
    assert str(dropout.default) in line
    assert dropout.help in " ".join(result.stdout.split())  # it may go on in the next line


def test_a_recipe_shows_its_configuration_as_yaml() -> None:
    entry = next(registry().entries("recipe"))
    lines = zoo_info(entry.name).stdout.splitlines()
    start = lines.index("") + 1
    shown = yaml.safe_load("\n".join(lines[start : lines.index("", start)]))
    assert shown == json.loads(zoo_info(entry.name, "--json").stdout)[0]["config"]
    assert set(shown) == set(entry.strategy.config)


def test_a_dataset_shows_the_layout_it_expects() -> None:
    entry = next(e for e in registry().entries("dataset") if e.strategy.info.layout)
    flat = " ".join(zoo_info(entry.name).stdout.split())
    assert " ".join(entry.strategy.info.layout.split()) in flat
    assert "--root" in flat


def test_json_is_a_list_with_one_object_for_each_kind() -> None:
    (found,) = json.loads(zoo_info("mobilenetv3", "--json").stdout)
    assert found["kind"] == "model"
    assert found["parameters"] == registry().get("model", "mobilenetv3").info.parameters


def test_several_kinds_of_one_name_are_all_shown(run_zoo: Callable[..., Any], make_plugin: Callable[..., Path]) -> None:
    site = make_plugin(
        "from zoo.core.contracts import Info, Recipe\n"
        "from zoo.core.hookspecs import hookimpl\n"
        "@hookimpl\n"
        "def zoo_recipes():\n"
        "    return [Recipe(info=Info(name='mobilenetv3', summary='a namesake'), config={'model': {'name': 'x'}})]\n"
    )
    result = run_zoo("info", "mobilenetv3", path=site)
    assert "mobilenetv3  model, plugin mobilenetv3 (cxr-zoo" in result.stdout
    assert "mobilenetv3  recipe, plugin stranger (stranger 2.5)" in result.stdout
    assert [e["kind"] for e in json.loads(run_zoo("info", "mobilenetv3", "--json", path=site).stdout)] == [
        "model",
        "recipe",
    ]


def test_unknown_name_says_the_closest_and_the_cause_of_a_broken_plugin(
    run_zoo: Callable[..., Any], make_plugin: Callable[..., Path]
) -> None:
    result = run_zoo("info", "mobilnetv3", path=make_plugin("1 / 0"))
    assert result.returncode == 2
    assert "Error: unknown name 'mobilnetv3'. Did you mean 'mobilenetv3'?" in result.stderr
    assert "plugin stranger (stranger 2.5): ZeroDivisionError" in result.stderr
    assert result.stderr.count("\n") == 1


def test_summary_prints_the_layers_and_the_totals_of_the_network() -> None:
    from zoo.core.tasks import Task

    model = registry().get("model", "tiny-cnn")
    result = zoo_info(
        "tiny-cnn", "--summary", "--task", "multilabel", "--image-size", "64", "--set", "model.dropout=0.5"
    )
    assert result.exit_code == 0, result.stderr
    network = model.build(Task("multilabel", tuple("abcdefghijklmn")), 64, None, model.Options(dropout=0.5))
    assert f"{network.count_params():,} parameters" in result.stdout
    rows = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line.strip()}
    assert rows["image"][1:] == ["InputLayer", "64", "×", "64", "×", "1", "0"]
    assert rows["logits"][1] == "Dense"
    assert rows["logits"][2] == "14"
    assert rows["dropout"][1] == "Dropout"
    for layer in network.get_layer("backbone").layers:
        assert any(type(layer).__name__ == row[1] for row in rows.values() if len(row) > 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bce"], "--summary needs a model, and 'bce' is a loss"),
        (["mobilenetv3", "--image-size", "8"], "--image-size: received 8; mobilenetv3 needs at least"),
        (["mobilenetv3", "--set", "alfa"], "not 'alfa'"),
        (["mobilenetv3", "--set", "loss.gamma=1"], "received 'loss.gamma=1'; here only model.OPTION=VALUE"),
        (["cce", "mobilenetv3"], "unexpected extra argument"),
        (["mobilenetv3", "--set", "model.dropot=1"], "Did you mean 'dropout'?"),
        (["mobilenetv3", "--set", "model.dropout=2"], "model.dropout: received 2"),
    ],
)
def test_a_summary_that_cannot_be_is_a_usage_error(words: list[str], said: str) -> None:
    result = zoo_info("--summary", *words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.kind}-{e.name}")
def test_the_example_is_a_command_line_that_zoo_train_understands(entry: Entry) -> None:
    from zoo.cli.train import train

    words = example(entry).split()
    assert words[:2] == ["zoo", "train"]
    context = train.make_context("train", words[2:], resilient_parsing=True)
    given = {
        str(each) for value in context.params.values() for each in (value if isinstance(value, tuple) else [value])
    }
    assert entry.name in given
