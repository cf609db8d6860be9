"""InceptionResNetV2 (Szegedy et al. 2017): the large network."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


@hookimpl
def zoo_models() -> list[Model]:
    info = ModelInfo(
        name="inceptionresnetv2",
        summary="InceptionResNetV2: large and slow, for a GPU",
        licence="Apache-2.0",
        paper="Szegedy et al. 2017, Inception-v4, Inception-ResNet and residual connections, arXiv:1602.07261",
        parameters=54_338_273,
        image_size=299,
        min_image_size=75,
        pretrained=("imagenet",),
    )
    return [ApplicationModel("InceptionResNetV2", info, SYMMETRIC)]
