"""The layers of a network for `zoo info NAME --summary`; the only part of it that loads Keras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zoo.core.errors import UsageError
from zoo.core.registry import Entry

if TYPE_CHECKING:
    import keras
    from rich.console import Console

OUTPUTS = {"binary": 1, "multilabel": 14, "multiclass": 3}  # labels of the network shown


def build(entry: Entry, kind: str, image_size: int | None, settings: tuple[str, ...]) -> keras.Model:
    """Build a model's network with random weights, with its options given as model.OPTION=VALUE words."""
    from zoo.core.options import validate
    from zoo.core.tasks import Task
    from zoo.engine.devices import import_keras, select
    from zoo.engine.weights import build_network

    model = entry.strategy
    if kind not in model.info.tasks:
        raise UsageError(f"--task: received {kind}; {entry.name} serves {', '.join(model.info.tasks)}.")
    size = image_size or model.info.image_size
    if size < model.info.min_image_size:
        raise UsageError(
            f"--image-size: received {size}; {entry.name} needs at least {model.info.min_image_size} pixels."
        )
    task = Task(kind, tuple(f"label {i + 1}" for i in range(OUTPUTS[kind])))  # type: ignore[arg-type]  # click checked
    options = validate(model.Options, _values(settings), "model", f"See 'zoo info {entry.name}'.")
    with import_keras().device(select("cpu")[0]):  # no need to fill a GPU to look at shapes
        network: keras.Model = build_network(model, task, size, None, options)[0]
    return network


def _values(settings: tuple[str, ...]) -> dict[str, Any]:
    """The words of --set, model.OPTION=VALUE as in `zoo train`, as options of the model."""
    from zoo.config.resolve import parse_set

    values: dict[str, Any] = {}
    for word in settings:
        given = parse_set(word)
        if not isinstance(given.get("model"), dict):
            raise UsageError(f"--set: received '{word}'; here only model.OPTION=VALUE has a meaning.")
        values |= given["model"]
    return values


def layers(console: Console, network: keras.Model) -> None:
    """Print the layers of a network, those of its backbone among them, and the totals."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  layer", overflow="fold")
    table.add_column("type", overflow="fold")
    table.add_column("output", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    for depth, layer in _walk(network):
        name = "  " * (depth + 1) + escape(layer.name)
        table.add_row(name, type(layer).__name__, _shape(layer), f"{layer.count_params():,}")
    console.print()
    console.print(table)
    total = network.count_params()
    trainable = sum(_size(weight.shape) for weight in network.trainable_weights)
    console.print()
    console.print(f"  {total:,} parameters, {trainable:,} of them trainable; {total * 4 / 1e6:.1f} MB in float32.")


def _walk(network: keras.Model, depth: int = 0) -> Iterator[tuple[int, keras.Layer]]:
    for layer in network.layers:
        yield depth, layer
        if hasattr(layer, "layers"):
            yield from _walk(layer, depth + 1)


def _shape(layer: keras.Layer) -> str:
    """The output shape of a layer without the batch, such as `7 × 7 × 576`."""
    output = layer.output
    first = output[0] if isinstance(output, (list, tuple)) else output
    return " × ".join("?" if size is None else str(size) for size in first.shape[1:])


def _size(shape: tuple[int, ...]) -> int:
    import math

    return math.prod(shape)
