"""One source of settings: flags, config.yaml, `zoo info train` and the arguments of `zoo.train` are those of the classes."""

from __future__ import annotations

import inspect
import json
import types
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from annotated_types import Ge, Gt, Lt
from commandline import refused
from commandline import zoo as command

import zoo
from zoo.cli.configuration import flag
from zoo.cli.train import train
from zoo.config.arguments import TrainingArguments, layers
from zoo.config.resolve import resolve
from zoo.config.settings import MONITORS, Settings, Shortcuts, Strategies, Strategy, all_settings
from zoo.core.registry import registry
from zoo.core.tasks import TASKS

NAMES = [each.name for each in all_settings()]
# what an argument takes beside what the setting holds: paths, any sequence, and what config.yaml may say of a rule
WIDER = {
    "root": str | Path | None,
    "weights": str | Path | None,
    "findings": typing.get_type_hints(TrainingArguments)["findings"],
    "threshold": Strategy | float,
}


def flags() -> dict[str, click.Option]:
    return {str(each.name): each for each in train.params if isinstance(each, click.Option)}


def parts(hint: Any) -> set[Any]:
    """The members of a union, or the one type."""
    return set(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else {hint}


@pytest.mark.parametrize("name", NAMES)
def test_the_arguments_have_the_types_of_the_settings(name: str) -> None:
    (cls,) = [each for each in (Settings, Strategies, Shortcuts) if name in {f.name for f in fields(each)}]
    expected = WIDER.get(name, typing.get_type_hints(cls)[name])
    assert parts(typing.get_type_hints(TrainingArguments)[name]) == parts(expected)


def test_editors_and_help_see_every_setting_with_its_default() -> None:
    assert set(TrainingArguments.__annotations__) == set(NAMES)
    shown = inspect.signature(zoo.train).parameters
    assert [name for name in shown if name in NAMES] == NAMES
    assert {"config", "run", "runs_dir", "checkpoint_every", *NAMES} == set(shown)
    for each in all_settings():
        if each.name != "threshold":
            assert shown[each.name].default == each.default
        assert f"{each.name}: {each.help} [default: {each.default_text}]" in str(inspect.getdoc(zoo.train))


def test_the_signature_s_defaults_are_the_defaults_of_a_configuration() -> None:
    shown = {name: p.default for name, p in inspect.signature(zoo.train).parameters.items() if name in NAMES}
    assert resolve(layers(shown, Path("runs")), registry()) == resolve([{"freeze": False}], registry())


def test_every_setting_is_a_flag_but_those_that_say_they_are_none() -> None:
    without = {each.name for each in all_settings() if not each.metadata.get("flag", True)}
    assert without == {"feature_views", "balance_threshold", "val_fraction", "test_fraction"}
    assert set(NAMES) - set(flags()) == without
    for name in set(NAMES) - without:
        option = flags()[name]
        assert option.opts == [f"--{name.replace('_', '-')}"]
        assert str(option.help).rstrip(".").lower() == next(e.help for e in all_settings() if e.name == name).lower()


def test_types_bounds_and_choices_of_flags_are_those_of_the_settings() -> None:
    kinds = {name: option.type for name, option in flags().items()}
    assert isinstance(kinds["task"], click.Choice)
    assert list(kinds["task"].choices) == list(TASKS)
    assert isinstance(kinds["monitor"], click.Choice)
    assert list(kinds["monitor"].choices) == list(MONITORS)
    assert isinstance(kinds["lr"], click.FloatRange)
    assert (kinds["lr"].min, kinds["lr"].min_open) == (0, True)
    assert isinstance(kinds["seed"], click.IntRange)
    assert (kinds["seed"].min, kinds["seed"].max, kinds["seed"].max_open) == (0, 2**31, True)
    for each in all_settings():
        bounds = [note for arg in parts(each.hint) for note in getattr(arg, "__metadata__", ())]
        if each.name in kinds and bounds:
            kind = kinds[each.name]
            assert isinstance(kind, click.IntRange | click.FloatRange)
            assert kind.min == next(getattr(b, "ge", getattr(b, "gt", None)) for b in bounds if isinstance(b, Ge | Gt))
            assert kind.max == next((b.lt for b in bounds if isinstance(b, Lt)), None)


def test_a_wrong_value_of_a_flag_is_refused_with_what_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused(
        command("train", "--monitor", "auroc"), 2, "unknown monitor 'auroc'", "Did you mean 'val_auroc'", "zoo info"
    )
    assert "x>=1" in command("train", "--batch-size", "0").stderr
    assert command("train", "--batch-size", "0").exit_code == 2


def test_a_flag_that_is_not_given_leaves_the_setting_alone() -> None:
    @click.command()
    @flag("epochs")
    @flag("freeze")
    @flag("uncertain")
    def show(**given: Any) -> None:
        click.echo(json.dumps(given))

    from click.testing import CliRunner

    result = CliRunner().invoke(show, [])
    assert json.loads(result.stdout) == {"epochs": None, "freeze": None, "uncertain": None}
    result = CliRunner().invoke(show, ["--epochs", "3", "--no-freeze", "--uncertain", "half"])
    assert json.loads(result.stdout) == {"epochs": 3, "freeze": False, "uncertain": "half"}


def test_config_yaml_has_every_setting_and_no_shortcut() -> None:
    written = yaml.safe_load(resolve([], registry()).to_yaml())
    assert set(written) == set(NAMES) - {f.name for f in fields(Shortcuts)}


def test_zoo_info_train_shows_every_setting() -> None:
    shown = command("info", "train").stdout
    flat = " ".join(shown.split())
    (record,) = json.loads(command("info", "train", "--json").stdout)
    assert [each["name"] for each in record["options"]] == NAMES
    for each in all_settings():
        assert f"  {each.name} " in shown
        assert each.help.split()[0] in flat


def test_shortcuts_set_the_options_they_stand_for(tmp_path: Path) -> None:
    given = {"lr": 0.5, "root": Path("x"), "allow_outside": True, "epochs": 3, "limit": None}
    assert layers(given, tmp_path) == [
        {"epochs": 3},
        {"data": {"root": "x"}},
        {"optimizer": {"lr": 0.5}},
        {"data": {"allow_outside": True}},
    ]


def test_weights_may_name_a_run_and_epochs_of_the_head_imply_freezing(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "config.yaml").touch()
    assert layers({"weights": "first", "freeze_epochs": 2}, tmp_path) == [
        {"weights": str(tmp_path / "first"), "freeze_epochs": 2, "freeze": True}
    ]
    assert layers({"weights": "imagenet", "freeze_epochs": 2, "freeze": False}, tmp_path) == [
        {"weights": "imagenet", "freeze_epochs": 2, "freeze": False}
    ]
