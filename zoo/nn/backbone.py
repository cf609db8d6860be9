"""BackboneModel: the template for networks that are a feature extractor with a pooled linear head; ApplicationModel: one
that takes its feature extractor from keras.applications."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt

from zoo.core.contracts import Model, option
from zoo.nn import pooling

if TYPE_CHECKING:
    import keras

    from zoo.core.contracts import ModelInfo
    from zoo.core.tasks import Task


# (scale, offset) from one channel or three
Scaling = tuple[float | tuple[float, ...], float | tuple[float, ...]]

# What published weights were trained on, from [0, 255]; the names of Keras' `preprocess_input` in brackets.
SYMMETRIC: Scaling = (1 / 127.5, -1.0)  # [-1, 1] ("tf")
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue on [0, 1]
NORMALISED: Scaling = (  # mean 0 and deviation 1 in each channel ("torch")
    tuple(1 / (255 * deviation) for deviation in _DEVIATION),
    tuple(-mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
)
CENTRED: Scaling = (1.0, (-103.939, -116.779, -123.68))  # less the mean of each channel, blue first ("caffe")


@dataclass(frozen=True)
class BackboneOptions:
    """Options of every backbone model."""

    pooling: Literal["avg", "max", "lse", "attention"] = option("avg", "how feature maps become one vector")
    sharpness: Annotated[float, Gt(0)] = option(
        10.0, "r of lse pooling: small is near the mean, large near the maximum"
    )
    hidden: Annotated[int, Ge(0)] = option(0, "units of a dense layer before the logits; 0: none")
    dropout: Annotated[float, Ge(0), Lt(1)] = option(0.0, "share of features dropped in training")


class BackboneModel(Model):
    """Pixels → scaling → three channels → backbone → pooling → dropout → linear head in float32.

    A subclass gives `info`, `scaling` and `backbone`. The backbone becomes one layer named `backbone`, so that
    freezing, loading weights and heat maps find it in every network.

    `scaling` is (scale, offset) from [0, 255] to what the backbone was trained on: numbers, or one per channel.
    """

    Options = BackboneOptions
    scaling: Scaling = (1.0, 0.0)
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
        x = _pool(x, options)
        if options.hidden:
            x = keras.layers.Dense(options.hidden, activation="relu", dtype="float32", name="hidden")(x)
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


def _pool(maps: Any, options: BackboneOptions) -> Any:
    if options.pooling == "lse":
        return pooling.log_sum_exp(maps, options.sharpness)
    pool = {"avg": pooling.average, "max": pooling.maximum, "attention": pooling.attention}[options.pooling]
    return pool(maps)


class ApplicationModel(BackboneModel):
    """A network of `keras.applications` by its name there, without its own pixel scaling where it has one.

    Args:
        application: the function's name, such as "ResNet50".
        info: the record; name "imagenet" in `pretrained` where Keras publishes weights without the top.
        scaling: what the published weights were trained on, one of the constants above or a pair of its own. It comes
            before the backbone whatever the weights, so that networks of random and of published ones compute alike.
        before: the layer with which the backbone begins, where the network's own scaling cannot be switched off.
    """

    def __init__(self, application: str, info: ModelInfo, scaling: Scaling, before: str = "") -> None:
        self.application, self.info, self.scaling, self.before = application, info, scaling, before

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        network = application(self.application, (image_size, image_size, self.channels), weights)
        if self.before:
            network = keras.Model(network.get_layer(self.before).input, network.output, name=network.name)
        return network


def application(name: str, shape: tuple[int, int, int], weights: str | None, **arguments: Any) -> keras.Model:
    """Build a network of `keras.applications` without its head and, where that can be switched off, its pixel scaling.

    Args:
        name: the function's name, such as "ResNet50".
        shape: height, width and channels of the images.
        weights: "imagenet" or None.
        **arguments: more that the function takes.
    """
    import inspect
    import warnings

    import keras

    build = getattr(keras.applications, name)
    if "include_preprocessing" in inspect.signature(build).parameters:
        arguments["include_preprocessing"] = False
    with warnings.catch_warnings():
        # the backbone is convolutional: weights published for 224 pixels serve every size
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
        return build(include_top=False, weights=weights, input_shape=shape, **arguments)
