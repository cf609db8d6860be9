"""EfficientNet B0 to B7 (Tan and Le 2019)."""

from __future__ import annotations

from zoo import NORMALISED, ApplicationModel, Model, ModelInfo, hookimpl

# published size of the images and all weights with one output, B0 first
SIZES = (224, 240, 260, 300, 380, 456, 528, 600)
PARAMETERS = (4_050_845, 6_576_513, 7_769_971, 10_785_065, 17_675_609, 28_515_569, 40_962_441, 64_100_241)


def efficientnet(step: int) -> Model:
    """The network of one compound scale on pixels normalised with ImageNet's mean and deviation.

    Keras' own network normalises inside: with the means and *deviations* in its weights file, whose square roots it takes
    for deviations, and, for the published weights alone, once more by these roots. Both together are the ordinary
    normalisation, which here stands before the backbone whatever its weights, so that a network started from a run
    computes as the run does. The backbone begins behind Keras' last layer of that kind.
    """
    info = ModelInfo(
        name=f"efficientnetb{step}",
        summary=f"EfficientNet-B{step}: "
        + (f"scaled up from B0, step {step} of 7" if step else "the base of the family"),
        licence="Apache-2.0",
        paper="Tan and Le 2019, EfficientNet: rethinking model scaling, arXiv:1905.11946",
        parameters=PARAMETERS[step],
        image_size=SIZES[step],
        pretrained=("imagenet",),
    )
    return ApplicationModel(f"EfficientNetB{step}", info, NORMALISED, before="stem_conv_pad")


@hookimpl
def zoo_models() -> list[Model]:
    return [efficientnet(step) for step in range(len(SIZES))]
