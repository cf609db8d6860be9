"""Layer-wise learning rates: the head trains at the full rate, each block below it at a fraction of the one above.

Layer-wise decay of the learning rate (Clark et al. 2020, ELECTRA, arXiv:2003.10555; for images Bao et al. 2022, BEiT,
arXiv:2106.08254): the variables of the k-th block below the head, counted from 1, train at `decay**k` of the rate.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from zoo.core.errors import UsageError, ZooError
from zoo.nn.keras_compat import has_weight_decay, variable_index
from zoo.nn.members import BACKBONE

ShareOf = Callable[[Any], float]


class LayerRates:
    """Placed before a Keras optimizer class in a subclass: every variable trains at its own share of the learning rate.

    The share counts for the decoupled weight decay too, as for groups of parameters with a rate of their own. Both are applied
    where one variable is updated, which is the one place that every backend and every number of devices comes through.

    Args:
        share_of: the share of a variable.
    """

    def __init__(self, *args: Any, share_of: ShareOf, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._share_of = share_of
        # Keras would decay all variables at the full rate
        self._own_weight_decay, self.weight_decay = getattr(self, "weight_decay", None), None

    def build(self, variables: list[Any]) -> None:
        self._shares = tuple(self._share_of(variable) for variable in variables)
        super().build(variables)  # type: ignore[misc]  # of the Keras optimizer behind this class

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        from keras import ops

        optimizer: Any = self
        rate = learning_rate * self._shares[variable_index(optimizer, variable)]
        if self._own_weight_decay and has_weight_decay(optimizer, variable):
            optimizer.assign_sub(variable, variable * ops.cast(self._own_weight_decay * rate, variable.dtype))
        super().update_step(gradient, variable, rate)  # type: ignore[misc]  # as in build


@dataclass(frozen=True)
class Rates:
    """The blocks below the head, the lowest first, each with the ids of its variables; `decay` from one to the next."""

    decay: float
    blocks: tuple[frozenset[int], ...]

    def share_of(self, variable: Any) -> float:
        """The share of the learning rate for a variable of the network; 1 in the head."""
        for below, block in enumerate(reversed(self.blocks), start=1):
            if id(variable) in block:
                return float(self.decay**below)
        return 1.0

    @property
    def summary(self) -> str:
        """One line for people."""
        count, lowest = len(self.blocks), self.decay ** len(self.blocks)
        return (
            f"Layer-wise rates: the head at the full rate, {count} block{'s' if count != 1 else ''} below it at {self.decay:g} of "
            f"the one above, the lowest at {lowest:.3g}"
        )


def layer_rates(network: Any, decay: float, pattern: str = "") -> Rates:
    """Divide a network into its head and the blocks below.

    The head is what lies outside of the layer named `backbone`; in a network without one it is the last layer with weights.
    Blocks follow the order in which the network computes. With a `pattern` they are those it numbers: what comes before the
    first is a block of its own (the embedding of a Vision Transformer), what comes after the last belongs to the head (its
    last normalisation), as published. Without one they are the stages of equal resolution, each of which ends where height
    and width are halved: five in the usual networks of convolutions. Layers without maps are blocks one by one.

    Args:
        network: any network from images to logits.
        decay: the share of the rate from one block to the next.
        pattern: a regular expression with one group, the block's number, searched for in the paths of weights.

    Raises:
        UsageError: there is nothing below the head.
        ZooError: the pattern finds no block.
    """
    layers = _below_head(network)
    keys = _numbered(layers, pattern, network.name) if pattern else _stages(layers, network.input_shape[1])
    blocks = [
        frozenset(id(weight) for _, (layer, _) in group for weight in layer)
        for key, group in itertools.groupby(zip(keys, layers, strict=False), key=lambda each: each[0])
    ]
    if not blocks:
        raise UsageError(
            f"optimizer.layer_decay lowers the rate of what lies below the head, and {network.name} has no weights there. Leave "
            "it out."
        )
    return Rates(decay, tuple(blocks))


# the weights of a layer that no layer before it holds, and the height of its maps, 0 where it has none
_Layer = tuple[list[Any], int]


def _below_head(network: Any) -> list[_Layer]:
    """The layers with weights below the head, in the order in which they compute."""
    from zoo.nn.trace import trace

    backbone = next((layer for layer in network.layers if layer.name == BACKBONE), None)
    inside = None if backbone is None else {id(weight) for weight in backbone.weights}
    found: list[_Layer] = []
    seen: set[int] = set()
    for layer, output in trace(network):
        weights = [weight for weight in getattr(layer, "weights", ()) if id(weight) not in seen]
        seen.update(id(weight) for weight in weights)
        if inside is not None:
            weights = [weight for weight in weights if id(weight) in inside]
        if weights:
            shape = tuple(getattr(output, "shape", ()))
            found.append((weights, shape[1] if len(shape) == 4 and isinstance(shape[1], int) else 0))
    return found if backbone is not None else found[:-1]


def _stages(layers: list[_Layer], size: int) -> list[Hashable]:
    """How often the image's size is halved where each layer computes.

    A gate between the maps (squeeze-excite) has an output of 1×1: the largest maps from a layer on say where it stands.
    """
    sides = list(itertools.accumulate((side for _, side in reversed(layers)), max))[::-1]
    return [("maps", round(math.log2(size / side))) if side else ("layer", k) for k, side in enumerate(sides)]


def _numbered(layers: list[_Layer], pattern: str, name: str) -> list[Hashable]:
    """The block's number for each layer up to the last that has one."""
    matches = [
        next(filter(None, (re.search(pattern, weight.path) for weight in weights)), None) for weights, _ in layers
    ]
    numbers = [None if match is None else int(match.group(1)) for match in matches]
    known = [k for k, number in enumerate(numbers) if number is not None]
    if not known:
        raise ZooError(f"the pattern {pattern!r} of the model's `blocks` is in the path of no weight of {name}.")
    # what has no number between two blocks goes with the lower one
    groups: list[Hashable] = []
    for number in numbers[: known[-1] + 1]:
        groups.append(number if number is not None or not groups else groups[-1])
    return groups
