"""ResNet (He et al. 2016)."""

from __future__ import annotations

from zoo import CENTRED, ApplicationModel, Model, ModelInfo, hookimpl


def resnet(depth: int, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"resnet{depth}",
        summary=f"ResNet{depth}: {summary}",
        licence="Apache-2.0 (code), MIT (imagenet weights)",
        paper="He et al. 2016, Deep residual learning for image recognition, arXiv:1512.03385",
        parameters=parameters,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"ResNet{depth}", info, CENTRED)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        resnet(50, 23_589_761, "the usual reference"),
        resnet(101, 42_660_225, "deeper than ResNet50"),
        resnet(152, 58_372_993, "the deepest of the three"),
    ]
