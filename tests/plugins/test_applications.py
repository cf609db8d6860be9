"""The networks of keras.applications: pixel scaling as published, smallest sizes, and weights files with a scaling inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.engine.weights import build_network
from zoo.nn.backbone import ApplicationModel

BINARY = Task("binary", ("abnormal",))
MODELS = {e.name: e.strategy for e in registry().entries("model") if isinstance(e.strategy, ApplicationModel)}
# where the published `preprocess_input` of a name lies; the other networks do it themselves
MODULES = {
    "densenet": "densenet",
    "inceptionresnetv2": "inception_resnet_v2",
    "inceptionv3": "inception_v3",
    "xception": "xception",
    "nasnet": "nasnet",
    "mobilenetv2": "mobilenet_v2",
    "mobilenet": "mobilenet",
    "vgg": "vgg16",
    "resnet": "resnet",
}
SCALED_INSIDE = ("convnext", "efficientnetb", "efficientnetv2")
# what the published EfficientNet weights hold as mean and "variance": see tensorflow/tensorflow#49930
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pixels(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


class Reached(Exception):
    """The first convolution of a network was reached, with this tensor."""


def stop(layer: Any, tensor: Any, *rest: Any, **more: Any) -> Any:
    raise Reached(tensor)


def scaling_of_keras(application: str, monkeypatch: pytest.MonkeyPatch) -> keras.Model:
    """The published network up to its first convolution, as it is built for ImageNet weights."""
    for cls in (keras.layers.Conv2D, keras.layers.ZeroPadding2D, keras.Sequential):
        monkeypatch.setattr(cls, "__call__", stop)
    inputs = keras.Input((32, 32, 3))
    with pytest.raises(Reached) as caught:
        getattr(keras.applications, application)(include_top=False, weights="imagenet", input_tensor=inputs)
    monkeypatch.undo()
    scaling = keras.Model(inputs, caught.value.args[0])
    give_published_statistics(scaling)
    return scaling


def give_published_statistics(network: keras.Model) -> None:
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            layer.set_weights([np.float32(MEAN), np.float32(DEVIATION), np.int32(1)])
            layer.finalize_state()


@pytest.mark.parametrize("name", MODELS)
def test_pixels_are_scaled_as_the_published_network_wants_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = MODELS[name], pixels(32)
    colour = np.repeat(images.astype("float32"), 3, axis=-1)
    if name.startswith(SCALED_INSIDE):
        expected = scaling_of_keras(model.application, monkeypatch)(colour)
    else:
        module = next(value for prefix, value in MODULES.items() if name.startswith(prefix))
        module += "_v2" if module == "resnet" and name.endswith("v2") else ""
        expected = getattr(keras.applications, module).preprocess_input(colour.copy())
    inputs = keras.Input((32, 32, 1))
    ours = keras.Model(inputs, model.preprocess(inputs))(images)
    np.testing.assert_allclose(np.asarray(ours), np.asarray(expected), atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_smallest_size_is_the_smallest_that_keras_builds(name: str) -> None:
    size = MODELS[name].info.min_image_size
    with pytest.raises(ValueError, match=f"at least {size}x{size}"):
        MODELS[name].backbone(size - 1, None, MODELS[name].Options())


def test_names_are_those_of_keras_in_lower_case() -> None:
    assert {model.application.lower() for model in MODELS.values()} == set(MODELS)
    classes = {name for name in vars(keras.applications) if name[0].isupper()}
    assert classes - {m.application for m in MODELS.values()} == {"MobileNetV3Small", "MobileNetV3Large"}


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if not model.before])
def test_nothing_inside_scales_pixels_a_second_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (keras.layers.Conv2D, keras.layers.ZeroPadding2D, keras.Sequential):
        monkeypatch.setattr(cls, "__call__", stop)
    size = MODELS[name].info.min_image_size
    with pytest.raises(Reached) as caught:
        MODELS[name].backbone(size, None, MODELS[name].Options())
    monkeypatch.undo()
    assert type(caught.value.args[0]._keras_history.operation) is keras.layers.InputLayer


@pytest.mark.slow
def test_efficientnet_with_published_weights_computes_what_the_network_of_keras_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file stands for the download: random weights, with the normalisation that the published one has inside."""
    from keras.src.applications import efficientnet

    file, model = tmp_path / "efficientnetb0_notop.h5", MODELS["efficientnetb0"]
    source = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
    give_published_statistics(source)
    generator = np.random.default_rng(0)
    for weight in source.trainable_variables:
        weight.assign(weight + generator.normal(0, 0.05, weight.shape))
    source.save(file)
    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *args, **keywords: str(file))
    theirs = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=(64, 64, 3))
    images = pixels(64)
    expected = np.asarray(theirs(np.repeat(images.astype("float32"), 3, axis=-1)))
    assert np.abs(expected).max() > 0.1
    for weights in ("imagenet", str(file)):  # downloaded by Keras, or put there by hand
        network, report = build_network(model, BINARY, 64, weights, model.Options())
        ours = keras.Model(network.input, network.get_layer("pool").input)(images)
        np.testing.assert_allclose(np.asarray(ours), expected, atol=1e-3, rtol=1e-3, err_msg=report.summary)
        assert network.count_params() == model.info.parameters


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnexttiny", "efficientnetv2b0"])
def test_half_precision_survives_saving_and_gives_float32_logits(name: str, tmp_path: Path) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = MODELS[name].build(BINARY, 32, None, MODELS[name].Options())
        network.save(tmp_path / "net.keras")
        loaded = keras.saving.load_model(tmp_path / "net.keras", compile=False)
    finally:
        keras.config.set_dtype_policy("float32")
    maps = loaded.get_layer("backbone").output
    assert keras.backend.standardize_dtype(maps.dtype) == "bfloat16"
    logits = loaded(pixels(32))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    np.testing.assert_array_equal(np.asarray(logits), np.asarray(network(pixels(32))))
