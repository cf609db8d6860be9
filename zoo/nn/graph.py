"""Networks as graphs of layers, whatever they are built as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def as_graph(network: Any, image_size: int) -> keras.Model:
    """The network itself where its input has a known shape; else, as for a subclass of `keras.Model`, a graph that holds it.

    Keras' files record no calls: a subclass that was loaded cannot be exported before it is called.

    Args:
        network: from pixels `(N, image_size, image_size, 1)` to logits.
        image_size: height and width of the input in pixels.
    """
    import keras

    if hasattr(network, "input_shape") or not isinstance(network, keras.Model):
        return network
    image = keras.Input((image_size, image_size, 1), name="image")
    return keras.Model(image, network(image), name=network.name)
