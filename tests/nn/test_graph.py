"""Networks of every kind are saved in a way that needs no call before an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.nn.graph import as_graph


@keras.saving.register_keras_serializable("zoo-tests")
class Subclass(keras.Model):
    """A network that is no graph of layers."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.flat, self.dense = keras.layers.Flatten(), keras.layers.Dense(2)

    def call(self, pixels: Any) -> Any:
        return self.dense(self.flat(pixels))


def test_a_network_whose_input_is_known_stays_as_it_is() -> None:
    image = keras.Input((8, 8, 1))
    layers = [keras.layers.Flatten(), keras.layers.Dense(1)]
    for network in (
        keras.Model(image, keras.layers.Flatten()(image)),
        keras.Sequential([keras.Input((8, 8, 1)), *layers]),
    ):
        assert as_graph(network, 8) is network


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_a_subclass_is_exported_at_once_after_it_is_loaded(tmp_path: Path) -> None:
    bare = Subclass(name="own")
    network = as_graph(bare, 8)
    assert (network.name, network.input_shape, network.output_shape) == ("own", (None, 8, 8, 1), (None, 2))
    network.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    loaded.export(tmp_path / "exported", verbose=False)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1)).astype("float32")
    exported = keras.layers.TFSMLayer(tmp_path / "exported", call_endpoint="serve")
    np.testing.assert_allclose(np.asarray(exported(pixels)), np.asarray(bare(pixels)), rtol=1e-5)
