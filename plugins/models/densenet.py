"""DenseNet (Huang et al. 2017); DenseNet121 is the network of CheXNet (Rajpurkar et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.backbone import BackboneModel
from zoo.contracts import Model, ModelInfo
from zoo.hookspecs import hookimpl

if TYPE_CHECKING:
    import keras

# Mean and standard deviation of ImageNet's red, green and blue, on [0, 1]: what the published weights were trained on
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class DenseNet(BackboneModel):
    """`keras.applications` DenseNet on pixels normalised per channel with ImageNet's mean and deviation.

    Args:
        depth: 121, 169 or 201, the number of layers.
        parameters: all weights with one output.
        summary: the line of `zoo list`.
    """

    scaling = (
        tuple(1 / (255 * std) for std in IMAGENET_STD),
        tuple(-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)),
    )

    def __init__(self, depth: int, parameters: int, summary: str) -> None:
        self._depth = depth
        self.info = ModelInfo(
            name=f"densenet{depth}",
            summary=summary,
            licence="Apache-2.0 (code), BSD-3-Clause (imagenet weights)",
            paper="Huang et al. 2017, Densely connected convolutional networks, arXiv:1608.06993",
            parameters=parameters,
            min_image_size=32,
            pretrained=("imagenet",),
        )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        network = getattr(keras.applications, f"DenseNet{self._depth}")
        return network(include_top=False, weights=weights, input_shape=(image_size, image_size, self.channels))


@hookimpl
def zoo_models() -> list[Model]:
    return [
        DenseNet(121, 7_038_529, "DenseNet121: the usual choice for chest X-rays (CheXNet)"),
        DenseNet(169, 12_644_545, "DenseNet169: deeper than DenseNet121"),
        DenseNet(201, 18_323_905, "DenseNet201: the deepest of the three"),
    ]
