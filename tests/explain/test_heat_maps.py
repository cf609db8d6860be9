"""Heat maps: the formulas on hand-made arrays, the gradients on every registered network, and occlusion."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from families import one_per_family
from maps_of import build, make_images
from PIL import Image

from zoo.core.errors import UsageError
from zoo.explain.gradients import Probe
from zoo.explain.layers import find_layer, spatial_layers
from zoo.explain.maps import (
    Mapper,
    gradcam,
    gradcam_plus_plus,
    normalise,
    occluded,
    occlusion_map,
    occlusion_starts,
    upsample,
)
from zoo.nn.keras_compat import flatten_layers

Run = Callable[..., Any]
FAST = {"mobilenetv3", "efficientnet-lite0", "tiny-cnn"}
MODELS = one_per_family(FAST, without={"dense-baseline"})  # which has no maps; that it says so is tested with it


# the formulas


def test_gradcam_weighs_each_channel_with_its_mean_gradient() -> None:
    features = np.zeros((1, 2, 2, 2), np.float32)
    features[0, :, :, 0] = [[1, 2], [3, 4]]
    features[0, :, :, 1] = [[5, 0], [0, 1]]
    gradients = np.zeros_like(features)
    gradients[0, :, :, 0] = [[2, 0], [0, 2]]  # mean 1
    gradients[0, :, :, 1] = [[-4, -2], [-1, -1]]  # mean -2
    assert gradcam(features, gradients)[0].tolist() == [[0, 2], [3, 2]]  # 1-10 and below is 0


def test_gradcam_plus_plus_is_the_paper_s_formula() -> None:
    rng = np.random.default_rng(1)
    features, gradients = rng.random((2, 3, 3, 4)), rng.normal(size=(2, 3, 3, 4))
    gradients[0, :, :, 2] = 0
    expected = np.zeros((2, 3, 3))
    for n in range(2):
        for c in range(4):
            a, g = features[n, :, :, c], gradients[n, :, :, c]
            total = (a * g**3).sum()
            weight = sum(
                g[i, j] ** 2 / (2 * g[i, j] ** 2 + total) * max(g[i, j], 0)
                for i in range(3)
                for j in range(3)
                if g[i, j] != 0
            )
            expected[n] += weight * a
    np.testing.assert_allclose(gradcam_plus_plus(features, gradients), np.maximum(expected, 0), rtol=1e-9)


def test_maps_are_brought_to_the_image_s_size_as_pillow_does() -> None:
    maps = np.random.default_rng(0).random((2, 7, 5)).astype(np.float32)
    expected = [np.asarray(Image.fromarray(m).resize((60, 60), Image.Resampling.BILINEAR)) for m in maps]
    np.testing.assert_allclose(upsample(maps, 60), expected, atol=1e-6)


def test_maps_are_divided_by_their_maximum_and_zero_stays_zero() -> None:
    maps = np.stack([np.full((2, 2), 4.0), np.zeros((2, 2)), np.array([[0, 1], [2, 0.5]])])
    assert normalise(maps)[:2].tolist() == [[[1, 1], [1, 1]], [[0, 0], [0, 0]]]
    assert normalise(maps)[2].tolist() == [[0, 0.5], [1, 0.25]]


def test_occlusion_covers_with_the_mean_and_reaches_the_edge() -> None:
    starts = occlusion_starts(10, 4, 3)
    assert starts.tolist() == [0, 3, 6]
    assert occlusion_starts(10, 4, 4).tolist() == [0, 4, 6]
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    covered = occluded(image, starts, 4)
    assert covered.shape == (9, 10, 10)
    assert (covered[1][0:4, 3:7] == 50).all()  # the second: first row of patches, second column; the mean is 49.5
    changed = covered[1] != image
    changed[0:4, 3:7] = False
    assert not changed.any()


def test_the_occlusion_map_is_the_mean_drop_over_the_covering_patches() -> None:
    drops = np.array([[1.0, 3.0], [-8.0, 5.0]])
    heat = occlusion_map(drops, np.array([0, 1]), 2, 3)
    assert heat.tolist() == [[1, 2, 3], [0, 0.25, 4], [0, 0, 5]]


# the networks


@pytest.fixture
def untraced() -> Iterator[None]:
    """TensorFlow without graphs: to trace a deep network takes ten times as long as to run it on three images."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("name", MODELS)
def test_the_features_of_every_model_are_those_before_the_pooling(name: str) -> None:
    """With average pooling and a linear head, a gradient by the features is a weight of the head over the cells."""
    network = build(name)
    images = make_images(network.input_shape[1])
    layer = find_layer(network)
    features, gradients, logits = Probe(network, layer, batch=2).gradients(images, np.array([0, 1, 2]))
    pool = network.get_layer("pool")
    if pool.input.shape[1] == 1:  # so small an image that the last layer has one cell: an earlier layer is taken
        assert layer.height >= 2
        assert np.abs(gradients).sum() > 0
        return
    before = keras.Model(network.input, pool.input)(images[..., None], training=False)
    np.testing.assert_allclose(features, np.asarray(before), atol=1e-3)
    kernel, bias = network.get_layer("logits").get_weights()
    cells = layer.height * layer.width
    np.testing.assert_allclose(gradients, np.broadcast_to(kernel.T[:, None, None] / cells, gradients.shape), atol=1e-6)
    np.testing.assert_allclose(logits, features.mean(axis=(1, 2)) @ kernel + bias, atol=1e-3)
    np.testing.assert_allclose(logits, np.asarray(network(images[..., None], training=False)), atol=1e-3)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion"])
def test_every_method_maps_a_saved_and_loaded_network(method: str, tmp_path: Path) -> None:
    build("tiny-cnn", 32).save(tmp_path / "net.keras")
    network = keras.saving.load_model(tmp_path / "net.keras", compile=False)
    images, columns = make_images(32), np.array([2, 0, 1])
    mapper = Mapper(network, method)
    maps = mapper.heat_maps(images, columns)
    assert maps.shape == (3, 32, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}
    assert maps.any()
    np.testing.assert_allclose(maps[1:2], mapper.heat_maps(images[1:2], columns[1:2]), atol=1e-5)
    assert not np.allclose(maps[1:2], mapper.heat_maps(images[1:2], columns[:1]), atol=1e-3)


class Detector(keras.layers.Layer):
    """A logit per label: how bright the brightest cell of the label's channel is."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.max(inputs, axis=(1, 2))


def detector(size: int = 32) -> keras.Model:
    """Two labels: the first is a bright image, the second a dark one, seen in cells of four pixels."""
    inputs = keras.Input((size, size, 1))
    convolution = keras.layers.Conv2D(2, 4, 4, name="cells")
    outputs = Detector()(keras.layers.ReLU(name="act")(convolution(inputs)))
    network = keras.Model(inputs, outputs)
    kernel = np.stack([np.full((4, 4, 1), 1 / 16), np.full((4, 4, 1), -1 / 16)], axis=-1)
    convolution.set_weights([kernel, np.array([-100.0, 160.0])])
    return network


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "occlusion"])
def test_the_map_lies_where_the_network_looks(method: str) -> None:
    network = detector()
    images = np.full((2, 32, 32), 130, np.uint8)
    images[0, 4:8, 20:24] = 240  # what the first label is about
    images[1, 24:28, 8:12] = 10  # what the second is about
    maps = Mapper(network, method).heat_maps(images, [0, 1])
    for heat, (row, column) in zip(maps, [(6, 22), (26, 10)], strict=True):
        at = np.argwhere(heat == heat.max()).mean(axis=0)
        assert np.abs(at - (row, column)).max() <= 2.5
        assert heat[row, column] > 0.9
        assert heat[::-1, ::-1][row, column] < 0.5


def test_the_layer_can_be_named_and_every_network_part_is_found() -> None:
    network = build("tiny-cnn", 32)
    names = [layer.name for layer in spatial_layers(network)]
    assert names[-1] == "out_relu"
    assert {"stem", "backbone", "stage1_block1_1_relu"} <= set(names)
    assert not {"scale", "pool", "logits"} & set(names)
    early = find_layer(network, "stage1_block1_1_relu")
    assert (early.height, early.width) == (32, 32)
    assert Mapper(network, layer="stage1_block1_1_relu").grid == (32, 32)
    same = Mapper(network, layer="backbone").heat_maps(make_images(32), [0, 0, 0])
    np.testing.assert_array_equal(same, Mapper(network).heat_maps(make_images(32), [0, 0, 0]))


def test_a_norm_can_be_looked_into_while_its_kernel_is_replaced() -> None:
    network = build("tiny-cnn", 32)
    features, gradients, _ = Probe(network, find_layer(network, "out_bn")).gradients(
        make_images(32), np.array([0, 1, 2])
    )
    after, by_after, _ = Probe(network, find_layer(network)).gradients(make_images(32), np.array([0, 1, 2]))
    np.testing.assert_allclose(np.maximum(features, 0), after, atol=1e-5)
    np.testing.assert_allclose(gradients, np.where(features > 0, by_after, 0), atol=1e-7)


def test_half_precision_gives_the_gradients_in_float32() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = build("tiny-cnn", 32)
    finally:
        keras.config.set_dtype_policy("float32")
    layer = find_layer(network)
    features, gradients, _ = Probe(network, layer).gradients(make_images(32), np.array([0, 1, 2]))
    kernel, _ = network.get_layer("logits").get_weights()
    assert features.dtype == gradients.dtype == np.float32
    expected = np.broadcast_to(kernel.T[:, None, None] / (layer.height * layer.width), gradients.shape)
    np.testing.assert_allclose(gradients, expected, rtol=1e-2)


def test_a_layer_used_twice_is_looked_into_where_it_was_meant() -> None:
    inputs = keras.Input((8, 8, 1))
    shared = keras.layers.ReLU(name="act")
    x = shared(keras.layers.Conv2D(2, 3, padding="same")(inputs))
    x = shared(keras.layers.Conv2D(3, 3, padding="same")(x))
    network = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    layer = find_layer(network)
    assert (layer.name, layer.call, layer.channels) == ("act", 1, 3)
    assert Probe(network, layer).gradients(make_images(8), np.zeros(3, int))[0].shape == (3, 8, 8, 3)


def test_a_last_product_that_is_no_layer_is_found() -> None:
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(2, 3, padding="same")(inputs)
    x = x * keras.layers.Activation("sigmoid", name="gate")(x)
    network = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    before = keras.Model(inputs, x)(make_images(8)[..., None])
    layer = find_layer(network)
    assert layer.name != "gate"
    features, _, _ = Probe(network, layer).gradients(make_images(8), np.zeros(3, int))
    np.testing.assert_allclose(features, np.asarray(before), rtol=1e-5)


def test_looking_leaves_no_trace_in_the_network() -> None:
    network = build("tiny-cnn", 32)
    before = [weights.copy() for weights in network.get_weights()]
    Mapper(network).heat_maps(make_images(32), [0, 0, 0])
    assert not any("call" in vars(layer) for layer in [network, *flatten_layers(network)])
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_layer_error_names_the_closest_and_the_last_ones() -> None:
    with pytest.raises(UsageError) as error:
        find_layer(build("tiny-cnn", 32), "out_rely")
    assert "Did you mean 'out_relu'?" in str(error.value)
    assert "Valid, the last first: out_relu, out_bn" in str(error.value)
    assert "before them" in str(error.value)


def test_a_network_without_a_spatial_layer_is_sent_to_occlusion() -> None:
    flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(UsageError, match="--method occlusion"):
        find_layer(flat)
    assert Mapper(flat, "occlusion").heat_maps(make_images(8), [0, 0, 0]).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"method": "occlusion", "layer": "act"}, "reads no layer"),
        ({"method": "occlusion", "patch": 40}, "use 1 to 31"),
        ({"method": "occlusion", "patch": 4, "stride": 5}, "uncovered"),
        ({"method": "gradcam", "patch": 4}, "--method occlusion"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: dict[str, Any], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        Mapper(detector(), **words)


JAX = """
import sys
import numpy as np
import keras
from zoo.explain.gradients import Probe
from zoo.explain.maps import Mapper
network = keras.saving.load_model(sys.argv[1], compile=False)
images = np.load(sys.argv[2])
np.savez(sys.argv[3], Mapper(network, "gradcam++").heat_maps(images, [0, 1, 2]), Probe(network).logits(images))
assert keras.backend.backend() == "jax"
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="compares with JAX")
def test_jax_gives_the_same_maps(run_python: Run, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    network, images = build("tiny-cnn", 32), make_images(32)
    network.save(tmp_path / "net.keras")
    np.save(tmp_path / "images.npy", images)
    files = [str(tmp_path / name) for name in ("net.keras", "images.npy", "maps.npz")]
    done = run_python("-c", textwrap.dedent(JAX), *files, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    with np.load(files[2]) as theirs:
        ours = Mapper(network, "gradcam++").heat_maps(images, [0, 1, 2])
        np.testing.assert_allclose(theirs["arr_0"], ours, atol=2e-3)
        np.testing.assert_allclose(theirs["arr_1"], Probe(network).logits(images), atol=1e-4)
