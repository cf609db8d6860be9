"""An example plugin for zoo: something of each kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import click
from annotated_types import Ge, Lt

from zoo import (
    Augmenter,
    AugmentFunction,
    BackboneModel,
    BackboneOptions,
    Dataset,
    Info,
    LabelCounts,
    Loss,
    LossFunction,
    Model,
    ModelInfo,
    Recipe,
    Task,
    Tracker,
    hookimpl,
    option,
)

from .command import widths
from .dataset import TinyTable
from .finished import MeanGray
from .recipe import RECIPE
from .tracker import Lines

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class SmallCNNOptions(BackboneOptions):
    width: Annotated[int, Ge(1)] = option(16, "channels of the first block; each further block doubles them")


class SmallCNN(BackboneModel):
    info = ModelInfo(
        name="small-cnn",
        summary="three convolution blocks: an example that trains in seconds",
        licence="Apache-2.0",
        parameters=23_697,
        image_size=64,
        min_image_size=16,
    )
    Options = SmallCNNOptions
    scaling = (1 / 127.5, -1.0)  # pixels in [0, 255] become [-1, 1]
    channels = 1

    def backbone(self, image_size: int, weights: str | None, options: SmallCNNOptions) -> keras.Model:
        import keras

        inputs = keras.Input((image_size, image_size, self.channels))
        x = inputs
        for block in range(3):
            x = keras.layers.Conv2D(options.width * 2**block, 3, strides=2, padding="same", use_bias=False)(x)
            x = keras.layers.BatchNormalization(momentum=0.9)(x)
            x = keras.layers.ReLU()(x)
        return keras.Model(inputs, x)


@dataclass(frozen=True)
class SmoothBCEOptions:
    smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.1, "how far labels are moved towards 0.5")


class SmoothBCE(Loss):
    info = Info(
        name="smooth-bce",
        summary="binary cross-entropy with smoothed labels",
        tasks=("binary", "multilabel"),
        licence="Apache-2.0",
        paper="Szegedy et al. 2016, https://arxiv.org/abs/1512.00567",
    )
    Options = SmoothBCEOptions

    def build(self, task: Task, counts: LabelCounts | None, options: SmoothBCEOptions) -> LossFunction:
        from keras import ops

        def loss(labels: Any, logits: Any) -> Any:
            labels, logits = ops.cast(labels, "float32"), ops.cast(logits, "float32")
            target = labels * (1 - options.smoothing) + options.smoothing / 2
            return ops.softplus(logits) - target * logits  # computed from logits, so that it is always finite

        return loss


@dataclass(frozen=True)
class ShiftOptions:
    share: Annotated[float, Ge(0), Lt(1)] = option(0.1, "largest shift in each direction, as a share of the height")


class Shift(Augmenter):
    info = Info(name="shift", summary="moves each image up or down by whole pixels", licence="Apache-2.0")
    Options = ShiftOptions

    def build(self, image_size: int, options: ShiftOptions) -> AugmentFunction:
        import keras
        from keras import ops

        most = int(image_size * options.share)

        def shift(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            rows = keras.random.randint((ops.shape(images)[0], 1), -most, most + 1, dtype="int32", seed=seed)
            wanted = ops.clip(ops.arange(image_size, dtype="int32")[None] + rows, 0, image_size - 1)
            return ops.take_along_axis(images, wanted[:, :, None, None], axis=1), labels

        return shift


class GatedCNN(SmallCNN):
    info = ModelInfo(
        name="gated-cnn",
        summary="small-cnn with a layer of its own, and with weights that find edges",
        licence="Apache-2.0",
        parameters=23_761,
        image_size=64,
        min_image_size=16,
        pretrained=("edges",),
    )

    def backbone(self, image_size: int, weights: str | None, options: SmallCNNOptions) -> keras.Model:
        import keras
        import numpy as np

        from .layers import ChannelGate

        network = super().backbone(image_size, weights, options)
        if weights == "edges":  # of weights that are published: keras.utils.get_file(URL, file_hash=SHA256)
            edge = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "float32")[..., None, None] / 8
            network.layers[1].set_weights([np.repeat(edge, options.width, axis=-1)])
        return keras.Model(network.inputs, ChannelGate()(network.outputs[0]))


@hookimpl
def zoo_models() -> list[Model]:
    return [SmallCNN(), GatedCNN(), MeanGray()]


@hookimpl
def zoo_losses() -> list[Loss]:
    return [SmoothBCE()]


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [Shift()]


@hookimpl
def zoo_datasets() -> list[Dataset]:
    return [TinyTable()]


@hookimpl
def zoo_recipes() -> list[Recipe]:
    return [RECIPE]


@hookimpl
def zoo_trackers() -> list[Tracker]:
    return [Lines()]


@hookimpl
def zoo_commands() -> list[click.Command]:
    return [widths]
