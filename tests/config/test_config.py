"""Configurations: what overrides what, what is filled in, and how each mistake is answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from zoo.config.resolve import choose_dataset, merge, parse_set, read_file, resolve
from zoo.config.run_config import RunConfig
from zoo.core.errors import UsageError
from zoo.core.registry import registry
from zoo.core.thresholds import ThresholdRule


def resolved(*layers: dict[str, Any]) -> RunConfig:
    return resolve(layers, registry())


def test_the_defaults_need_nothing_and_no_network() -> None:
    config = resolved()
    assert (config.data.name, config.model.name, config.settings.weights) == ("phantom", "mobilenetv3", "none")
    assert config.settings.image_size == registry().get("dataset", "phantom").info.image_size
    assert config.loss.name == "bce"


def test_published_weights_are_the_default_on_real_images(tmp_path: Path) -> None:
    data = {"data": {"name": "nih", "root": str(tmp_path)}}
    assert resolved(data).settings.weights == "imagenet"
    assert resolved(data, {"model": "tiny-cnn", "image_size": 64}).settings.weights == "none"
    assert resolved(data).settings.image_size == 224


def test_the_learning_rate_is_smaller_on_loaded_weights(tmp_path: Path) -> None:
    fine_tuned = resolved({"data": {"name": "nih", "root": str(tmp_path)}})
    assert fine_tuned.optimizer.options.lr == pytest.approx(2e-4)
    assert resolved().optimizer.options.lr == pytest.approx(1e-3)
    assert resolved({"optimizer": {"lr": 0.5}}).optimizer.options.lr == 0.5


def test_multiclass_takes_categorical_cross_entropy() -> None:
    assert resolved({"task": "multiclass"}).loss.name == "cce"


def test_later_layers_win_and_another_strategy_drops_the_options_of_the_first() -> None:
    merged = merge([{"model": {"name": "a", "alpha": 1}}, {"model": {"alpha": 2}}, {"epochs": 1}, {"epochs": 2}])
    assert merged == {"model": {"name": "a", "alpha": 2}, "epochs": 2}
    assert merge([{"model": {"name": "a", "alpha": 1}}, {"model": "b"}]) == {"model": {"name": "b"}}
    assert merge([{"model": {"name": "a", "alpha": 1}}, {"model": "a"}]) == {"model": {"name": "a", "alpha": 1}}


def test_flags_win_over_a_recipe() -> None:
    config = resolved({"recipe": "mobilenetv3-binary", "epochs": 3, "loss": "focal"})
    assert (config.settings.epochs, config.loss.name, config.settings.threshold.rule) == (3, "focal", "youden")


@pytest.mark.parametrize("recipe", registry().names("recipe"))
def test_every_recipe_resolves(recipe: str, tmp_path: Path) -> None:
    config = registry().get("recipe", recipe).config
    layer: dict[str, Any] = {"recipe": recipe}
    if "data" in config:
        layer["data"] = {"root": str(tmp_path)}
    if config.get("freeze"):
        (tmp_path / "model.keras").touch()
        layer["weights"] = str(tmp_path)
    assert resolved(layer).settings.recipe == recipe


def test_a_written_configuration_reads_back_as_the_same_one(tmp_path: Path) -> None:
    config = resolved({"model": {"name": "mobilenetv3", "alpha": 0.75}, "threshold": "f1", "limit": 9, "epochs": 2})
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert resolved(read_file(tmp_path / "config.yaml")) == config


def test_set_reads_values_as_people_write_them() -> None:
    assert parse_set("model.alpha=0.75") == {"model": {"alpha": 0.75}}
    assert parse_set("optimizer.weight_decay=1e-4") == {"optimizer": {"weight_decay": 1e-4}}
    assert parse_set("epochs=3") == {"epochs": 3}
    assert parse_set("data.normal=No Finding") == {"data": {"normal": "No Finding"}}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"model": "mobilnet"}, "unknown model 'mobilnet'. Did you mean 'mobilenet'?"),
        ({"model": {"name": "mobilenetv3", "alfa": 1}}, "Did you mean 'alpha'?"),
        ({"model": {"name": "mobilenetv3", "alpha": "wide"}}, "model.alpha: received 'wide'"),
        ({"loss": "cce"}, "does not support the binary task, only multiclass"),
        ({"task": "binaer"}, "unknown task 'binaer'. Did you mean 'binary'?"),
        ({"optimizer": "adm"}, "unknown optimizer 'adm'"),
        ({"epochs": -1}, "settings.epochs: received -1"),
        ({"epochs": 0}, "settings.epochs: received 0, which leaves nothing to train"),
        ({"epoch": 3}, "unknown setting 'epoch'. Did you mean 'epochs'?"),
        ({"threshold": "youdn"}, "unknown threshold rule 'youdn'. Did you mean 'youden'"),
        ({"data": "nih"}, "the dataset 'nih' needs --root DIR"),
        ({"data": {"root": "somewhere"}}, "takes no --root"),
        ({"image_size": 16}, "too small for mobilenetv3: its smallest is 32"),
        ({"model": "inceptionresnetv2", "image_size": 64}, "smallest is 75"),
        ({"model": 3}, "a name or a mapping"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "nothing to train on"),
        ({"monitor": "auroc"}, "settings.monitor"),
        ({"freeze": True}, "freezing keeps loaded weights"),
        ({"freeze_norm": True}, "freezing keeps loaded weights"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"weights": "imagnet"}, "Did you mean 'imagenet'?"),
        ({"weights": "some/where.keras"}, "some/where.keras"),
        ({"model": "tiny-cnn", "image_size": 64, "weights": "imagenet"}, "weights of tiny-cnn"),
        ({1: 2}, "unknown setting '1'"),
        ({"model": {"name": "mobilenetv3", 1: 2}}, "unknown option model.1"),
        ({"task": ["binary"]}, "unknown task"),
        ({"data": {"root": 5}}, "data.root"),
    ],
)
def test_mistakes_are_named(layer: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolved(layer)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["alpha", "=3", "model.=3", ".alpha=1"])
def test_a_malformed_set_shows_the_form(text: str) -> None:
    with pytest.raises(UsageError, match=r"model\.alpha=0\.75"):
        parse_set(text)


@pytest.mark.parametrize(
    ("content", "message"), [("- a\n- b\n", "not a mapping"), ("a: [", "not YAML"), (None, "cannot read")]
)
def test_a_bad_file_is_named(content: str | None, message: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=rf"(?s)my\.yaml.*{message}|{message}.*my\.yaml"):
        read_file(file)


def test_yaml_is_plain_values_in_reading_order() -> None:
    values = yaml.safe_load(resolved().to_yaml())
    assert list(values)[:3] == ["task", "data", "model"]
    assert values["threshold"] == {"rule": "youden", "value": 0.5}


def test_a_recipe_on_the_command_line_lies_on_top_of_a_file() -> None:
    written = resolved({"model": "tiny-cnn", "image_size": 64}).to_dict()
    config = resolved(written, {"recipe": "densenet121-binary"})
    assert (config.model.name, config.settings.threshold.rule, config.settings.image_size) == (
        "densenet121",
        "youden",
        64,
    )


def test_options_of_a_default_strategy_need_not_name_it() -> None:
    assert resolved({"loss": {"label_smoothing": 0.1}}).loss.options.label_smoothing == 0.1


@pytest.mark.parametrize("given", [0.3, "0.3", {"value": 0.3}, {"rule": "fixed", "value": 0.3}])
def test_a_threshold_without_a_rule_is_fixed(given: Any) -> None:
    assert resolved({"threshold": given}).settings.threshold == ThresholdRule("fixed", 0.3)
    assert resolved({"threshold": "f1"}, {"threshold": given}).settings.threshold == ThresholdRule("fixed", 0.3)


def test_the_value_of_a_target_stays_its_target() -> None:
    config = resolved({"threshold": "f1"}, {"threshold": {"rule": "sensitivity"}}, {"threshold": {"value": 0.9}})
    assert config.settings.threshold == ThresholdRule("sensitivity", 0.9)


@pytest.mark.parametrize("text", ["No", "|", "off", "~x"])
def test_text_that_yaml_reads_otherwise_stays_text(text: str) -> None:
    assert parse_set(f"data.normal={text}") == {"data": {"normal": text}}
    assert parse_set("freeze=true") == {"freeze": True}
    assert parse_set("limit=null") == {"limit": None}


@pytest.mark.parametrize("name", registry().names("dataset"))
def test_every_dataset_takes_the_flag_for_images_outside_its_root(name: str, tmp_path: Path) -> None:
    dataset, given = registry().get("dataset", name), {"data": {"allow_outside": True}}
    chosen = choose_dataset(name, tmp_path if dataset.info.needs_root else None, given, registry())
    root = {"root": str(tmp_path)} if dataset.info.needs_root else {}
    layer = {"data": {"name": name, "allow_outside": True, **root}, "model": "tiny-cnn", "image_size": 64}
    for options in (chosen.options, resolved(layer).data.options):
        assert getattr(options, "allow_outside", True)
    with pytest.raises(UsageError, match="allow_inside"):
        resolved({"data": {"name": name, "allow_inside": True, **root}})
