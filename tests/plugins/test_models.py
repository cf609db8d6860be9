"""The built-in models: pixel scaling, options, and the real EfficientNet-Lite0 weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.core.contracts import ModelInfo
from zoo.core.errors import UsageError
from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.engine.weights import build_network
from zoo.nn.backbone import BackboneModel

BINARY = Task("binary", ("abnormal",))
LITE0 = Path(__file__).parents[2].parent / "shared" / "data" / "weights" / "efficientnet_lite0_imagenet.keras"
PREPROCESS = {
    "mobilenetv3": lambda x: x / 127.5 - 1,  # keras.applications does it inside the network; see the test below
    "densenet121": keras.applications.densenet.preprocess_input,
    "efficientnet-lite0": lambda x: (x - 127) / 128,
}


def pixels(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


def options(name: str, **values: Any) -> Any:
    return validate(registry().get("model", name).Options, values, "model")


def build(name: str, image_size: int, task: Task = BINARY, **values: Any) -> keras.Model:
    return registry().get("model", name).build(task, image_size, None, options(name, **values))


@pytest.mark.parametrize("name", PREPROCESS)
def test_preprocess_equals_the_published_one(name: str) -> None:
    model = registry().get("model", name)
    inputs = keras.Input((8, 8, 1))
    scaled = keras.Model(inputs, model.preprocess(inputs))
    expected = PREPROCESS[name](np.repeat(pixels(8).astype("float32"), 3, axis=-1))
    np.testing.assert_allclose(np.asarray(scaled(pixels(8))), expected, atol=2e-6)


def test_mobilenetv3_scaling_is_that_of_the_full_keras_network() -> None:
    network = build("mobilenetv3", 32, alpha=0.1)
    full = keras.applications.MobileNetV3Small(
        input_shape=(32, 32, 3), alpha=0.1, include_top=False, weights=None, include_preprocessing=True
    )
    full.set_weights(network.get_layer("backbone").get_weights())
    ours = keras.Model(network.input, network.get_layer("pool").input)(pixels(32))
    np.testing.assert_allclose(
        np.asarray(ours), np.asarray(full(np.repeat(pixels(32).astype("float32"), 3, -1))), atol=1e-5
    )


def test_pixels_are_scaled_in_float32_under_half_precision() -> None:
    model = registry().get("model", "densenet121")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((8, 8, 1))
        scaled = keras.Model(inputs, model.preprocess(inputs))
    finally:
        keras.config.set_dtype_policy("float32")
    values = np.linspace(0, 255, 64, dtype="float32").reshape(1, 8, 8, 1)
    expected = PREPROCESS["densenet121"](np.repeat(values, 3, axis=-1))
    np.testing.assert_allclose(np.asarray(scaled(values)), expected, atol=2e-6)


@pytest.mark.parametrize("name", ["mobilenetv3", "tiny-cnn", "efficientnet-lite0"])
def test_layers_that_the_engine_looks_for_are_there(name: str) -> None:
    network = build(name, 32, Task("multilabel", ("a", "b")), dropout=0.5, pooling="max", hidden=6)
    assert [layer.name for layer in network.layers][-5:] == ["backbone", "pool", "hidden", "dropout", "logits"]
    assert network.get_layer("hidden").output.shape == (None, 6)
    assert len(network.get_layer("backbone").output.shape) == 4


def test_mobilenetv3_options_reach_the_network() -> None:
    small, narrow = build("mobilenetv3", 32), build("mobilenetv3", 32, alpha=0.5)
    large, plain = build("mobilenetv3", 32, size="large"), build("mobilenetv3", 32, minimalistic=True)
    assert narrow.count_params() < small.count_params() < large.count_params()
    assert not any("squeeze_excite" in layer.name for layer in plain.get_layer("backbone").layers)


@pytest.mark.parametrize("values", [{"alpha": 0.5}, {"alpha": 0.75, "minimalistic": True}])
def test_mobilenetv3_without_published_weights_says_which_widths_have_them(values: dict[str, Any]) -> None:
    model = registry().get("model", "mobilenetv3")
    with pytest.raises(UsageError, match="no published imagenet weights for alpha") as caught:
        build_network(model, BINARY, 32, "imagenet", options("mobilenetv3", **values))
    assert ("0.75 and 1" in str(caught.value)) is not values.get("minimalistic", False)


def test_tiny_cnn_keeps_resolution_and_has_one_channel() -> None:
    network = build("tiny-cnn", 28)
    assert network.get_layer("backbone").input.shape == (None, 28, 28, 1)
    assert network.get_layer("backbone").output.shape == (None, 7, 7, 128)
    assert build("tiny-cnn", 28, depth=3).count_params() > network.count_params()
    assert build("tiny-cnn", 28, width=16).count_params() < network.count_params()


def test_tiny_cnn_learns_where_a_bright_square_lies() -> None:
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 128)
    images = generator.integers(0, 100, (128, 16, 16, 1)).astype("float32")
    for image, label in zip(images, labels, strict=True):
        row, column = generator.integers(0, 12), generator.integers(0, 4)
        image[row : row + 4, column + 8 * label : column + 8 * label + 4] += 120
    network = build("tiny-cnn", 16, width=8, depth=1)
    network.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True))
    network.optimizer.learning_rate = 0.01
    network.fit(images[:96], labels[:96, None].astype("float32"), epochs=8, batch_size=16, verbose=0)
    predicted = np.asarray(network(images[96:], training=False))[:, 0] > 0
    assert (predicted == labels[96:]).mean() > 0.8


def test_a_subclass_is_ten_lines() -> None:
    class Mine(BackboneModel):
        info = ModelInfo(name="mine", summary="mine", parameters=0)
        scaling = (1 / 255, 0.0)

        def backbone(self, image_size: int, weights: str | None, options: Any) -> keras.Model:
            inputs = keras.Input((image_size, image_size, 3))
            return keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))

    network = Mine().build(Task("multiclass", ("a", "b", "c")), 8, None, Mine.Options())
    assert network(pixels(8)).shape == (2, 3)


@pytest.mark.skipif(not LITE0.exists(), reason="the EfficientNet-Lite0 weights file is not here")
def test_efficientnet_lite0_with_the_real_weights_computes_what_their_own_network_does() -> None:
    model = registry().get("model", "efficientnet-lite0")
    network, report = build_network(model, BINARY, 224, str(LITE0), model.Options())
    assert report.unmatched_target == ()
    assert report.unmatched_source == ("dense (1280, 1000), (1000,)",)
    assert report.summary.startswith(f"{LITE0}: 98 of 98 layers loaded")
    theirs = keras.saving.load_model(LITE0, compile=False)
    features = keras.Model(theirs.input, theirs.get_layer("global_average_pooling2d").output)
    images = pixels(224)
    expected = np.asarray(features(PREPROCESS["efficientnet-lite0"](np.repeat(images.astype("float32"), 3, axis=-1))))
    pooled = np.asarray(keras.Model(network.input, network.get_layer("pool").output)(images))
    np.testing.assert_allclose(pooled, expected, atol=1e-5)
    assert expected.max() > 1
