"""Pooling heads: the feature maps `(N, h, w, C)` of a backbone become one vector `(N, C)` per image, in float32.

All of them are stock layers and operations of Keras, so that a saved network loads without zoo. Behind the maps they work
on a list of positions `(N, h * w, C)`: the last maps of the network, which heat maps look for, stay those of the backbone.
"""

from __future__ import annotations

import math
from typing import Any

ATTENTION_WIDTH = 128  # L of Ilse et al. 2018


def average(maps: Any) -> Any:
    """The mean over positions."""
    import keras

    return keras.layers.GlobalAveragePooling2D(name="pool", dtype="float32")(maps)


def maximum(maps: Any) -> Any:
    """The largest value over positions, channel by channel."""
    import keras

    return keras.layers.GlobalMaxPooling2D(name="pool", dtype="float32")(maps)


def log_sum_exp(maps: Any, sharpness: float) -> Any:
    """`log(mean(exp(r x))) / r` over positions (Wang et al. 2017, ChestX-ray8, arXiv:1705.02315, equation 1).

    Near 0 the sharpness r gives the mean, large ones come close to the maximum. Finite for any finite maps: the
    maximum is taken out before the exponential.
    """
    import keras
    from keras import ops

    cells = _positions(maps)
    pooled = ops.logsumexp(cells * sharpness, axis=1) / sharpness - math.log(cells.shape[1]) / sharpness
    return keras.layers.Activation("linear", name="pool", dtype="float32")(pooled)


def attention(maps: Any) -> Any:
    """Gated attention (Ilse, Tomczak and Welling 2018, arXiv:1802.04712, equations 7 and 9) over positions.

    Position k with features h_k has the weight `softmax_k(w · (tanh(V h_k) * sigmoid(U h_k)))`; V and U map to 128
    numbers and have a bias, w has none, since the softmax would take it out again.
    """
    from keras import layers

    def dense(units: int, name: str, **keywords: Any) -> Any:
        return layers.Dense(units, name=f"attention_{name}", dtype="float32", **keywords)

    cells = _positions(maps)
    content = dense(ATTENTION_WIDTH, "content", activation="tanh")(cells)
    gate = dense(ATTENTION_WIDTH, "gate", activation="sigmoid")(cells)
    gated = layers.Multiply(name="attention_gated", dtype="float32")([content, gate])
    scores = dense(1, "scores", use_bias=False)(gated)
    weights = layers.Softmax(axis=1, name="attention", dtype="float32")(scores)
    summed = layers.Dot(axes=1, name="attention_sum", dtype="float32")([weights, cells])
    return layers.Flatten(name="pool", dtype="float32")(summed)


def _positions(maps: Any) -> Any:
    """`(N, h, w, C)` → `(N, h * w, C)` float32."""
    import keras

    _, height, width, channels = maps.shape
    return keras.layers.Reshape((height * width, channels), name="positions", dtype="float32")(maps)
