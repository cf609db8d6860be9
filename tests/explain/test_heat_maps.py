"""Heat maps: the formulas on hand-made arrays, the gradients on every registered network, occlusion, and the sanity check."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from families import one_per_family
from PIL import Image
from scipy import stats

from zoo.core.errors import UsageError
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.data.boxes import in_square
from zoo.data.store import square
from zoo.explain.explain import Pair, _called, _spread
from zoo.explain.gradients import Probe
from zoo.explain.layers import find_layer, spatial_layers
from zoo.explain.maps import (
    Mapper,
    gradcam,
    gradcam_plus_plus,
    heat_maps,
    normalise,
    occluded,
    occlusion_map,
    occlusion_starts,
    upsample,
)
from zoo.explain.overlay import Picture, file_name, save_picture
from zoo.explain.pairs import no_boxes
from zoo.explain.sanity import check, correlation, judge, randomise, ranks

Run = Callable[..., Any]
TASK = Task("multilabel", ("Mass", "Nodule", "Effusion"))
FAST = {"mobilenetv3", "efficientnet-lite0", "tiny-cnn"}
MODELS = one_per_family(FAST, without={"dense-baseline"})  # which has no maps; that it says so is tested with it


def build(name: str, size: int | None = None) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = registry().get("model", name)
    options = model.Options(width=8, depth=1) if name == "tiny-cnn" else model.Options()
    return model.build(TASK, size or max(64, model.info.min_image_size), None, options)


def make_images(size: int, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size), dtype=np.uint8)


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
    maps = heat_maps(network, images, columns, method)
    assert maps.shape == (3, 32, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}
    assert maps.any()
    np.testing.assert_allclose(maps[1:2], heat_maps(network, images[1:2], columns[1:2], method), atol=1e-5)
    assert not np.allclose(maps[1:2], heat_maps(network, images[1:2], columns[:1], method), atol=1e-3)


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
    maps = heat_maps(network, images, np.array([0, 1]), method)
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
    same = heat_maps(network, make_images(32), np.zeros(3, int), layer="backbone")
    np.testing.assert_array_equal(same, heat_maps(network, make_images(32), np.zeros(3, int)))


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
    heat_maps(network, make_images(32), np.zeros(3, int))
    assert not any("call" in vars(layer) for layer in [network, *network._flatten_layers()])
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_layer_is_answered_with_the_closest_and_the_last_ones() -> None:
    with pytest.raises(UsageError) as error:
        find_layer(build("tiny-cnn", 32), "out_rely")
    assert "Did you mean 'out_relu'?" in str(error.value)
    assert "Valid, the last first: out_relu, out_bn" in str(error.value)
    assert "before them" in str(error.value)


def test_a_network_without_a_spatial_layer_is_sent_to_occlusion() -> None:
    flat = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(1)])
    with pytest.raises(UsageError, match="--method occlusion"):
        find_layer(flat)
    assert heat_maps(flat, make_images(8), np.zeros(3, int), "occlusion").shape == (3, 8, 8)


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
from zoo.explain.maps import heat_maps
network = keras.saving.load_model(sys.argv[1], compile=False)
images = np.load(sys.argv[2])
np.savez(sys.argv[3], heat_maps(network, images, np.array([0, 1, 2]), "gradcam++"), Probe(network).logits(images))
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
        ours = heat_maps(network, images, np.array([0, 1, 2]), "gradcam++")
        np.testing.assert_allclose(theirs["arr_0"], ours, atol=2e-3)
        np.testing.assert_allclose(theirs["arr_1"], Probe(network).logits(images), atol=1e-4)


# the sanity check


def test_ranks_and_correlations_are_scipy_s() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 5, (6, 6)).astype(np.float32), rng.random((6, 6), np.float32)
    np.testing.assert_allclose(ranks(one).ravel(), stats.rankdata(one.ravel()))
    assert correlation(one, other) == pytest.approx(stats.pearsonr(one.ravel(), other.ravel())[0], abs=1e-6)
    expected = stats.spearmanr(one.ravel(), other.ravel())[0]
    assert correlation(ranks(one), ranks(other)) == pytest.approx(expected, abs=1e-9)
    assert np.isnan(correlation(one, np.ones((6, 6))))


def test_randomising_draws_new_weights_from_the_initialisers_and_the_seed() -> None:
    network = build("tiny-cnn", 32)
    start = network.get_layer("backbone").get_layer("stem").get_weights()[0]
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([w + 3 for w in layer.get_weights()])
    randomise(network, 5)
    once = [w.copy() for w in network.get_weights()]
    assert not np.allclose(network.get_layer("backbone").get_layer("stem").get_weights()[0], start)
    assert network.get_layer("backbone").get_layer("out_bn").get_weights()[0].tolist() == [1.0] * 32
    randomise(network, 5)
    for one, other in zip(once, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_maps_of_a_network_pass_and_maps_that_ignore_it_do_not() -> None:
    network, images = build("tiny-cnn", 32), make_images(32)
    rows, columns = np.arange(3), np.zeros(3, int)
    mapper = Mapper(network)
    maps = heat_maps(network, images, columns)
    before = [w.copy() for w in network.get_weights()]
    found = check(network, mapper, images, rows, columns, maps, seed=0)
    assert abs(found.rank_correlation) < 0.9
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

    class Edges(Mapper):
        def make(self, images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Any:
            for part in super().make(images, rows, columns):
                part.maps[:] = maps[part.index]  # always the same, whatever the network
                yield part

    stubborn = check(network, Edges(network), images, rows, columns, maps, seed=0)
    assert stubborn.rank_correlation == pytest.approx(1)
    assert stubborn.passed is False
    assert "WARNING" in stubborn.sentence


@pytest.mark.parametrize(
    ("values", "passed", "words"),
    [
        ([0.1, 0.14], True, "maps change when the weights are randomised (rank correlation .120 over 2 maps)"),
        ([0.4, 0.5], False, "change only in part"),
        ([0.9, 0.7], False, "hardly change"),
        ([np.nan, np.nan], None, "nothing to compare"),
        ([np.nan, 0.1], True, "1 of 2 comparisons are left out"),
    ],
)
def test_the_verdict_is_a_sentence(values: list[float], passed: bool | None, words: str) -> None:
    found = judge("gradcam", 2, np.array(values), np.array(values))
    assert found.passed is passed
    assert words in found.sentence


# the images and pictures


def test_boxes_follow_the_image_into_its_padded_square() -> None:
    image = np.zeros((20, 40), np.uint8)
    image[5:10, 30:36] = 200  # x .75, y .25, width .15, height .25 of the image
    x, y, width, height = in_square(np.array([0.75, 0.25, 0.15, 0.25]), 20, 40) * 40
    inside = square(image, 40)[round(y) : round(y + height), round(x) : round(x + width)]
    assert inside.shape == (5, 6)
    assert (inside == 200).all()


def test_without_a_label_files_are_explained_for_what_the_network_calls() -> None:
    probabilities = np.array([0.2, 0.6, 0.7])
    assert _called(TASK, probabilities, {"Mass": 0.1, "Nodule": 0.65, "Effusion": 0.65}) == [0, 2]
    assert _called(TASK, probabilities, dict.fromkeys(TASK.labels, 0.9)) == [2]
    assert _called(Task("multiclass", TASK.labels), probabilities, dict.fromkeys(TASK.labels, 0.1)) == [2]


def test_pictures_are_spread_over_the_labels() -> None:
    columns = [0] * 50 + [1] * 2 + [2] * 50
    pairs = [Pair(i, c, str(i), str(i), 1, no_boxes()) for i, c in enumerate(columns)]
    chosen = _spread(pairs, 12)
    assert np.bincount([columns[i] for i in chosen]).tolist() == [5, 2, 5]
    assert len(set(chosen)) == 12
    assert _spread(pairs, 200) == list(range(102))
    assert _spread(pairs, 0) == []


def picture(**changes: Any) -> Picture:
    heat = np.zeros((64, 64), np.float32)
    heat[40:56, 40:56] = 1
    values = {
        "image": np.full((64, 64), 90, np.uint8),
        "heat": heat,
        "name": "1.png",
        "label": "Mass",
        "probability": 0.5,
        "truth": 1,
        "boxes": np.array([[0.1, 0.1, 0.2, 0.2]]),
        "how": "Grad-CAM",
    }
    return Picture(**(values | changes))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_picture_shows_heat_and_boxes_on_a_gray_image(tmp_path: Path) -> None:
    file = tmp_path / "maps" / "a.png"
    save_picture(picture(), file)
    drawn = pixels(file)
    assert 450 <= drawn.shape[1] <= 550
    assert [p.name for p in file.parent.iterdir()] == ["a.png"]
    red, blue = drawn[..., 0], drawn[..., 2]
    assert ((red > 150) & (blue < red - 60)).sum() > 2000  # the heat
    assert ((blue > 200) & (red < 120)).sum() > 100  # the box
    save_picture(picture(heat=np.zeros((64, 64), np.float32), boxes=no_boxes()), file)
    plain = pixels(file)[60:380, 30:400]
    assert (np.ptp(plain, axis=2) < 12).mean() > 0.99


def test_a_picture_of_any_name_can_be_drawn(tmp_path: Path) -> None:
    for name in ("$x^2$_{", "肺.png", "a" * 300, "ünïcode\udcff.png".encode("utf-8", "backslashreplace").decode()):
        file = tmp_path / file_name(7, name, f"{name}/label")
        save_picture(picture(name=name, label=name, truth=None), file)
        assert file.exists()
        assert file.name.isascii()


def test_file_names_are_plain_and_numbered() -> None:
    assert file_name(3, "a/b c.png", "Pleural Thickening") == "003-b-c-Pleural-Thickening.png"
    assert file_name(1234, "x.png", "../y") == "1234-x-y.png"
    assert json.dumps(file_name(0, "肺.png", "肺")) == '"000-.png"'
