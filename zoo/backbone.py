"""BackboneModel: the template for networks that are a feature extractor with a pooled linear head."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Lt

from zoo.contracts import Model, option

if TYPE_CHECKING:
    import keras

    from zoo.tasks import Task


@dataclass(frozen=True)
class BackboneOptions:
    """Options of every backbone model."""

    pooling: Literal["avg", "max"] = option("avg", "how feature maps become one vector")
    dropout: Annotated[float, Ge(0), Lt(1)] = option(0.0, "share of pooled features dropped in training")


class BackboneModel(Model):
    """Pixels → scaling → three channels → backbone → pooling → dropout → linear head in float32.

    A subclass gives `info`, `scaling` and `backbone`. The backbone becomes one layer named `backbone`, so that
    freezing, loading weights and heat maps find it in every network.

    `scaling` is (scale, offset) from [0, 255] to what the backbone was trained on: numbers, or one per channel.
    """

    Options = BackboneOptions
    scaling: tuple[float | tuple[float, ...], float | tuple[float, ...]] = (1.0, 0.0)
    channels: int = 3

    @abstractmethod
    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        """Build the feature extractor: `(N, image_size, image_size, channels)` scaled pixels to `(N, h, w, C)` maps."""

    def build(self, task: Task, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        inputs = keras.Input((image_size, image_size, 1), name="image")
        backbone = self.backbone(image_size, weights, options)
        backbone.name = "backbone"
        x = backbone(self.preprocess(inputs))
        pool = keras.layers.GlobalAveragePooling2D if options.pooling == "avg" else keras.layers.GlobalMaxPooling2D
        x = pool(name="pool", dtype="float32")(x)
        if options.dropout:
            x = keras.layers.Dropout(options.dropout, name="dropout")(x)
        logits = keras.layers.Dense(task.outputs, dtype="float32", name="logits")(x)
        return keras.Model(inputs, logits, name=self.info.name.replace("-", "_"))

    def preprocess(self, pixels: Any) -> Any:
        """Scale `(N, H, W, 1)` pixels and repeat them to `channels`; in float32 whatever the network's precision."""
        import keras

        scale, offset = self.scaling
        layers: list[Any] = []
        if (scale, offset) != (1.0, 0.0):
            layers.append(keras.layers.Rescaling(scale, offset, name="scale", dtype="float32"))
        if self.channels > 1:
            repeat = keras.layers.Concatenate(name="channels", dtype="float32")
            per_channel = isinstance(scale, tuple) or isinstance(offset, tuple)
            # one number for all: scale the single channel first, it is a third of the work
            layers.insert(0 if per_channel else len(layers), lambda x: repeat([x] * self.channels))
        for layer in layers:
            pixels = layer(pixels)
        return pixels
