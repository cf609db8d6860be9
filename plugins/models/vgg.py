"""VGG (Simonyan and Zisserman 2015)."""

from __future__ import annotations

from zoo import CENTRED, ApplicationModel, Model, ModelInfo, hookimpl


def vgg(depth: int, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"vgg{depth}",
        summary=f"VGG{depth}: {summary}",
        licence="Apache-2.0 (code), CC-BY-4.0 (imagenet weights)",
        paper="Simonyan and Zisserman 2015, Very deep convolutional networks, arXiv:1409.1556",
        parameters=parameters,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"VGG{depth}", info, CENTRED)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        vgg(16, 14_715_201, "plain convolutions without normalization, slow"),
        vgg(19, 20_024_897, "three layers more than VGG16"),
    ]
