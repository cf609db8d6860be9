"""EfficientNetV2 (Tan and Le 2021): the sizes B0 to B3 and S, M, L."""

from __future__ import annotations

from zoo import NORMALISED, ApplicationModel, Model, ModelInfo, Scaling, hookimpl

# the three of the paper were trained on x / 128 - 1, the smaller ones as EfficientNet was
PAPERS: Scaling = (1 / 128, -1.0)


def efficientnetv2(size: str, image_size: int, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"efficientnetv2{size.lower()}",
        summary=f"EfficientNetV2-{size}: {summary}",
        licence="Apache-2.0",
        paper="Tan and Le 2021, EfficientNetV2: smaller models and faster training, arXiv:2104.00298",
        parameters=parameters,
        image_size=image_size,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"EfficientNetV2{size}", info, NORMALISED if size.startswith("B") else PAPERS)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        efficientnetv2("B0", 224, 5_920_593, "trains faster than B0 of the first"),
        efficientnetv2("B1", 240, 6_932_405, "a step above B0"),
        efficientnetv2("B2", 260, 8_770_783, "two steps above B0"),
        efficientnetv2("B3", 300, 12_932_159, "three steps above B0"),
        efficientnetv2("S", 384, 20_332_641, "the small one of the paper"),
        efficientnetv2("M", 480, 53_151_669, "the medium one, for a GPU"),
        efficientnetv2("L", 480, 117_748_129, "the large one, for a GPU"),
    ]
