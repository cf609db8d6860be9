"""Logits and features of any network: what the last Dense layer reads."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from families import one_per_family
from keras import layers

from zoo.core.errors import ZooError
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.inference.features import with_features

TASK = Task("multilabel", ("Mass", "Edema", "Hernia"))
FAST = ("tiny-cnn",)


def make_images(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


@pytest.mark.parametrize("name", one_per_family(FAST))
def test_a_model_of_every_family_gives_its_logits_and_what_its_head_reads(name: str) -> None:
    model = registry().get("model", name)
    options = model.Options(dropout=0.5) if hasattr(model.Options(), "dropout") else model.Options()
    size = max(32, model.info.min_image_size)
    network = model.build(TASK, size, None, options)
    pixels = make_images(size)
    # called as they are: to trace a deep network takes ten times as long as to run it on three images
    logits, features = (np.asarray(each) for each in with_features(network)([pixels], training=False))
    assert logits.dtype == features.dtype == np.float32
    np.testing.assert_allclose(logits, np.asarray(network(pixels, training=False)), atol=1e-6)
    dense = next(layer for layer in reversed(network.layers) if isinstance(layer, layers.Dense))
    kernel, bias = dense.get_weights()
    np.testing.assert_allclose(features @ kernel + bias, logits, atol=1e-4)
    assert features.std() > 0


def convolved(inputs: Any) -> Any:
    return layers.Conv2D(5, 3, activation="relu", name="maps")(layers.Rescaling(1 / 255)(inputs))


def nested() -> keras.Model:
    """Its head is a model inside the model."""
    inputs = keras.Input((12, 12, 1))
    head = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(2, name="logits")])
    return keras.Model(inputs, head(convolved(inputs)))


def test_a_head_inside_a_nested_model_is_found() -> None:
    network = nested()
    dense = next(layer for layer in network._flatten_layers() if isinstance(layer, layers.Dense))
    model = with_features(network)
    assert model.output_shape == [(None, 2), (None, 5)]
    logits, features = model.predict(make_images(12), verbose=0)
    kernel, bias = dense.get_weights()
    np.testing.assert_allclose(features @ kernel + bias, logits, atol=1e-5)
    np.testing.assert_allclose(logits, network.predict(make_images(12), verbose=0), atol=1e-6)


def test_a_network_without_a_dense_layer_gives_the_mean_of_its_last_maps() -> None:
    inputs = keras.Input((12, 12, 1))
    logits = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 1, use_bias=False)(convolved(inputs)))
    network = keras.Model(inputs, logits)
    values, features = with_features(network).predict(make_images(12), verbose=0)
    np.testing.assert_allclose(features, values, atol=1e-6)  # the last maps are those of the logits


def test_a_dense_layer_on_maps_gives_their_mean() -> None:
    inputs = keras.Input((12, 12, 1))
    network = keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Dense(2)(convolved(inputs))))
    _, features = with_features(network).predict(make_images(12), verbose=0)
    maps = keras.Model(inputs, network.get_layer("maps").output).predict(make_images(12), verbose=0)
    np.testing.assert_allclose(features, maps.mean(axis=(1, 2)), atol=1e-6)


def test_a_network_with_nothing_to_look_at_is_an_error() -> None:
    inputs = keras.Input((12, 12, 1))
    with pytest.raises(ZooError, match="neither a Dense layer nor maps"):
        with_features(keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs)))


def test_the_network_itself_is_unchanged_and_its_weights_are_shared() -> None:
    network = nested()
    before = [layer.name for layer in network._flatten_layers()]
    model = with_features(network)
    model.predict(make_images(12), verbose=0)
    assert [layer.name for layer in network._flatten_layers()] == before
    assert not any("call" in vars(layer) for layer in network._flatten_layers())
    network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    assert not model.predict(make_images(12), verbose=0)[0].any()
