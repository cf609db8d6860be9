"""Building a network with the weights asked for: none, published ones by name, or those of a file or run."""

from __future__ import annotations

import http.client
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config.weights import check_weights, weights_file
from zoo.core.calls import call, named
from zoo.core.errors import UsageError, ZooError
from zoo.engine.weights_files import (
    Arrays,
    damaged,
    described,
    finalize,
    flat_layers,
    is_legacy,
    layers_of,
    legacy_layers,
    open_file,
    own_scaling,
)
from zoo.nn.graph import as_graph
from zoo.nn.members import BACKBONE

if TYPE_CHECKING:
    import h5py
    import keras
    import numpy as np

    from zoo.core.contracts import Model
    from zoo.core.tasks import Task


class WeightsUnavailable(ZooError):
    """Published weights could not be fetched."""


@dataclass(frozen=True)
class WeightsReport:
    """Where a network's weights come from and what was loaded.

    `loaded` has names of layers; the other two have names with shapes, such as `stem (3, 3, 3, 32)`: layers of the
    source that found no place, and layers of the network's backbone that the source does not fill. `scaling` has the layers
    with which the source's network scales pixels and this one does not.
    """

    source: str
    loaded: tuple[str, ...] = ()
    unmatched_source: tuple[str, ...] = ()
    unmatched_target: tuple[str, ...] = ()
    scaling: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for the terminal."""
        if not self.loaded:
            return self.source
        line = f"{self.source}: {len(self.loaded)} of {len(self.loaded) + len(self.unmatched_target)} layers loaded"
        if self.unmatched_target:
            line += f"; left random: {_some(self.unmatched_target)}"
        if self.unmatched_source:
            line += f"; not used: {_some(self.unmatched_source)}"
        if self.scaling:
            line += f". Its own pixel scaling is not taken over: {_some(self.scaling)}; this network scales pixels its own way"
        return line


@dataclass(frozen=True)
class _Unit:
    """The weights of one layer as they lie in a Keras 3 weights file.

    `family` is the path without the counter that Keras gives the layers of one class, `number` that counter. Together
    they do not change between processes, as automatic layer names (`conv2d_203`) do.
    """

    path: str
    family: str
    number: int
    name: str
    named: bool  # the name was given by the author, not made from the class
    keys: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        return f"{self.name} {', '.join(map(str, self.shapes))}"


def build_network(
    model: Model, task: Task, image_size: int, weights: str | None, options: Any
) -> tuple[keras.Model, WeightsReport]:
    """Build a model's network and give it the weights asked for.

    Args:
        model: the registered model.
        task: gives the outputs.
        image_size: height and width of the input in pixels.
        weights: None or "none" for a random start, a name from `model.info.pretrained`, or a path as `load_matching` takes.
        options: an instance of `model.Options`.

    Raises:
        UsageError: the image is smaller than the model allows, or there are no such weights.
        WeightsUnavailable: published weights could not be fetched.
        ZooError: the file cannot be read.
    """
    info = model.info
    if image_size < info.min_image_size:
        raise UsageError(
            f"{info.name} needs images of at least {info.min_image_size} pixels, not {image_size}. "
            f"Use --image-size {info.min_image_size} or more."
        )
    check_weights(info, weights)
    if weights is None or weights == "none":
        source = "weights of trained networks" if info.trained else "random weights"
        return _build(model, task, image_size, None, options), WeightsReport(source)
    if weights in info.pretrained:
        try:
            network = _build(model, task, image_size, weights, options)
        except Exception as error:
            if not _is_download_error(error):
                raise
            raise WeightsUnavailable(
                f"the {weights} weights of {info.name} could not be fetched ({_reason(error)}). Without a network there "
                "are two ways on: --weights none starts from random weights, and --weights PATH loads a .keras, "
                ".weights.h5 or published .h5 file that you put there by hand."
            ) from error
        return network, WeightsReport(f"{weights} weights of {info.name}, as published through Keras")
    path = weights_file(weights)
    network = _build(model, task, image_size, None, options)
    return network, load_matching(network, path)


def _build(model: Model, task: Task, image_size: int, published: str | None, options: Any) -> keras.Model:
    network = call(model.build, task, image_size, published, options)
    with named(model, "build()"):
        return as_graph(network, image_size)


def load_matching(network: keras.Model, path: str | Path) -> WeightsReport:
    """Load what fits a network's backbone from a file or run, and say what did not.

    Only the layer named `backbone` is filled, in a network without one everything that fits; the head always starts anew,
    even where the source has one of the same shape. Where source and backbone have the same lists of weight shapes,
    layer class by layer class, the weights are taken in order: automatic layer names differ between processes. Otherwise
    layers are matched by the name their author gave them, with equal shapes. Source layers may lie in a layer named
    `backbone` or, in any other file, anywhere. Nothing in the file is executed: only its arrays are read.

    Args:
        network: the network to fill, in place.
        path: a `.keras` file, a Keras 3 `.weights.h5` file, or a run directory; or an `.h5` or `.hdf5` file in the older layout, in
            which Keras 2 and `model.save("x.h5")` write whole networks and `keras.applications` publishes weights.

    Raises:
        UsageError: there is no such file, or nothing in it fits.
        ZooError: the file is damaged.
    """
    path = weights_file(path)
    report = _load_legacy(network, path) if is_legacy(path) else _load_matching(network, path)
    return replace(report, scaling=_unlike(path, network))


def _load_matching(network: keras.Model, path: Path) -> WeightsReport:
    import h5py

    with open_file(path) as source, tempfile.TemporaryDirectory() as folder:
        # the network's own weights file, with what matches replaced, is what Keras then loads
        own = Path(folder) / "own.weights.h5"
        network.save_weights(own)
        with h5py.File(own, "r+") as target:
            available, wanted = _units(source), _within_backbone(target, _units(target))
            pairs = _match(_within_backbone(source, available), wanted)
            if not available:
                raise ZooError(f"{path} holds no weights in the layout of Keras 3.")
            if not pairs:
                raise UsageError(_nothing_fits(path, network, available, wanted))
            for theirs, ours in pairs:
                for key, own_key in zip(theirs.keys, ours.keys, strict=True):
                    target[f"{ours.path}/{own_key}"][...] = _array(source[f"{theirs.path}/{key}"])
        network.load_weights(own)
    used, filled = {theirs.path for theirs, _ in pairs}, {ours.path for _, ours in pairs}
    return WeightsReport(
        source=str(path),
        loaded=tuple(ours.name for _, ours in pairs),
        unmatched_source=tuple(str(u) for u in available if u.path not in used),
        unmatched_target=tuple(str(u) for u in wanted if u.path not in filled),
    )


def _load_legacy(network: keras.Model, path: Path) -> WeightsReport:
    """Load a file of the older layout: layers in order where the backbone's follow one another in it, else by given names."""
    backbone: Any = next((layer for layer in network.layers if layer.name == BACKBONE), network)
    with open_file(path) as file:
        try:
            source = legacy_layers(file)
            target = layers_of(backbone)
            pairs = _in_order(source, target) or _by_names(source, target)
            if not source:
                raise ZooError(f"{path} holds no weights in a layout of Keras.")
            if not pairs:
                raise UsageError(_nothing_fits(path, network, source, target))
            for theirs, ours in pairs:
                for array, variable in zip(theirs.arrays, ours.arrays, strict=True):
                    variable.assign(array[()])
        except (OSError, KeyError) as error:
            raise damaged(path, error) from error
    finalize(backbone)
    used, filled = {id(theirs) for theirs, _ in pairs}, {id(ours) for _, ours in pairs}
    return WeightsReport(
        source=str(path),
        loaded=tuple(ours.name for _, ours in pairs),
        unmatched_source=tuple(str(each) for each in source if id(each) not in used),
        unmatched_target=tuple(str(each) for each in target if id(each) not in filled),
    )


def _in_order(source: list[Arrays], target: list[Arrays]) -> list[tuple[Arrays, Arrays]]:
    """All layers of the target beside those of the source that have the same shapes, one after the other."""
    shapes, wanted = [each.shapes for each in source], [each.shapes for each in target]
    for start in range(len(source) - len(target) + 1):
        if shapes[start : start + len(wanted)] == wanted:
            return list(zip(source[start:], target, strict=False))
    return []


def _by_names(source: list[Arrays], target: list[Arrays]) -> list[tuple[Arrays, Arrays]]:
    """Layers of one given name and shape; Keras 2 has slashes in its names."""
    theirs = {each.name.replace("/", "_"): each for each in source}
    named = [(theirs.get(each.name.replace("/", "_")), each) for each in target if each.named]
    return [(found, each) for found, each in named if found is not None and found.shapes == each.shapes]


def _unlike(path: Path, network: keras.Model) -> tuple[str, ...]:
    """How the network in the file scales pixels, where the one that is filled does not do so."""
    import keras

    own = {
        described(type(layer).__name__, layer.get_config())
        for layer in flat_layers(network)
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
    }
    return tuple(each for each in own_scaling(path) if each not in own)


def _units(file: h5py.File) -> list[_Unit]:
    """All layers with weights of floating point, by family and counter; optimizers and random states are left out."""
    import h5py

    found: list[_Unit] = []

    def visit(path: str, group: Any) -> None:
        owner, _, last = path.rpartition("/")
        if last != "vars" or not isinstance(group, h5py.Group) or path.startswith("optimizer/"):
            return
        keys = [key for key in group if isinstance(group[key], h5py.Dataset) and _holds_floats(group[key])]
        if not keys:
            return
        keys.sort(key=lambda key: (len(key), key))
        family, number = _split_counter(owner)
        name = _name(group)
        named = bool(name) and _split_counter(name)[0] != family.rpartition("/")[-1]
        shapes = tuple(tuple(group[key].shape) for key in keys)
        found.append(_Unit(path, family, number, name or owner, named, tuple(keys), shapes))

    file.visititems(visit)
    return sorted(found, key=lambda unit: (unit.family, unit.number))


def _within_backbone(file: h5py.File, units: list[_Unit]) -> list[_Unit]:
    """The units inside the layer named `backbone`, families counted from there; all of them where there is none."""
    roots: list[str] = []

    def visit(path: str, group: Any) -> None:
        if path.endswith("/vars") and _name(group) == BACKBONE:
            roots.append(path.removesuffix("vars"))

    file.visititems(visit)
    if not roots:
        return units
    return [replace(u, family=u.family.removeprefix(roots[0])) for u in units if u.path.startswith(roots[0])]


def _match(source: list[_Unit], target: list[_Unit]) -> list[tuple[_Unit, _Unit]]:
    """Pairs (source, target) of equal shapes: all in order where every family agrees, else by given names."""
    return _match_families(source, target) or _match_names(source, target)


def _match_families(source: list[_Unit], target: list[_Unit]) -> list[tuple[_Unit, _Unit]]:
    theirs, pairs = _families(source), []
    for family, units in _families(target).items():
        shapes = [u.shapes for u in units]
        fits = [name for name, found in theirs.items() if [u.shapes for u in found[: len(units)]] == shapes]
        same = [name for name in fits if name.rpartition("/")[-1] == family.rpartition("/")[-1]]
        # a layer class of another name will do (a faster drop-in), where only one comes into question
        if not same and len(fits) != 1:
            return []
        pairs += list(zip(theirs.pop((same or fits)[0]), units, strict=False))
    return pairs


def _match_names(source: list[_Unit], target: list[_Unit]) -> list[tuple[_Unit, _Unit]]:
    counts = Counter(u.name for u in source if u.named)
    theirs = {u.name: u for u in source if u.named and counts[u.name] == 1}
    return [(theirs[u.name], u) for u in target if u.named and u.name in theirs and theirs[u.name].shapes == u.shapes]


def _families(units: list[_Unit]) -> dict[str, list[_Unit]]:
    families: dict[str, list[_Unit]] = {}
    for unit in units:
        families.setdefault(unit.family, []).append(unit)
    return families


def _split_counter(name: str) -> tuple[str, int]:
    """`layers/conv2d_12` → (`layers/conv2d`, 12); without a counter it is 0, as Keras numbers the first."""
    base, _, digits = name.rpartition("_")
    return (base, int(digits)) if base and digits.isdecimal() else (name, 0)


def _name(group: Any) -> str:
    name = group.attrs.get("name", "")
    return name.decode() if isinstance(name, bytes) else str(name)


def _holds_floats(dataset: Any) -> bool:
    return dataset.dtype.kind == "f" or dataset.attrs.get("dtype") == "bfloat16"


def _array(dataset: Any) -> np.ndarray:
    """The values; Keras writes bfloat16, which HDF5 lacks, as its bits in uint16."""
    import numpy as np

    values = np.asarray(dataset)
    if dataset.attrs.get("dtype") == "bfloat16":
        values = (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values


def _nothing_fits(path: Path, network: keras.Model, source: Sequence[object], target: Sequence[object]) -> str:
    return (
        f"nothing in {path} fits the backbone of {network.name}. The file has {len(source)} layers with weights "
        f"({_some([str(u) for u in source])}), the backbone {len(target)} ({_some([str(u) for u in target])}). "
        "Choose the model that the file was made with, or --weights none."
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _is_download_error(error: BaseException) -> bool:
    """Keras wraps what the network raised in a plain Exception, and a bad checksum in a ValueError."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, http.client.HTTPException)):
            return True
        if str(cause).startswith(("URL fetch failure", "Incomplete or corrupted file")):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
