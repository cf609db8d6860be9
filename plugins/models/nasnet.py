"""NASNet-A (Zoph et al. 2018): cells found by architecture search."""

from __future__ import annotations

from zoo import SYMMETRIC, ApplicationModel, Model, ModelInfo, hookimpl


def nasnet(size: str, image_size: int, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"nasnet{size.lower()}",
        summary=f"NASNet-A {size}: {summary}",
        licence="Apache-2.0",
        paper="Zoph et al. 2018, Learning transferable architectures for scalable image recognition, arXiv:1707.07012",
        parameters=parameters,
        image_size=image_size,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"NASNet{size}", info, SYMMETRIC)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        nasnet("Mobile", 224, 4_270_773, "few weights, many small layers"),
        nasnet("Large", 331, 84_920_851, "large and slow, for a GPU"),
    ]
