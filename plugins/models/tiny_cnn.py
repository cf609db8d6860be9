"""A small residual network for small images (28 to 64 pixels), trained from scratch in minutes on a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from zoo import SYMMETRIC, BackboneModel, BackboneOptions, Model, ModelInfo, hookimpl, option
from zoo.nn.blocks import conv, norm_relu

if TYPE_CHECKING:
    import keras

STAGES = 3


@dataclass(frozen=True)
class TinyCNNOptions(BackboneOptions):
    """Options of `tiny-cnn`."""

    width: Annotated[int, Ge(4)] = option(32, "filters of the first stage; each later stage has twice as many")
    depth: Annotated[int, Ge(1)] = option(2, "residual blocks per stage")


class TinyCNN(BackboneModel):
    """Three stages of pre-activation residual blocks (He et al. 2016b) at full, half and quarter resolution.

    The stem keeps the resolution, which an image of 28 pixels cannot spare. One input channel, pixels scaled to [-1, 1].
    """

    Options = TinyCNNOptions
    scaling = SYMMETRIC
    channels = 1
    info = ModelInfo(
        name="tiny-cnn",
        summary="small residual network for images of 28 to 64 pixels, trained from scratch",
        licence="Apache-2.0",
        paper="He et al. 2016, Identity mappings in deep residual networks, arXiv:1603.05027",
        parameters=696_353,
        image_size=28,
        min_image_size=16,
    )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        inputs = keras.Input((image_size, image_size, self.channels))
        x = conv(inputs, options.width, 3, 1, "stem")
        for stage in range(STAGES):
            for block in range(options.depth):
                stride = 2 if stage and block == 0 else 1
                x = _residual(x, options.width * 2**stage, stride, f"stage{stage + 1}_block{block + 1}")
        return keras.Model(inputs, norm_relu(x, "out"))


def _residual(x: Any, filters: int, stride: int, name: str) -> Any:
    """BN → ReLU → 3×3 → BN → ReLU → 3×3, plus the input, projected from the first activation where shapes differ."""
    import keras

    active = norm_relu(x, f"{name}_1")
    if stride != 1 or x.shape[-1] != filters:
        # average first, so that the strided 1×1 filter does not skip three quarters of the pixels (He et al. 2019)
        pooled = keras.layers.AveragePooling2D(stride, padding="same")(active) if stride != 1 else active
        x = conv(pooled, filters, 1, 1, f"{name}_shortcut")
    active = norm_relu(conv(active, filters, 3, stride, f"{name}_conv1"), f"{name}_2")
    return keras.layers.Add()([x, conv(active, filters, 3, 1, f"{name}_conv2")])


@hookimpl
def zoo_models() -> list[Model]:
    return [TinyCNN()]
