"""ResNet with pre-activation (He et al. 2016b), known as ResNetV2."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


def resnetv2(depth: int, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"resnet{depth}v2",
        summary=f"ResNet{depth}V2: {summary}",
        licence="Apache-2.0 (code); Keras names no licence of the imagenet weights",
        paper="He et al. 2016, Identity mappings in deep residual networks, arXiv:1603.05027",
        parameters=parameters,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"ResNet{depth}V2", info, SYMMETRIC)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        resnetv2(50, 23_566_849, "normalisation before each convolution"),
        resnetv2(101, 42_628_609, "deeper than ResNet50V2"),
        resnetv2(152, 58_333_697, "the deepest of the three"),
    ]
