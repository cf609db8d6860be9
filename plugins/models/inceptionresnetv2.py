"""InceptionResNetV2 (Szegedy et al. 2017): the large network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.backbone import BackboneModel
from zoo.contracts import Model, ModelInfo
from zoo.hookspecs import hookimpl

if TYPE_CHECKING:
    import keras


class InceptionResNetV2(BackboneModel):
    """`keras.applications` InceptionResNetV2 on pixels scaled to [-1, 1]."""

    scaling = (1 / 127.5, -1.0)
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

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        shape = (image_size, image_size, self.channels)
        return keras.applications.InceptionResNetV2(include_top=False, weights=weights, input_shape=shape)


@hookimpl
def zoo_models() -> list[Model]:
    return [InceptionResNetV2()]
