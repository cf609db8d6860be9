"""MobileNet (Howard et al. 2017)."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


@hookimpl
def zoo_models() -> list[Model]:
    info = ModelInfo(
        name="mobilenet",
        summary="MobileNet, the first: separable convolutions, fast on a CPU",
        licence="Apache-2.0",
        paper="Howard et al. 2017, MobileNets, arXiv:1704.04861",
        parameters=3_229_889,
        pretrained=("imagenet",),
    )
    return [ApplicationModel("MobileNet", info, SYMMETRIC)]
