"""A rehearsal of what plugins bring to a training, on a made-up batch: their mistakes show before images are prepared."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.config.run_config import RunConfig
from zoo.core.calls import PluginError, call, named
from zoo.core.contracts import LabelCounts, Strategy
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.engine import devices

BATCH = 3
LABELS = ("a", "b", "c")


def rehearse(config: RunConfig, registry: Registry) -> None:
    """Build the model, loss and augmenter once and call each on a batch, as far as they come from plugins.

    The batch has noise for images. The number of outputs is that of the task where it is binary, else three.

    Raises:
        PluginError: one of them raises, or returns what the engine cannot use.
    """
    steps = [
        (registry.get("model", config.model.name), _model),
        (registry.get("loss", config.loss.name), _loss),
        *((part, _augmenter) for part in _augmenters(config, registry)),
    ]
    foreign = [(strategy, step) for strategy, step in steps if strategy.origin and not strategy.origin.own]
    if not foreign:
        return
    settings = config.settings
    task = Task(settings.task, LABELS[:1] if settings.task == "binary" else LABELS)
    with devices.session(settings.one_device, settings.precision, settings.seed):
        for strategy, step in foreign:
            step(strategy, config, task)


def _augmenters(config: RunConfig, registry: Registry) -> list[Strategy]:
    entry = registry.entry("augmenter", config.augment.name)
    return [part.strategy for part in entry.parts or (entry,)]


def _model(model: Any, config: RunConfig, task: Task) -> None:
    if model.info.trained:
        return  # a network with the outputs that it has been trained for
    size = int(config.settings.image_size or model.info.image_size)
    network = call(model.build, task, size, None, config.model.options)
    images = _images(size)
    with named(model, "a batch of images through the network it builds"):
        logits = network(images, training=False)
    _demand(model, "build() gives a network whose logits", logits, (BATCH, task.outputs))


def _loss(loss: Any, config: RunConfig, task: Task) -> None:
    counts = LabelCounts(np.full(task.outputs, 40.0), np.full(task.outputs, 60.0))
    function = call(loss.build, task, counts, config.loss.options)
    with named(loss, "the function that build() returns"):
        values = function(_labels(task), np.zeros((BATCH, task.outputs), np.float32))
    _demand(loss, "build() gives a function whose values", values, (BATCH, task.outputs))


def _augmenter(augmenter: Any, config: RunConfig, task: Task) -> None:
    import keras

    size = int(config.settings.image_size or 32)
    options = config.augment.options
    if hasattr(options, "parts"):  # of a composition: those of this part
        options = options.parts[config.augment.name.split("+").index(augmenter.info.name)]
    function = call(augmenter.build, size, options)
    with named(augmenter, "the function that build() returns"):
        images, labels = function(
            keras.ops.convert_to_tensor(_images(size)),
            keras.ops.convert_to_tensor(_labels(task)),
            keras.random.SeedGenerator(0),
        )
    _demand(augmenter, "build() gives a function whose images", images, (BATCH, size, size, 1))
    _demand(augmenter, "build() gives a function whose labels", labels, (BATCH, task.outputs))


def _demand(strategy: Any, what: str, values: Any, shape: tuple[int, ...]) -> None:
    found = tuple(getattr(values, "shape", ()))
    if found != shape:
        raise PluginError(
            f"the {strategy.kind} '{strategy.info.name}' of plugin {strategy.origin} cannot be used: {what} have the shape {found} "
            f"for {BATCH} images, not {shape}. See 'zoo plugin check {strategy.info.name}'."
        )


def _images(size: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 1)).astype(np.float32)


def _labels(task: Task) -> np.ndarray:
    labels = np.zeros((BATCH, task.outputs), np.float32)
    labels[np.arange(BATCH), np.arange(BATCH) % task.outputs] = 1
    return labels
