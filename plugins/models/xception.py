"""Xception (Chollet 2017)."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


@hookimpl
def zoo_models() -> list[Model]:
    info = ModelInfo(
        name="xception",
        summary="Xception: separable convolutions throughout",
        licence="Apache-2.0 (code), MIT (imagenet weights)",
        paper="Chollet 2017, Xception: deep learning with depthwise separable convolutions, arXiv:1610.02357",
        parameters=20_863_529,
        image_size=299,
        min_image_size=71,
        pretrained=("imagenet",),
    )
    return [ApplicationModel("Xception", info, SYMMETRIC)]
