"""ConvNeXt (Liu et al. 2022): convolutional networks modelled on vision transformers."""

from __future__ import annotations

from zoo import NORMALISED, ApplicationModel, Model, ModelInfo, hookimpl


def convnext(size: str, parameters: int, summary: str) -> Model:
    info = ModelInfo(
        name=f"convnext{size.lower()}",
        summary=f"ConvNeXt {size}: {summary}",
        licence="Apache-2.0 (code), MIT (imagenet weights)",
        paper="Liu et al. 2022, A ConvNet for the 2020s, arXiv:2201.03545",
        parameters=parameters,
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"ConvNeXt{size}", info, NORMALISED)


@hookimpl
def zoo_models() -> list[Model]:
    return [
        convnext("Tiny", 27_820_897, "about the size of ResNet50"),
        convnext("Small", 49_455_457, "twice as deep in its third stage"),
        convnext("Base", 87_567_489, "a third wider than Small"),
        convnext("Large", 196_231_873, "twice as wide as Small, for a GPU"),
        convnext("XLarge", 348_150_017, "the widest, for a large GPU"),
    ]
