"""Resolving a configuration: defaults, then recipe, file and flags on top of each other, checked against the registry."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from zoo.config.devices import check_device, check_devices
from zoo.config.optimizers import default_lr
from zoo.config.run_config import ENGINE, OF_THE_IMAGES, REGISTERED, SECTIONS, Choice, RunConfig
from zoo.config.settings import HALF_A_CLASS, Settings, Strategies
from zoo.config.weights import check_weights
from zoo.config.where import parse_filter
from zoo.core.contracts import DatasetInfo, ModelInfo
from zoo.core.errors import UsageError, unknown
from zoo.core.options import as_dict, describe, validate
from zoo.core.registry import PLURALS, Registry
from zoo.core.tasks import TASKS
from zoo.core.text import is_unicode
from zoo.core.thresholds import RULES, TARGETS, check_rule

ANY_SIZE = 224  # for a configuration of which no network is built
DEFAULTS: dict[str, Any] = {
    "task": Settings().task,
    "threshold": as_dict(Settings().threshold),
    **{each.name: {"name": each.default} for each in describe(Strategies) if each.default is not None},
}


def read_file(path: Path) -> dict[str, Any]:
    """Read a configuration file (YAML).

    Raises:
        UsageError: it is not there, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read the configuration {path}: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise UsageError(f"the configuration {path} is not a mapping of settings such as 'model: mobilenetv3'.")
    return values


def parse_set(assignment: str) -> dict[str, Any]:
    """Turn `model.alpha=0.75` into {"model": {"alpha": 0.75}}; values are read as YAML."""
    path, equals, text = assignment.partition("=")
    if not equals or not path.strip() or not all(path.strip().split(".")):
        raise UsageError(f"--set takes SECTION.OPTION=VALUE such as model.alpha=0.75, not '{assignment}'.")
    try:
        value: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    if isinstance(value, str):
        value = _number(value)
    if value in ("", None) or (isinstance(value, bool) and text.strip().lower() not in ("true", "false")):
        value = None if text.strip() == "null" else text.strip()  # YAML reads No as false and | as the start of a text
    for key in reversed(path.strip().split(".")):
        value = {key: value}
    return dict(value)


def _number(text: str) -> Any:
    """YAML 1.1 reads 1e-4 as text; people mean a number."""
    try:
        return float(text)
    except ValueError:
        return text


def merge(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay configurations on top of each other, later ones winning; naming another strategy drops the options of the first."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if key in SECTIONS or key == "threshold":
                value = _section(key, value)
                below = merged.get(key, {})
                if key == "threshold" and "value" in value and below.get("rule") not in TARGETS:
                    value = {"rule": "fixed", **value}  # a threshold alone is fixed
                name = "rule" if key == "threshold" else "name"
                keep = name not in value or value[name] == below.get(name)
                value = _laid_on(below if keep else {}, value)
            merged[key] = value
    return merged


def _laid_on(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One section on another; the options of the parts of a composition are mappings of their own."""
    nested = {
        key: {**below[key], **value}
        for key, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
    }
    return {**below, **above, **nested}


def _section(key: str, value: Any) -> dict[str, Any]:
    if key == "threshold" and not isinstance(value, Mapping):
        value = _number(str(value))
        if isinstance(value, float):
            return {"rule": "fixed", "value": value}
        if value not in RULES:
            raise unknown("threshold rule", value, RULES, "Or give a fixed threshold such as 0.5.")
        return {"rule": value}
    if isinstance(value, str):
        return {"rule" if key == "threshold" else "name": value}
    if not isinstance(value, Mapping):
        raise UsageError(f"the setting '{key}' is a name or a mapping with 'name' and options, not {value!r}.")
    return dict(value)


def resolve(layers: Iterable[Mapping[str, Any]], registry: Registry) -> RunConfig:
    """Lay the configurations on the defaults, check every name and option, and fill in what depends on others.

    Raises:
        UsageError: a name, option or combination is not valid.
    """
    values = merge([DEFAULTS, *_with_recipes(layers, registry)])
    known = {f.name for f in fields(Settings)} | set(SECTIONS)
    for key in values:
        if key not in known:
            raise unknown("setting", str(key), known, "See 'zoo info train'.")
    task = values["task"]
    if not isinstance(task, str) or task not in TASKS:
        raise unknown("task", str(task), TASKS)
    values["loss"] = {"name": "cce" if task == "multiclass" else "bce", **values.get("loss", {})}
    if isinstance(values.get("findings"), str):
        values["findings"] = [name.strip() for name in values["findings"].split(",") if name.strip()]
    settings = validate(Settings, {k: v for k, v in values.items() if k not in SECTIONS}, "settings")
    root = values["data"].pop("root", None)
    if root is not None and not isinstance(root, str | Path):
        raise UsageError(f"data.root is a folder's path, not {root!r}.")
    chosen = {name: _choose(name, values[name], registry) for name in SECTIONS}
    config = RunConfig(
        settings=settings, root=None if root is None else str(Path(os.path.expanduser(root)).absolute()), **chosen
    )
    return _fill_in(config, registry)


def resolve_images(values: Mapping[str, Any], registry: Registry) -> RunConfig:
    """The part of a run's configuration that says which images it has; its network and training may need what is gone.

    Raises:
        UsageError: the dataset is not installed, or an option of it is not valid.
    """
    kept = {name: values[name] for name in OF_THE_IMAGES if name in values}
    return resolve([kept | {"image_size": ANY_SIZE}], registry)


def choose_dataset(name: str, root: Path | None, values: Mapping[str, Any], registry: Registry) -> Choice:
    """The dataset chosen on the command line, with its validated options.

    Args:
        name: the dataset.
        root: the folder of its files.
        values: what `--set data.OPTION=VALUE` gave, as `merge` joins it.
        registry: where the dataset is.

    Raises:
        UsageError: there is no such dataset or option, the root is missing, or `values` sets something else.
    """
    strategy = registry.get("dataset", name)
    check_root(strategy.info, root)
    if others := sorted(set(values) - {"data"}):
        raise UsageError(f"--set takes data.OPTION=VALUE here, not {', '.join(others)}.")
    given = _understood(values.get("data", {}), strategy.Options)
    return Choice(name, validate(strategy.Options, given, "data", f"See 'zoo info {name}'."))


def _understood(values: Mapping[str, Any], options_class: type) -> Mapping[str, Any]:
    """The options of a dataset without `allow_outside` where its reader names no file outside the root anyway."""
    if "allow_outside" in {each.name for each in describe(options_class)}:
        return values
    return {name: value for name, value in values.items() if name != "allow_outside"}


def _with_recipes(layers: Iterable[Mapping[str, Any]], registry: Registry) -> Iterator[Mapping[str, Any]]:
    """Every layer, below it the recipe it names: a recipe on the command line lies on top of a configuration file."""
    for layer in layers:
        if layer.get("recipe") is not None:
            yield registry.get("recipe", str(layer["recipe"])).config
        yield layer


def _choose(section: str, values: Mapping[str, Any], registry: Registry) -> Choice:
    options = {str(key): value for key, value in values.items()}
    name = options.pop("name", None)
    if not isinstance(name, str):
        raise UsageError(f"the section '{section}' names no strategy: give '{section}: NAME' or --{section} NAME.")
    if section in REGISTERED:
        entry = registry.entry(REGISTERED[section], name)
        entry.options()  # raises with the plugin's name where they cannot be read
        options_class = entry.strategy.Options
        then = f"See 'zoo info {name}'."
        if section == "data":
            options = dict(_understood(options, options_class))
    else:
        if name not in ENGINE[section]:
            raise unknown(section, name, ENGINE[section])
        options_class, then = ENGINE[section][name], ""
    return Choice(name, validate(options_class, options, section, then))


def _fill_in(config: RunConfig, registry: Registry) -> RunConfig:
    """Check the combination, and fill in the defaults that depend on it."""
    settings = config.settings
    _check_strategies(config, registry)
    _check_settings(settings)
    model, dataset = registry.get("model", config.model.name).info, registry.get("dataset", config.data.name).info
    size = settings.image_size or dataset.image_size or model.image_size
    if size < model.min_image_size:
        raise UsageError(
            f"image size {size} is too small for {model.name}: its smallest is {model.min_image_size}. "
            f"Use --image-size {model.min_image_size} or more, or another model (zoo list models)."
        )
    weights = settings.weights or dataset.default_weights or ("imagenet" if "imagenet" in model.pretrained else "none")
    check_weights(model, weights)
    if weights not in ("none", *model.pretrained):
        weights = str(Path(os.path.expanduser(weights)).absolute())
    _check_phases(settings, model, weights)
    optimizer = config.optimizer
    if optimizer.options.lr is None:
        lr = default_lr(optimizer.name, weights != "none")
        optimizer = replace(optimizer, options=replace(optimizer.options, lr=lr))
    return replace(config, settings=replace(settings, image_size=size, weights=weights), optimizer=optimizer)


def _check_strategies(config: RunConfig, registry: Registry) -> None:
    """Check that the strategies support the task, and that the dataset has the root it needs."""
    task = config.settings.task
    for section, kind in REGISTERED.items():
        info = registry.get(kind, getattr(config, section).name).info
        if task not in info.tasks:
            raise UsageError(
                f"the {kind} '{info.name}' does not support the {task} task, only {', '.join(info.tasks)}. "
                f"See 'zoo list {PLURALS[kind]}'."
            )
    check_root(registry.get("dataset", config.data.name).info, config.root)


def check_root(dataset: DatasetInfo, root: str | Path | None) -> None:
    """Check that a root is given if, and only if, the dataset reads one.

    Raises:
        UsageError: it is missing, given to a dataset that needs none, or of a name that no file of a run could hold.
    """
    if root is not None and not is_unicode(str(root)):
        raise UsageError(f"--root {root}: the folder's name is not Unicode (UTF-8). Rename it, or name a link to it.")
    if dataset.needs_root and root is None:
        raise UsageError(f"the dataset '{dataset.name}' needs --root DIR. Layout:", dataset.layout)
    if not dataset.needs_root and root is not None:
        raise UsageError(f"the dataset '{dataset.name}' is generated and takes no --root; name another with --data.")


def _check_settings(settings: Settings) -> None:
    """Check the settings that do not depend on the strategies."""
    if settings.val_fraction + settings.test_fraction >= 1:
        raise UsageError(
            "val_fraction and test_fraction together leave nothing to train on: their sum must stay below 1."
        )
    check_device(settings.device)
    if settings.devices is not None:
        check_devices(settings.devices)
        if settings.device != "auto":
            raise UsageError(
                f"--device {settings.device} names one device, --devices {settings.devices} several: give one of the two."
            )
    check_rule(settings.task, settings.threshold)
    if settings.where is not None:
        parse_filter(settings.where)
    if settings.task == "multiclass" and settings.uncertain == "half":
        raise UsageError(HALF_A_CLASS)


def _check_phases(settings: Settings, model: ModelInfo, weights: str) -> None:
    """Check that there is something to train, and weights where some are to be frozen."""
    if model.trained:
        return
    if not settings.epochs and not (settings.freeze and settings.freeze_epochs):
        raise UsageError(
            "settings.epochs: received 0, which leaves nothing to train. Use 1 or more; 0 goes with --freeze-epochs N, to train "
            "the head alone."
        )
    if weights == "none" and (settings.freeze or settings.freeze_norm):
        raise UsageError(
            "freezing keeps loaded weights, and none are loaded: give --weights imagenet, a file or a run, or leave out "
            "--freeze and --freeze-norm."
        )
