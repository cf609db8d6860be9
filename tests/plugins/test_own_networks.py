"""The networks written here: counts by the published formulas, sizes, what a saved one needs, heat maps and features."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.core.errors import UsageError
from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.engine.weights import load_matching
from zoo.explain.layers import find_layer, spatial_layers
from zoo.explain.maps import Mapper

TASK = Task("multilabel", ("Mass", "Nodule"))
SIZES = {"vit-tiny": (192, 3), "vit-small": (384, 6), "vit-base": (768, 12)}
# of the published networks for 224 pixels with a class token, without their classifier
PUBLISHED = {"vit-tiny": 5_524_416, "vit-small": 21_665_664, "vit-base": 85_798_656}


def build(name: str, size: int, **values: Any) -> keras.Model:
    model = registry().get("model", name)
    return model.build(TASK, size, None, validate(model.Options, values, "model"))


def pixels(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


def vit_parameters(width: int) -> int:
    """Patches, class token, positions, 12 × (two norms, attention, MLP), the last norm."""
    block = 2 * 2 * width + 4 * (width**2 + width) + (4 * width**2 + 4 * width) + (4 * width**2 + width)
    return (16 * 16 * 3 * width + width) + width + (14 * 14 + 1) * width + 12 * block + 2 * width


# Vision Transformers


@pytest.mark.parametrize("name", SIZES)
def test_vit_parameters_are_the_published_ones(name: str) -> None:
    width = SIZES[name][0]
    assert vit_parameters(width) == PUBLISHED[name]
    # mean pooling does without the class token and its position; the head has one output
    assert registry().get("model", name).info.parameters == vit_parameters(width) - 2 * width + width + 1


def test_vit_with_a_class_token_has_the_published_count_and_heads() -> None:
    backbone = build("vit-tiny", 96, class_token=True).get_layer("backbone")
    assert backbone.count_params() == PUBLISHED["vit-tiny"]
    assert backbone.get_layer("block1_attention").num_heads == 3
    rates = [layer.rate for layer in backbone.layers if "_drop" in layer.name]
    np.testing.assert_allclose(rates, np.repeat(np.arange(1, 12) * 0.1 / 11, 2))


def attention(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Multi-head attention of tokens `(n, D)`."""
    (wq, bq, wk, bk, wv, bv, wo, bo) = weights
    q, k, v = (np.einsum("nd,dhe->hne", x, w) + b[:, None] for w, b in ((wq, bq), (wk, bk), (wv, bv)))
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("hne,hed->nd", scores / scores.sum(axis=-1, keepdims=True) @ v, wo) + bo


def norm(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    gamma, beta = weights
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * gamma + beta


def gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import erf

    return x * (1 + erf(x / np.sqrt(2))) / 2


def by_numpy(backbone: Any, image: np.ndarray, class_token: bool) -> np.ndarray:
    """The tokens `(n, D)` of one image `(S, S, 1)` that come out of the last normalisation, by the formulas."""
    side = len(image) // 16
    patches = (image / 127.5 - 1).reshape(side, 16, side, 16).transpose(0, 2, 1, 3).reshape(side * side, 256)
    w = {layer.name: [np.array(v, np.float64) for v in layer.get_weights()] for layer in backbone.layers}
    kernel, bias = w["patches"]
    x = patches @ kernel.sum(axis=2).reshape(256, -1) + bias  # three equal channels
    grid = w["positions"][0].reshape(14, 14, -1)
    x = x + grid[:side, :side].reshape(side * side, -1) if side == 14 else x
    if class_token:
        x = np.concatenate([w["class_token"][0] + w["class_position"][0], x])
    for block in range(1, 13):
        x = x + attention(norm(x, w[f"block{block}_norm1"]), w[f"block{block}_attention"])
        (w1, b1), (w2, b2) = w[f"block{block}_mlp1"], w[f"block{block}_mlp2"]
        x = x + gelu(norm(x, w[f"block{block}_norm2"]) @ w1 + b1) @ w2 + b2
    return norm(x, w["norm"])


@pytest.mark.parametrize("class_token", [pytest.param(False, marks=pytest.mark.slow), True])
def test_vit_computes_by_the_formulas(class_token: bool) -> None:
    keras.utils.set_random_seed(0)
    network = build("vit-tiny", 224, class_token=class_token)
    backbone = network.get_layer("backbone")
    for weight in backbone.weights:  # none left at 0 or 1, where it would not matter
        weight.assign(weight + np.random.default_rng(1).normal(0, 0.05, weight.shape))
    images = pixels(224, 1)
    tokens = by_numpy(backbone, images[0, ..., 0].astype(float), class_token)
    read = tokens[0] if class_token else tokens.mean(axis=0)
    kernel, bias = network.get_layer("logits").get_weights()
    np.testing.assert_allclose(np.asarray(network(images))[0], read @ kernel + bias, rtol=1e-3, atol=1e-3)


def test_positions_are_interpolated_to_the_patches_there_are() -> None:
    backbone = build("vit-tiny", 112).get_layer("backbone")
    table = np.repeat(np.arange(14.0)[:, None, None], 14, axis=1) + np.zeros(192)  # the row's number
    backbone.get_layer("positions").set_weights([table.reshape(1, -1)])
    positions = keras.Model(backbone.input, backbone.get_layer("position_tokens").output)(np.zeros((2, 112, 112, 3)))
    rows = np.asarray(positions).reshape(2, 7, 7, 192)
    np.testing.assert_allclose(rows, np.broadcast_to(np.arange(0.5, 14, 2)[:, None, None], rows.shape), atol=1e-5)


@pytest.mark.parametrize(("size", "cells"), [(32, 2), (33, 3), (100, 7)])
def test_vit_takes_any_size_and_its_cells_lie_over_the_whole_image(size: int, cells: int) -> None:
    backbone = build("vit-tiny", size).get_layer("backbone")
    assert backbone.output.shape == (None, cells, cells, 192)
    patches = keras.Model(backbone.input, backbone.get_layer("patches").output)
    image = np.zeros((1, size, size, 3), np.float32)
    image[:, -2:, -2:] = 1  # the last pixels of the image are in the last patch alone
    changed = np.abs(np.asarray(patches(image)) - np.asarray(patches(0 * image))).max(axis=-1)[0] > 1e-6
    assert changed[-1, -1]
    assert changed.sum() == 1


def test_vit_drops_paths_of_whole_images_in_training_alone() -> None:
    network = build("vit-tiny", 32, drop_path=0.9)
    images = np.repeat(pixels(32, 1), 16, axis=0)
    still = np.asarray(network(images, training=False))
    np.testing.assert_allclose(still, np.repeat(still[:1], 16, axis=0), atol=1e-5)
    assert len(np.unique(np.asarray(network(images, training=True))[:, 0].round(4))) > 8
    drop = network.get_layer("backbone").get_layer("block12_drop1")
    kept = np.asarray(drop(np.ones((64, 3, 5), np.float32), training=True)).reshape(64, -1)
    assert (kept == kept[:, :1]).all()
    assert set(kept[:, 0].round(3)) <= {0.0, 10.0}


@pytest.mark.slow
@pytest.mark.parametrize("class_token", [False, True])
def test_heat_maps_of_a_vit_lie_on_its_patches(class_token: bool) -> None:
    network = build("vit-tiny", 64, class_token=class_token)
    mapper = Mapper(network, "gradcam", batch=2)
    assert mapper.grid == (4, 4)
    assert mapper.where == ("block12_maps" if class_token else "maps")
    images = pixels(64)[..., 0]
    names = [layer.name for layer in spatial_layers(network)]
    assert not {"query", "key", "value", "softmax"} & set(names)  # heads and tokens, not height and width
    features, gradients, _ = mapper.probe.gradients(images, np.array([0, 1]))
    assert features.shape == gradients.shape == (2, 4, 4, 192)
    assert np.abs(gradients).max() > 0


@pytest.mark.slow
def test_weights_of_a_vit_load_at_another_image_size(tmp_path: Path) -> None:
    trained, network = build("vit-tiny", 64), build("vit-tiny", 96)
    trained.save(tmp_path / "trained.keras")
    report = load_matching(network, tmp_path / "trained.keras")
    assert report.unmatched_target == ()
    backbones = [each.get_layer("backbone").get_weights() for each in (trained, network)]
    for theirs, ours in zip(*backbones, strict=True):
        np.testing.assert_array_equal(theirs, ours)


KERAS_ALONE = """
    import sys
    class Refuse:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == "zoo":
                raise ImportError("zoo is not here")
    sys.meta_path.insert(0, Refuse())
    import keras, numpy as np
    for name in sys.argv[2:]:
        network = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", compile=False)
        if keras.backend.backend() == "tensorflow" and name in ("cnn-baseline", "vit-tiny"):
            network.export(f"{sys.argv[1]}/{name}", verbose=False)  # at once: it was not called yet
        data = np.load(f"{sys.argv[1]}/{name}.npz")
        np.testing.assert_allclose(np.asarray(network(data["images"])), data["logits"], atol=1e-4)
    print(keras.backend.backend(), "zoo" in sys.modules)
"""
OWN = {
    "vit-tiny": {"class_token": True, "drop_path": 0.2},
    "simplified-densenet": {},
    "dense-baseline": {},
    "cnn-baseline": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_saved_networks_load_with_keras_alone(backend: str, run_python: Callable[..., Any], tmp_path: Path) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    names = [*OWN] if backend == "tensorflow" else ["vit-tiny"]  # JAX compiles each operation of a deep network
    for name in names:
        network, images = build(name, 40, **OWN[name]), pixels(40)
        network.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", images=images, logits=np.asarray(network(images)))
    done = run_python("-c", textwrap.dedent(KERAS_ALONE), str(tmp_path), *names, KERAS_BACKEND=backend)
    assert done.stdout.split() == [backend, "False"], done.stderr


@pytest.mark.parametrize("name", [pytest.param("vit-tiny", marks=pytest.mark.slow), "cnn-baseline", "dense-baseline"])
def test_half_precision_gives_float32_logits_near_those_of_float32(name: str) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build(name, 32)
    finally:
        keras.config.set_dtype_policy("float32")
    full = build(name, 32)
    full.set_weights(half.get_weights())
    found = half(pixels(32))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(np.asarray(found), np.asarray(full(pixels(32))), atol=0.1)


# the simplified DenseNet


def weight_layers(network: Any) -> int:
    return sum(isinstance(each, (keras.layers.Conv2D, keras.layers.Dense)) for each in network._flatten_layers())


def test_simplified_densenet_has_63_layers_and_no_bottleneck() -> None:
    network = build("simplified-densenet", 32)
    assert weight_layers(network) == 63
    kernels = [each.kernel_size[0] for each in network._flatten_layers() if isinstance(each, keras.layers.Conv2D)]
    assert (kernels.count(7), kernels.count(3), kernels.count(1)) == (1, 58, 3)


def test_simplified_densenet_options() -> None:
    network = build("simplified-densenet", 64, growth=4, blocks=[2, 3], compression=0.25, dropout=0.2)
    assert weight_layers(network) == 1 + 5 + 1 + 1
    # stem 8, two layers of 4, a quarter of them kept, three layers of 4
    assert network.get_layer("backbone").output.shape == (None, 8, 8, 16 // 4 + 3 * 4)
    with pytest.raises(UsageError, match=r"model\.blocks: received"):
        build("simplified-densenet", 64, blocks=[])
    with pytest.raises(UsageError, match=r"model\.compression: received 0"):
        build("simplified-densenet", 64, compression=0)


# the baselines


def test_cnn_baseline_blocks_and_width() -> None:
    backbone = build("cnn-baseline", 64, width=8, depth=3).get_layer("backbone")
    assert backbone.output.shape == (None, 8, 8, 32)
    assert build("cnn-baseline", 16, depth=6).get_layer("backbone").output.shape == (None, 1, 1, 256)


def test_dense_baseline_layers_and_refused_heat_maps() -> None:
    network = build("dense-baseline", 16, width=8, depth=2)
    assert network.count_params() == (256 * 8 + 8) + (8 * 4 + 4) + (4 * 2 + 2)
    with pytest.raises(
        UsageError, match=r"no layer with an output of more than one row and column.*--method occlusion"
    ):
        find_layer(network)
    maps = next(Mapper(network, "occlusion").make(pixels(16)[..., 0], np.array([0, 1]), np.array([0, 1])))
    assert maps.maps.shape == (1, 16, 16)
