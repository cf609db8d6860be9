"""Mistakes of plugins show on a made-up batch, before any image is read."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from trainings import LAYER

from zoo.config.resolve import resolve
from zoo.core.calls import PluginError
from zoo.core.contracts import Augmenter, AugmenterInfo, Info, Loss, Model, ModelInfo
from zoo.core.origins import Origin
from zoo.core.registry import Entry, Registry, registry
from zoo.engine.rehearsal import rehearse

ORIGIN = Origin("mine", "zoo-mine", "1.0", __name__)


class Doubled(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return keras.ops.concatenate([x, x], axis=0)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


class Net(Model):
    info = ModelInfo(name="net", summary="a model", parameters=1, min_image_size=16)
    origin = ORIGIN
    last: keras.layers.Layer | None = None

    def build(self, task: Any, image_size: int, weights: str | None, options: Any) -> keras.Model:
        inputs = keras.Input((image_size, image_size, 1))
        logits = keras.layers.Dense(task.outputs)(keras.layers.GlobalAveragePooling2D()(inputs))
        return keras.Model(inputs, self.last(logits) if self.last else logits)


class Mean(Loss):
    info = Info(name="mean", summary="a loss")
    origin = ORIGIN

    def build(self, task: Any, counts: Any, options: Any) -> Any:
        return lambda labels, logits: keras.ops.mean(logits - labels)


class Still(Augmenter):
    info = AugmenterInfo(name="still", summary="an augmenter")
    origin = ORIGIN

    def build(self, image_size: int, options: Any) -> Any:
        def still(images: Any, labels: Any, seed: Any) -> Any:
            return images, labels["finding"]

        return still


def including(*strategies: Any) -> Registry:
    found = registry()
    for each in strategies:
        found = found.including(Entry(each.kind, each, each.origin))
    return found


def rehearsed(found: Registry, **changes: Any) -> None:
    rehearse(resolve([LAYER, {"model": "net", "augment": "none", **changes}], found), found)


def test_sound_strategies_pass_whatever_the_task() -> None:
    rehearsed(including(Net()))
    rehearsed(including(Net()), task="multilabel", loss="bce")


def test_a_network_that_changes_the_batch_is_refused() -> None:
    net = Net()
    net.last = Doubled()
    with pytest.raises(
        PluginError, match=r"model 'net' of plugin mine .* have the shape \(6, 1\) for 3 images, not \(3, 1\)"
    ):
        rehearsed(including(net))


def test_a_loss_that_is_not_elementwise_is_refused() -> None:
    with pytest.raises(
        PluginError, match=r"loss 'mean' of plugin mine .* have the shape \(\) for 3 images, not \(3, 1\)"
    ):
        rehearsed(including(Mean()), model="tiny-cnn", loss="mean")


def test_the_function_of_an_augmenter_is_named_in_a_composition_too() -> None:
    with pytest.raises(
        PluginError, match=r"augmenter 'still' of plugin mine .* failed in the function that build\(\) returns"
    ):
        rehearsed(including(Still()), model="tiny-cnn", augment="none+still")


def test_built_in_strategies_are_not_rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.engine.devices.session", None)  # without which nothing is built
    rehearsed(registry(), model="tiny-cnn", augment="none+mixup")
