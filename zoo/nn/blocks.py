"""Layers that several small networks are built of."""

from __future__ import annotations

from typing import Any


def norm_relu(x: Any, name: str, epsilon: float = 1e-3) -> Any:
    """Batch normalisation and ReLU of maps `(N, h, w, C)`."""
    import keras

    # a run on a few thousand images has a few hundred steps: momentum .99 would lag behind
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=f"{name}_bn")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def conv(x: Any, filters: int, kernel: int, stride: int, name: str) -> Any:
    """A convolution without bias that keeps the size but for its stride, started as He et al. 2015 do."""
    import keras

    return keras.layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)
