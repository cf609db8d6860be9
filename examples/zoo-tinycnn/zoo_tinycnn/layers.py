"""A layer of this plugin's own."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="zoo_tinycnn")
class ChannelGate(keras.layers.Layer):
    """Multiplies each channel by a learned number between 0 and 1."""

    def __init__(self, start: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        begin = keras.initializers.Constant(self.start)
        self.gate = self.add_weight(name="gate", shape=(input_shape[-1],), initializer=begin)

    def call(self, inputs: Any) -> Any:
        return inputs * keras.ops.sigmoid(self.gate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}
