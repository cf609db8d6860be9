"""EfficientNet-Lite0 (Liu 2020, after Tan and Le 2019), written in Keras layers since keras.applications has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo import BackboneModel, Model, ModelInfo, hookimpl

if TYPE_CHECKING:
    import keras

# EfficientNet-B0 (Tan and Le 2019, table 1): repeats, kernel, stride, expansion, filters
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM, HEAD = 32, 1280


class EfficientNetLite0(BackboneModel):
    """EfficientNet-B0 with ReLU6 and without squeeze-excite, on pixels scaled to (x - 127) / 128.

    Layer names are those of the ported ImageNet weights: `stem`, `b0_d` … `b15_p`, `head`, each followed by its
    normalisation (`stem_bn`, `b0_dbn`, …).
    """

    scaling = (1 / 128, -127 / 128)
    info = ModelInfo(
        name="efficientnet-lite0",
        summary="EfficientNet-Lite0: small; ImageNet weights from a file through --weights PATH",
        licence="Apache-2.0",
        paper="Tan and Le 2019, EfficientNet, arXiv:1905.11946; Liu 2020, EfficientNet-Lite (TensorFlow blog)",
        parameters=3_414_305,
        min_image_size=32,
        pretrained=(),
    )

    def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
        import keras

        inputs = keras.Input((image_size, image_size, self.channels))
        x = _relu6(_norm(_conv(inputs, STEM, 3, 2, "stem"), "stem_bn"))
        block = 0
        for repeats, kernel, stride, expansion, filters in STAGES:
            for repeat in range(repeats):
                x = _mbconv(x, f"b{block}", kernel, stride if repeat == 0 else 1, expansion, filters)
                block += 1
        x = _relu6(_norm(_conv(x, HEAD, 1, 1, "head"), "head_bn"))
        return keras.Model(inputs, x)


def _mbconv(x: Any, name: str, kernel: int, stride: int, expansion: int, filters: int) -> Any:
    """Inverted residual block (Sandler et al. 2018): expand, filter depthwise, project; shortcut where shapes agree."""
    import keras

    shortcut, channels = x, x.shape[-1]
    if expansion > 1:
        x = _relu6(_norm(_conv(x, channels * expansion, 1, 1, f"{name}_e"), f"{name}_ebn"))
    depthwise = keras.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_d")
    x = _relu6(_norm(depthwise(x), f"{name}_dbn"))
    x = _norm(_conv(x, filters, 1, 1, f"{name}_p"), f"{name}_pbn")
    return keras.layers.Add()([shortcut, x]) if stride == 1 and channels == filters else x


def _conv(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    import keras

    return keras.layers.Conv2D(filters, kernel, stride, padding="same", use_bias=False, name=name)(x)


def _norm(x: Any, name: str) -> Any:
    import keras

    return keras.layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _relu6(x: Any) -> Any:
    import keras

    return keras.layers.ReLU(6.0)(x)


@hookimpl
def zoo_models() -> list[Model]:
    return [EfficientNetLite0()]
