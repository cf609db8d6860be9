"""A DenseNet without bottlenecks, of 63 layers: the small network of many chest X-ray notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Le, Len

from zoo import SYMMETRIC, BackboneModel, BackboneOptions, Model, ModelInfo, hookimpl, option
from zoo.nn.blocks import conv, norm_relu

if TYPE_CHECKING:
    import keras

BLOCKS = (6, 12, 24, 16)

EPSILON = 1e-5  # as in the larger DenseNets


@dataclass(frozen=True)
class SimplifiedDenseNetOptions(BackboneOptions):
    """Options of `simplified-densenet`."""

    growth: Annotated[int, Ge(1)] = option(12, "feature maps that each layer adds")
    blocks: Annotated[tuple[Annotated[int, Ge(1)], ...], Len(1, 5)] = option(BLOCKS, "layers of each dense block")
    compression: Annotated[float, Gt(0), Le(1)] = option(0.5, "share of the maps that a transition keeps")


class SimplifiedDenseNet(BackboneModel):
    """DenseNet-121 without its 1×1 bottlenecks: each layer of a dense block is one 3×3 convolution (DenseNet-C).

    The dense blocks keep the (6, 12, 24, 16) layers of DenseNet-121. Layers with weights, batch normalisation not counted as
    is usual: 1 stem + 58 in the blocks + 3 transitions + 1 head = 63, where DenseNet-121 has 1 + 2 × 58 + 3 + 1. The
    growth rate is 12 and the stem has twice as many maps, as the paper's networks without bottlenecks have. One input
    channel, pixels scaled to [-1, 1].
    """

    Options = SimplifiedDenseNetOptions
    scaling = SYMMETRIC
    channels = 1
    info = ModelInfo(
        name="simplified-densenet",
        summary="DenseNet of 63 layers without bottlenecks, trained from scratch",
        licence="Apache-2.0",
        paper="Huang et al. 2017, Densely connected convolutional networks, arXiv:1608.06993",
        parameters=1_426_489,
        min_image_size=32,
    )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        inputs = keras.Input((image_size, image_size, self.channels))
        x = conv(inputs, 2 * options.growth, 7, 2, "stem")
        x = keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(norm_relu(x, "stem", EPSILON))
        for block, layers in enumerate(options.blocks, start=1):
            for layer in range(layers):
                name = f"dense{block}_layer{layer + 1}"
                new = conv(norm_relu(x, name, EPSILON), options.growth, 3, 1, f"{name}_conv")
                x = keras.layers.Concatenate(name=f"{name}_concat")([x, new])
            if block < len(options.blocks):
                name, kept = f"transition{block}", max(1, int(x.shape[-1] * options.compression))
                x = conv(norm_relu(x, name, EPSILON), kept, 1, 1, f"{name}_conv")
                x = keras.layers.AveragePooling2D(2, name=f"{name}_pool", padding="same")(x)
        return keras.Model(inputs, norm_relu(x, "out", EPSILON))


@hookimpl
def zoo_models() -> list[Model]:
    return [SimplifiedDenseNet()]
