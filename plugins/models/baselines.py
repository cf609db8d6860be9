"""The two networks that anything better has to beat: dense layers on the pixels, and a plain stack of convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le, Lt

from zoo import SYMMETRIC, BackboneModel, BackboneOptions, Model, ModelInfo, Task, hookimpl, option

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class DenseBaselineOptions:
    """Options of `dense-baseline`."""

    width: Annotated[int, Ge(1)] = option(256, "units of the first dense layer; each later one has half as many")
    depth: Annotated[int, Ge(1), Le(5)] = option(2, "dense layers before the head")
    dropout: Annotated[float, Ge(0), Lt(1)] = option(0.2, "share of units dropped behind each dense layer in training")


class DenseBaseline(Model):
    """The image as one long vector, dense layers with ReLU and dropout, and a linear head. Pixels scaled to [-1, 1].

    It knows nothing of neighbouring pixels: what a network of convolutions gains over it is what the image is worth beyond
    brightness and posture. Its weights belong to one image size. There are no feature maps, so a heat map of it is made by
    occlusion alone.
    """

    Options = DenseBaselineOptions
    info = ModelInfo(
        name="dense-baseline",
        summary="dense layers on the pixels: what a network without convolutions reaches",
        licence="Apache-2.0",
        parameters=1_081_857,
        image_size=64,
        min_image_size=16,
    )

    def build(self, task: Task, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        inputs = keras.Input((image_size, image_size, 1), name="image")
        scaled = keras.layers.Rescaling(1 / 127.5, -1.0, name="scale", dtype="float32")(inputs)
        images = keras.Input((image_size, image_size, 1))
        x = keras.layers.Flatten(name="flat")(images)
        for layer in range(options.depth):
            width = max(1, options.width // 2**layer)
            x = keras.layers.Dense(width, "relu", kernel_initializer="he_normal", name=f"dense{layer + 1}")(x)
            if options.dropout:
                x = keras.layers.Dropout(options.dropout, name=f"dropout{layer + 1}")(x)
        features = keras.Model(images, x, name="backbone")(scaled)
        logits = keras.layers.Dense(task.outputs, dtype="float32", name="logits")(features)
        return keras.Model(inputs, logits, name="dense_baseline")


@dataclass(frozen=True)
class CNNBaselineOptions(BackboneOptions):
    """Options of `cnn-baseline`."""

    dropout: Annotated[float, Ge(0), Lt(1)] = option(0.3, "share of pooled features dropped in training")
    width: Annotated[int, Ge(1)] = option(
        32, "filters of the first block; each later one has twice as many, at most 256"
    )
    depth: Annotated[int, Ge(1), Le(6)] = option(4, "blocks; each halves the resolution")


class CNNBaseline(BackboneModel):
    """Blocks of 3×3 convolution, batch normalisation, ReLU and 2×2 maximum; then average pooling and dropout.

    One input channel, pixels scaled to [-1, 1].
    """

    Options = CNNBaselineOptions
    scaling = SYMMETRIC
    channels = 1
    info = ModelInfo(
        name="cnn-baseline",
        summary="four convolutions, average pooling and dropout: the plain CNN to start from",
        licence="Apache-2.0",
        parameters=389_537,
        image_size=128,
        min_image_size=16,
    )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        x = inputs = keras.Input((image_size, image_size, self.channels))
        for block in range(options.depth):
            name, filters = f"block{block + 1}", min(options.width * 2**block, max(options.width, 256))
            x = keras.layers.Conv2D(
                filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
            )(x)
            # a run on a few thousand small images has a few hundred steps: momentum .99 would lag behind
            x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
            x = keras.layers.MaxPooling2D(padding="same", name=f"{name}_pool")(x)
        return keras.Model(inputs, x)


@hookimpl
def zoo_models() -> list[Model]:
    return [DenseBaseline(), CNNBaseline()]
