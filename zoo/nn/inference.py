"""Networks without what only training needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo.nn.keras_compat import flatten_layers, is_functional

if TYPE_CHECKING:
    import keras

# Keras' layers that do something in training only, by name: they become identities
TRAINING_ONLY = {
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
}
_AUGMENTING = ("Random", "MixUp", "CutMix", "AugMix", "RandAugment", "AutoContrast")
FLOAT32 = "float32"


def for_inference(network: keras.Model, *, float32: bool = False) -> keras.Model:
    """The network without layers that only training needs; itself where there is nothing to take out.

    Args:
        network: a functional Keras model. One of another kind is returned as it is: its training-only parts do nothing either,
            and the files made of traced operations lose them anyway.
        float32: compute in float32 also what was trained in lower precision.
    """
    import keras

    layers = flatten_layers(network)
    low = float32 and any(layer.compute_dtype not in (FLOAT32, None) for layer in layers)
    if not is_functional(network) or not (low or any(map(_training_only, layers))):
        return network

    def copy(layer: Any) -> Any:
        if _training_only(layer):
            return keras.layers.Identity(name=layer.name, dtype=FLOAT32 if float32 else layer.dtype_policy.name)
        config = layer.get_config()
        if low and "dtype" in config:
            config["dtype"] = FLOAT32
        return layer.__class__.from_config(config)

    bare = keras.models.clone_model(network, clone_function=copy, recursive=True)
    bare.set_weights(network.get_weights())
    return bare


def _training_only(layer: Any) -> bool:
    kind = type(layer)
    ours = kind.__module__.startswith("keras.")
    return ours and (kind.__name__ in TRAINING_ONLY or kind.__name__.startswith(_AUGMENTING))
