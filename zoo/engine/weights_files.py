"""Files of weights as they lie on the disk: opened, checked, and the arrays and pixel scaling of Keras' older layout."""

from __future__ import annotations

import io
import itertools
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.errors import ZooError

if TYPE_CHECKING:
    import h5py
    import keras

_WHOLE = "model_weights"  # the group in which `model.save("x.h5")` has what `save_weights` writes at the top
_SCALING = ("Rescaling", "Normalization")


@dataclass(frozen=True)
class Arrays:
    """The weights of one layer, in the order in which Keras keeps them; `named` where its name was not made from its class."""

    name: str
    arrays: tuple[Any, ...]  # datasets of a file, or variables of a network
    named: bool = True

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(each.shape) for each in self.arrays)

    def __str__(self) -> str:
        return f"{self.name} {', '.join(map(str, self.shapes))}"


def is_legacy(path: Path) -> bool:
    """Whether the file is in the layout of Keras 2, in which `keras.applications` publishes weights."""
    return path.suffix in (".h5", ".hdf5") and not path.name.endswith(".weights.h5")


def open_file(path: Path) -> h5py.File:
    """Open the weights of a `.keras` or `.h5` file.

    Raises:
        ZooError: it is damaged.
    """
    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                return h5py.File(io.BytesIO(archive.read("model.weights.h5")), "r")
        return h5py.File(path, "r")
    except (OSError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise damaged(path, error) from error


def check_file(path: Path) -> None:
    """Read every array of a weights file, so that one that is damaged is found before anything takes long.

    Raises:
        ZooError: it is damaged, holds values that are not finite, or has its arrays in other files.
    """
    import h5py
    import numpy as np

    def check(name: str, each: Any) -> None:
        if not isinstance(each, h5py.Dataset):
            return
        if each.external:
            raise ZooError(f"the weights file {path} keeps '{name}' in another file, which is not read.")
        values = each[()]
        if each.dtype.kind == "f" and not np.isfinite(values).all():
            raise ZooError(f"the weights file {path} is damaged: '{name}' holds values that are not finite.")

    with open_file(path) as file:
        try:
            file.visititems(check)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> ZooError:
    """The error for a file that cannot be read."""
    said = " ".join(str(error).split()) or type(error).__name__
    return ZooError(f"the weights file {path} cannot be read, it may be damaged: {said}")


def legacy_layers(file: h5py.File) -> list[Arrays]:
    """The layers of a file in the older layout, in its order; those of a network inside the network one by one.

    Raises:
        KeyError: an array that it lists is missing.
    """
    group = file if "layer_names" in file.attrs or _WHOLE not in file else file[_WHOLE]
    there: dict[str, Any] = {}
    group.visititems(lambda name, each: there.update({name: each}))  # which follows no link to another file
    found: dict[tuple[str, str], list[Any]] = {}
    for layer in _names(group, "layer_names"):
        for weight in _names(there[layer], "weight_names"):
            owner = weight.rpartition("/")[0] or layer
            found.setdefault((layer, owner), []).append(there[f"{layer}/{weight}"])
    return [Arrays(owner, tuple(arrays)) for (_, owner), arrays in found.items()]


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras cuts into `attribute0`, `attribute1` … where it is long."""
    cut = itertools.takewhile(lambda part: part in group.attrs, (f"{attribute}{n}" for n in itertools.count()))
    parts = [attribute] if attribute in group.attrs else list(cut)
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def layers_of(model: keras.Model) -> list[Arrays]:
    """The layers of a network with weights, in the order of `legacy_layers`."""
    found: list[Arrays] = []
    for layer in flat_layers(model):
        owners: dict[str, list[Any]] = {}
        for weight in layer.weights:
            owners.setdefault(weight.path.rpartition("/")[0] or layer.name, []).append(weight)
        automatic = re.sub(r"_\d+$", "", layer.name).replace("_", "") == type(layer).__name__.lower()
        found += [Arrays(owner, tuple(weights), not automatic) for owner, weights in owners.items()]
    return found


def flat_layers(model: keras.Model) -> Iterator[Any]:
    """The layers of a network, and in their place those of networks inside it."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from flat_layers(layer)
        else:
            yield layer


def finalize(model: keras.Model) -> None:
    """Let the layers that derive something from their weights do so."""
    for layer in flat_layers(model):
        if hasattr(layer, "finalize_state") and layer.weights:
            layer.finalize_state()


def own_scaling(path: Path) -> list[str]:
    """The layers that scale pixels in the network that a file holds, such as `Rescaling(scale=0.0039, offset=0)`.

    Empty where it holds weights alone.
    """
    text: Any = None
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                text = archive.read("config.json")
        else:
            with open_file(path) as file:
                text = file.attrs.get("model_config")
        config = json.loads(text) if text else None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return []
    return list(dict.fromkeys(_scaling(config)))


def _scaling(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if config.get("class_name") in _SCALING and isinstance(config.get("config"), dict):
            yield described(config["class_name"], config["config"])
            return
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _scaling(each)


def described(kind: str, config: dict[str, Any]) -> str:
    """A layer that scales pixels, in words; equal for equal scaling."""
    if kind == "Rescaling":
        return f"Rescaling(scale={_short(config.get('scale'))}, offset={_short(config.get('offset'))})"
    return kind


def _short(value: Any) -> str:
    if isinstance(value, dict):  # a tuple, as Keras writes it
        value = value.get("config", value.get("items"))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_short, value))}]"
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
