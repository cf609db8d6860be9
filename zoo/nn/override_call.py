"""Temporarily replace how layers of a network compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any


@contextmanager
def override_call(layers: Iterable[Any], call: Callable[..., Any]) -> Iterator[int]:
    """Let layers compute `call(layer, inputs, …)` until the context ends; yields the number of layers.

    `call` becomes an attribute of each instance, so neither the layer's class nor what is saved of it changes. An override
    inside another one has precedence, and the outer one is back when it ends.
    """
    changed = list(layers)
    before = [vars(layer).get("call") for layer in changed]
    for layer in changed:
        layer.call = MethodType(call, layer)
    try:
        yield len(changed)
    finally:
        for layer, call_before in zip(changed, before, strict=True):
            if call_before is None:
                del layer.call
            else:
                layer.call = call_before
