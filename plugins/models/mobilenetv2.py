"""MobileNetV2 (Sandler et al. 2018)."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


@hookimpl
def zoo_models() -> list[Model]:
    info = ModelInfo(
        name="mobilenetv2",
        summary="MobileNetV2: inverted residuals, fast on a CPU",
        licence="Apache-2.0",
        paper="Sandler et al. 2018, MobileNetV2: inverted residuals and linear bottlenecks, arXiv:1801.04381",
        parameters=2_259_265,
        pretrained=("imagenet",),
    )
    return [ApplicationModel("MobileNetV2", info, SYMMETRIC)]
