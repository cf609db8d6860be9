"""The networks inside an ensemble's network."""

from __future__ import annotations

from typing import Any

BACKBONE = "backbone"  # the name of the feature extractor in every network
PREFIX = "member_"  # of the names of an ensemble's networks inside its backbone


def members(network: Any) -> list[Any]:
    """The networks that an ensemble's network is made of; empty for any other network."""
    import keras

    backbone = next((each for each in network.layers if each.name == BACKBONE), None)
    inside = getattr(backbone, "layers", ())
    return [each for each in inside if each.name.startswith(PREFIX) and isinstance(each, keras.Model)]
