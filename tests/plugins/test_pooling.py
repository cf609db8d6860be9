"""Pooling heads: each against its formula in NumPy, in saved networks, in heat maps and in exported files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logsumexp, softmax

from zoo.core.errors import UsageError
from zoo.core.options import validate
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.explain.gradients import Probe
from zoo.explain.layers import find_layer
from zoo.nn import pooling

TASK = Task("multilabel", ("a", "b", "c"))
POOLINGS = ("avg", "max", "lse", "attention")


def build(size: int = 16, **values: Any) -> keras.Model:
    model = registry().get("model", "tiny-cnn")
    return model.build(TASK, size, None, validate(model.Options, {"width": 4, "depth": 1} | values, "model"))


def make_images(size: int = 16, count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), dtype=np.uint8)


def attended(network: keras.Model, maps: np.ndarray) -> np.ndarray:
    """Gated attention by its formula, with the weights of the network."""
    cells = maps.reshape(len(maps), -1, maps.shape[-1])
    content, gate, scores = (
        network.get_layer(f"attention_{name}").get_weights() for name in ("content", "gate", "scores")
    )
    hidden = np.tanh(cells @ content[0] + content[1]) * expit(cells @ gate[0] + gate[1])
    weights = softmax(hidden @ scores[0], axis=1)
    assert weights.std() > 1e-4  # not the mean by another name
    return (weights * cells).sum(axis=1)


EXPECTED: dict[str, Callable[[keras.Model, np.ndarray], np.ndarray]] = {
    "avg": lambda _, maps: maps.mean(axis=(1, 2)),
    "max": lambda _, maps: maps.max(axis=(1, 2)),
    "lse": lambda _, maps: (logsumexp(5 * maps.astype(float), axis=(1, 2)) - np.log(maps[0, ..., 0].size)) / 5,
    "attention": attended,
}


@pytest.mark.parametrize("name", POOLINGS)
def test_each_pooling_is_its_formula(name: str) -> None:
    network = build(pooling=name, sharpness=5)
    first = network.get_layer("pool" if name in ("avg", "max") else "positions")
    parts = [first.input, network.get_layer("pool").output]
    maps, pooled = (np.asarray(each) for each in keras.Model(network.input, parts)(make_images()))
    if name == "attention":
        generator = np.random.default_rng(1)
        for weight in network.weights:
            if "attention" in weight.path:
                weight.assign(generator.normal(0, 0.5, weight.shape))
        maps, pooled = (np.asarray(each) for each in keras.Model(network.input, parts)(make_images()))
    assert pooled.shape == (3, 16)
    np.testing.assert_allclose(pooled, EXPECTED[name](network, maps), atol=1e-5)


@given(
    sharpness=st.floats(0.01, 100),
    scale=st.sampled_from([1.0, 1e3, 1e6]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_log_sum_exp_is_finite_and_between_mean_and_maximum(sharpness: float, scale: float, seed: int) -> None:
    maps = (np.random.default_rng(seed).normal(size=(2, 3, 4, 5)) * scale).astype("float32")
    inputs = keras.Input((3, 4, 5))
    pooled = np.asarray(keras.Model(inputs, pooling.log_sum_exp(inputs, sharpness))(maps))
    slack = 1e-5 * scale + 1e-4 / sharpness
    assert (pooled <= maps.max(axis=(1, 2)) + slack).all()
    assert (pooled >= maps.mean(axis=(1, 2)) - slack).all()


def test_a_sharpness_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="sharpness"):
        build(pooling="lse", sharpness=0)


WITHOUT_ZOO = """
import sys
sys.modules["zoo"] = None  # importing it would fail
import keras, numpy as np
for name in sys.argv[2:]:
    network = keras.saving.load_model(f"{sys.argv[1]}/{name}.keras", safe_mode=True)
    np.save(f"{sys.argv[1]}/{name}.npy", np.asarray(network(np.load(f"{sys.argv[1]}/images.npy"))))
"""


@pytest.mark.slow
def test_saved_networks_load_with_keras_alone(run_python: Callable[..., Any], tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", make_images())
    networks = {name: build(pooling=name) for name in ("lse", "attention")}
    for name, network in networks.items():
        network.save(tmp_path / f"{name}.keras")
    done = run_python("-c", WITHOUT_ZOO, str(tmp_path), *networks)
    assert done.returncode == 0, done.stderr
    for name, network in networks.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), np.asarray(network(make_images())), atol=1e-6)


@pytest.mark.parametrize("name", POOLINGS)
def test_heat_maps_are_made_of_the_last_maps_of_the_backbone(name: str) -> None:
    network = build(32, pooling=name)
    layer = find_layer(network)
    assert (layer.height, layer.width, layer.channels) == network.get_layer("backbone").output.shape[1:]
    _, gradients, _ = Probe(network, layer, batch=2).gradients(make_images(32)[..., 0], np.array([0, 1, 2]))
    assert np.isfinite(gradients).all()
    assert (np.abs(gradients).max(axis=(1, 2, 3)) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lse", "attention"])
@pytest.mark.parametrize("form", ["litert", "onnx"])
def test_exported_files_pool_alike(form: str, name: str, tmp_path: Path) -> None:
    from zoo.export import formats
    from zoo.export.network import assemble
    from zoo.nn.inference import for_inference

    network, image = build(32, pooling=name), make_images(32, 1)[0, ..., 0]
    file, chosen = tmp_path / f"net{formats.FORMATS[form].suffix}", formats.check_format(form, None)
    bare = for_inference(network, float32=True)
    formats.write(chosen, file, lambda resize, dtype: assemble(bare, TASK, None, resize, dtype), None, None)
    found = formats.open_file(chosen, file)(image)
    np.testing.assert_allclose(found, expit(np.asarray(network(image[None, ..., None]))[0]), atol=1e-4)
