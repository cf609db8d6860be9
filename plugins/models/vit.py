"""Vision Transformer (Dosovitskiy et al. 2021), written in stock Keras layers: a saved network loads with Keras alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Lt

from zoo import SYMMETRIC, BackboneModel, BackboneOptions, Model, ModelInfo, hookimpl, option

if TYPE_CHECKING:
    import keras

PATCH = 16  # pixels along the side of a patch
DEPTH = 12  # blocks
RATIO = 4  # width of the layer inside an MLP, in widths of the network
EPSILON = 1e-6  # of every layer normalisation
GRID = 14  # side of the table of position embeddings: that of the published 224 pixels


@dataclass(frozen=True)
class ViTOptions(BackboneOptions):
    """Options of the Vision Transformers."""

    class_token: bool = option(
        False, "read the answer off a class token, as first published, instead of pooling patches"
    )
    drop_path: Annotated[float, Ge(0), Lt(1)] = option(
        0.1, "share of images for which the last block is skipped in training; falls linearly to 0 at the first"
    )


class VisionTransformer(BackboneModel):
    """Patches of 16 pixels → tokens with learned positions → 12 pre-norm blocks → layer normalisation → maps.

    The tokens of the patches come out as maps `(N, h, w, width)`, one cell per patch, which the head pools (Beyer et al.
    2022, arXiv:2205.01580, find the mean no worse than a class token) and of which heat maps are made. With `class_token` the
    output is that token, `(N, 1, 1, width)`, and heat maps are made of the maps that the last attention reads.

    Any image size from 32 pixels on: one that is not a multiple of 16 is enlarged to the next, so that the patches lie over
    the whole image and over nothing else. Positions are learned on a grid of 14×14, that of 224 pixels, and interpolated to
    the patches there are; so weights trained at one size load at any other.

    Args:
        name: of the model.
        width: of every token.
        heads: of the attention, 64 channels each in the published sizes.
        parameters: all weights with one output.
        summary: the line of `zoo list`.
    """

    Options = ViTOptions
    scaling = SYMMETRIC
    blocks = r"\bblock(\d+)_"

    def __init__(self, name: str, width: int, heads: int, parameters: int, summary: str) -> None:
        self._width, self._heads = width, heads
        self.info = ModelInfo(
            name=name,
            summary=summary,
            licence="Apache-2.0",
            paper="Dosovitskiy et al. 2021, An image is worth 16×16 words, arXiv:2010.11929; sizes tiny and small: "
            "Touvron et al. 2021, DeiT, arXiv:2012.12877",
            parameters=parameters,
            min_image_size=2 * PATCH,  # of a single patch attention learns nothing
        )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        side = -(-image_size // PATCH)
        x = inputs = keras.Input((image_size, image_size, self.channels))
        if image_size % PATCH:
            x = keras.layers.Resizing(side * PATCH, side * PATCH, name="whole_patches", dtype="float32")(x)
        x = keras.layers.Conv2D(self._width, PATCH, PATCH, kernel_initializer=_normal(), name="patches")(x)
        x = keras.layers.Reshape((side * side, self._width), name="tokens")(x)
        one = _one(inputs)
        if options.class_token:
            token = _learned(one, 1, self._width, "class_token")
            x = keras.layers.Concatenate(axis=1, name="with_class_token")([token, x])
        x = keras.layers.Add(name="placed")([x, self._positions(one, side, options.class_token)])
        for block in range(DEPTH):
            drop_path = options.drop_path * block / (DEPTH - 1)
            # what the last attention reads of the patches is the last that counts for the class token
            maps = side if options.class_token and block == DEPTH - 1 else 0
            x = self._block(x, f"block{block + 1}", drop_path, maps)
        x = _norm(x, "norm")
        if options.class_token:
            x = keras.layers.Cropping1D((0, side * side), name="answer")(x)
            return keras.Model(inputs, keras.layers.Reshape((1, 1, self._width), name="answer_map")(x))
        return keras.Model(inputs, keras.layers.Reshape((side, side, self._width), name="maps")(x))

    def _positions(self, one: Any, side: int, class_token: bool) -> Any:
        """Learned positions `(N, side², width)`, with that of the class token in front where there is one."""
        import keras

        positions = _learned(one, GRID * GRID, self._width, "positions")
        if side != GRID:
            positions = keras.layers.Reshape((GRID, GRID, self._width), name="position_grid")(positions)
            positions = keras.layers.Resizing(side, side, name="position_resizing")(positions)
            positions = keras.layers.Reshape((side * side, self._width), name="position_tokens")(positions)
        if class_token:
            first = _learned(one, 1, self._width, "class_position")
            positions = keras.layers.Concatenate(axis=1, name="all_positions")([first, positions])
        return positions

    def _block(self, x: Any, name: str, drop_path: float, maps: int) -> Any:
        """Attention and MLP, each behind a layer normalisation and beside a shortcut."""
        import keras

        normed = _norm(x, f"{name}_norm1")
        if maps:
            normed = _through_maps(normed, maps, f"{name}_maps")
        attention = keras.layers.MultiHeadAttention(
            self._heads, self._width // self._heads, kernel_initializer=_normal(), name=f"{name}_attention"
        )
        x = keras.layers.Add(name=f"{name}_add1")(
            [x, _drop_path(attention(normed, normed), drop_path, f"{name}_drop1")]
        )
        y = _norm(x, f"{name}_norm2")
        y = keras.layers.Dense(self._width * RATIO, "gelu", kernel_initializer=_normal(), name=f"{name}_mlp1")(y)
        y = keras.layers.Dense(self._width, kernel_initializer=_normal(), name=f"{name}_mlp2")(y)
        return keras.layers.Add(name=f"{name}_add2")([x, _drop_path(y, drop_path, f"{name}_drop2")])


def _normal() -> Any:
    """A new one for each layer: Keras initialisers are stateless, one used twice gives the same weights twice."""
    import keras

    return keras.initializers.TruncatedNormal(stddev=0.02)


def _norm(x: Any, name: str) -> Any:
    import keras

    return keras.layers.LayerNormalization(epsilon=EPSILON, name=name)(x)


def _drop_path(x: Any, rate: float, name: str) -> Any:
    """Stochastic depth (Huang et al. 2016, arXiv:1603.09382): a branch is left out for an image as a whole."""
    import keras

    return keras.layers.Dropout(rate, noise_shape=(None, 1, 1), name=name)(x) if rate else x


def _one(images: Any) -> Any:
    """The number 1 for each image, `(N, 1)`, from which `_learned` makes tokens."""
    import keras

    x = keras.layers.Reshape((-1, 1), name="pixels")(images)
    x = keras.layers.GlobalAveragePooling1D(name="mean", dtype="float32")(x)
    return keras.layers.Rescaling(0.0, 1.0, name="one", dtype="float32")(x)


def _learned(one: Any, count: int, width: int, name: str) -> Any:
    """`count` learned tokens `(N, count, width)`: Dense without a bias, given 1, returns its kernel.

    Keras has no layer that simply holds weights, and a class of our own would be missing where the network is loaded.
    """
    import keras

    dense = keras.layers.Dense(count * width, use_bias=False, kernel_initializer=_normal(), name=name)
    return keras.layers.Reshape((count, width), name=f"{name}_tokens")(dense(one))


def _through_maps(x: Any, side: int, name: str) -> Any:
    """The same tokens, class token first; on the way those of the patches lie as maps, for heat maps to find them."""
    import keras

    token = keras.layers.Cropping1D((0, side * side), name=f"{name}_class_token")(x)
    patches = keras.layers.Cropping1D((1, 0), name=f"{name}_patches")(x)
    maps = keras.layers.Reshape((side, side, x.shape[-1]), name=name)(patches)
    patches = keras.layers.Reshape((side * side, x.shape[-1]), name=f"{name}_tokens")(maps)
    return keras.layers.Concatenate(axis=1, name=f"{name}_joined")([token, patches])


@hookimpl
def zoo_models() -> list[Model]:
    return [
        VisionTransformer("vit-tiny", 192, 3, 5_524_225, "ViT-Ti/16: the smallest Vision Transformer"),
        VisionTransformer("vit-small", 384, 6, 21_665_281, "ViT-S/16: the middle Vision Transformer"),
        VisionTransformer(
            "vit-base",
            768,
            12,
            85_797_889,
            "ViT-B/16: the usual Vision Transformer, better pretrained than from scratch",
        ),
    ]
