"""The sanity check: maps before and after the weights are randomised."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from maps_of import build, make_images

from zoo.explain.maps import Mapper
from zoo.explain.sanity import check, correlations, randomise, summarise
from zoo.nn.keras_compat import flatten_layers


def test_correlations_of_maps_know_order_and_flat_maps() -> None:
    one = np.random.default_rng(0).random((6, 6), np.float32)
    assert correlations(one, 2 * one + 1) == pytest.approx((1, 1))
    assert correlations(one, -one) == pytest.approx((-1, -1))
    ranked, plain = correlations(one, one**9)  # the same order
    assert ranked == pytest.approx(1)
    assert plain < 0.9
    assert np.isnan(correlations(one, np.ones((6, 6)))).all()


def test_randomising_draws_new_weights_from_the_initialisers_and_the_seed() -> None:
    network = build("tiny-cnn", 32)
    start = network.get_layer("backbone").get_layer("stem").get_weights()[0]
    for layer in flatten_layers(network):
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
    maps = Mapper(network).heat_maps(images, columns)
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
def test_the_result_is_worded(values: list[float], passed: bool | None, words: str) -> None:
    found = summarise("gradcam", 2, np.array(values), np.array(values))
    assert found.passed is passed
    assert words in found.sentence
