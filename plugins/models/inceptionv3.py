"""InceptionV3 (Szegedy et al. 2016)."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


@hookimpl
def zoo_models() -> list[Model]:
    info = ModelInfo(
        name="inceptionv3",
        summary="InceptionV3: filters of several sizes side by side",
        licence="Apache-2.0",
        paper="Szegedy et al. 2016, Rethinking the Inception architecture, arXiv:1512.00567",
        parameters=21_804_833,
        image_size=299,
        min_image_size=75,
        pretrained=("imagenet",),
    )
    return [ApplicationModel("InceptionV3", info, SYMMETRIC)]
