"""Layers whose outputs have height and width, and access to one while the network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from zoo.core.errors import UsageError, closest
from zoo.nn.keras_compat import flatten_layers
from zoo.nn.members import members
from zoo.nn.override_call import override_call
from zoo.nn.trace import trace

SHOWN = 12  # names in an error; a DenseNet has some four hundred layers
# what moves features away from where they were in the image
SHIFTING = ("ZeroPadding2D", "Cropping2D")
# inside of these four axes are heads and tokens, not height and width
ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")


@dataclass(frozen=True)
class SpatialLayer:
    """A layer with an output `(N, height, width, channels)`.

    `call` says which call of the layer is meant, counted from 0, where a network uses one layer several times.
    """

    name: str
    height: int
    width: int
    channels: int
    layer: Any = field(repr=False)
    call: int = 0


def spatial_layers(network: Any) -> list[SpatialLayer]:
    """The layers of a network with outputs of more than one row and column, in the order in which they compute.

    Layers inside nested models are among them, and plain operations such as a product. What comes before the first layer
    with weights is preprocessing, and left out, as are layers that pad or crop, whose outputs do not lie over the image, and the
    inside of attention layers.
    """
    found: list[SpatialLayer] = []
    again: list[SpatialLayer] = []
    calls: dict[int, int] = {}
    seen: set[int] = set()
    attending = {
        id(part)
        for layer in flatten_layers(network)
        if type(layer).__name__ in ATTENTION
        for part in flatten_layers(layer)
    }
    computing = False
    traced = trace(network)
    for layer, output in traced:
        call = calls.get(id(layer), 0)
        calls[id(layer)] = call + 1
        computing = computing or bool(getattr(layer, "weights", ()))
        shape = tuple(getattr(output, "shape", ()))
        if not computing or len(shape) != 4 or type(layer).__name__ in SHIFTING or id(layer) in attending:
            continue
        if not all(isinstance(size, int) for size in shape[1:]) or shape[1] < 2 or shape[2] < 2:
            continue
        # a nested model gives what its last layer gave: the same features, which go by the layer's name
        (again if id(output) in seen else found).append(SpatialLayer(layer.name, *shape[1:], layer, call))
        seen.add(id(output))
    return [*again, *found]


def find_layer(network: Any, name: str | None = None) -> SpatialLayer:
    """The layer whose features a heat map is made of: the one of that name, else the last that is spatial.

    Raises:
        UsageError: there is none of that name; names the closest and the valid ones.
    """
    found = spatial_layers(network)
    if not found:
        raise UsageError(
            f"the network {network.name} has no layer with an output of more than one row and column, which Grad-CAM needs: "
            "use --method occlusion."
        )
    if name is None:
        return found[-1]
    named = [each for each in found if each.name == name]
    if named:
        return named[-1]
    names = list(dict.fromkeys(each.name for each in reversed(found)))
    near = closest(name, names)
    hint = f" Did you mean '{near}'?" if near else ""
    more = f" and {len(names) - SHOWN} before them" if len(names) > SHOWN else ""
    raise UsageError(f"unknown layer '{name}'.{hint} Valid, the last first: {', '.join(names[:SHOWN])}{more}.")


def find_layers(network: Any, name: str | None = None) -> list[SpatialLayer]:
    """As `find_layer`; of an ensemble, unless one is named, the last of each of its networks.

    Raises:
        UsageError: as `find_layer`.
    """
    return [find_layer(each) for each in (members(network) if name is None else ())] or [find_layer(network, name)]


@contextmanager
def perturbed(target: SpatialLayer, change: Callable[[Any], Any]) -> Iterator[list[Any]]:
    """Pass the output of one layer through `change` while the network is called; yields a list of the results.

    Adding zeros and differentiating by them gives the gradient with respect to these features, on any backend and without
    cutting the network.
    """
    inner, seen, count = target.layer.call, [], 0

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        output = inner(*args, **kwargs)
        if count == target.call:
            output = change(output)
            seen.append(output)
        count += 1
        return output

    with override_call([target.layer], call):
        yield seen
