"""The registered models by family: the lightest network of each plugin stands for its sisters in long tests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from zoo.core.registry import Entry, registry


def representatives(without: Collection[str] = ()) -> list[Entry]:
    """The model with the fewest parameters of each plugin, in order of registration."""
    lightest: dict[str, Entry] = {}
    for entry in registry().entries("model"):
        if entry.name in without:
            continue
        family = f"{entry.origin.distribution}:{entry.origin.plugin}"
        best = lightest.get(family)
        if best is None or entry.strategy.info.parameters < best.strategy.info.parameters:
            lightest[family] = entry
    return list(lightest.values())


def one_per_family(fast: Collection[str] = (), without: Collection[str] = ()) -> list[Any]:
    """Test parameters: a name for each family, slow but for those in `fast`."""
    names = [entry.name for entry in representatives(without)]
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]
