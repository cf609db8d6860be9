"""A finished network: it is evaluated and compared as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoo import Model, ModelInfo, Task, option

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class MeanGrayOptions:
    middle: float = option(128.0, "gray level at which the probability is 1/2")


class MeanGray(Model):
    info = ModelInfo(
        name="mean-gray",
        summary="bright images are abnormal: a baseline without training",
        tasks=("binary",),
        parameters=2,
        image_size=64,
        min_image_size=16,
        trained=True,
    )
    Options = MeanGrayOptions

    def build(self, task: Task, image_size: int, weights: str | None, options: MeanGrayOptions) -> keras.Model:
        import keras

        constant = keras.initializers.Constant
        inputs = keras.Input((image_size, image_size, 1))
        gray = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1.0, dtype="float32")(inputs))
        logits = keras.layers.Dense(
            task.outputs,
            kernel_initializer=constant(1 / 32),
            bias_initializer=constant(-options.middle / 32),
            trainable=False,
            dtype="float32",
        )(gray)
        return keras.Model(inputs, logits)
