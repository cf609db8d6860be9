"""Loading the trained network of a run, after the plugin that its layers come from."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from zoo.core.calls import call, stdout_to_stderr
from zoo.core.errors import ZooError
from zoo.core.options import validate
from zoo.core.registry import Registry, registry
from zoo.engine import devices
from zoo.engine.weights_checks import check_network
from zoo.runs.missing import missing_plugins
from zoo.runs.run import Run


def load_network(run: Run) -> Any:
    """Load the run's trained network in Keras' safe mode, with the layers of installed plugins.

    Raises:
        ZooError: the file is damaged, or a plugin is not installed.
    """
    installed = registry()
    try:
        return load_file(run.model_file, installed)
    except _UnknownLayers as error:
        _build_again(run, installed)  # it may define its layers where it builds the network
        try:
            return load_file(run.model_file, installed)
        except _UnknownLayers:
            raise ZooError(f"{error} {missing_plugins(run, installed)}".rstrip()) from error


def load_file(file: Path, installed: Registry) -> Any:
    """Load a `.keras` file. The modules that its own layers come from are imported where they belong to an installed plugin.

    Raises:
        ZooError: the file is damaged, or a layer is unknown.
    """
    keras = devices.import_keras()
    packages = {each.package for each in installed.origins if each.package}
    custom = custom_layers(file)
    for module in dict.fromkeys(custom.values()):
        if module.partition(".")[0] in packages:
            with suppress(ImportError), stdout_to_stderr():
                importlib.import_module(module)
    try:
        return keras.saving.load_model(file, compile=False, safe_mode=True)
    except Exception as error:
        unknown = [name for name in custom if keras.saving.get_registered_object(name) is None]
        if unknown:
            layers = ", ".join(f"{name} (of {custom[name]})" for name in unknown)
            raise _UnknownLayers(
                f"{file} cannot be loaded: it has layers that are not Keras' own and are not registered: {layers}. Decorate "
                "them with @keras.saving.register_keras_serializable(), and install the plugin that they belong to."
            ) from error
        raise ZooError(f"{file} cannot be loaded: {' '.join(str(error).split())}") from error


class _UnknownLayers(ZooError):
    """The file has layers that are neither Keras' own nor registered."""


def custom_layers(file: Path) -> dict[str, str]:
    """The layers and functions of a `.keras` file that are not Keras' own: registered name and module.

    Raises:
        ZooError: the file is damaged, not to be trusted or beyond a limit (`zoo.engine.weights_checks.check_network`).
    """
    return dict(_custom(check_network(file)))


def _custom(config: Any) -> Iterator[tuple[str, str]]:
    if isinstance(config, Mapping):
        module, name = config.get("module"), config.get("registered_name") or config.get("class_name")
        if isinstance(module, str) and isinstance(name, str) and module.partition(".")[0] not in ("keras", "builtins"):
            yield name, module
    values = config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ()
    for each in values:
        yield from _custom(each)


def _build_again(run: Run, installed: Registry) -> None:
    """Build the run's network anew where its model is installed: that defines what the saved one consists of."""
    values = dict(run.config().get("model") or {})
    name = values.pop("name", None)
    if name not in installed.names("model"):
        return
    model = installed.get("model", name)
    options = validate(model.Options, values, "model")
    call(model.build, run.task(), int(run.info()["image_size"]), None, options)
