"""Cached features of a frozen backbone: computed once, then the head alone is trained on them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import keras
import numpy as np
from keras import ops

from zoo.core.contracts import Info
from zoo.data.batches import TrainingBatches, inference_batches, occurrences
from zoo.data.checked import naming_damage
from zoo.engine.feed import step_feed
from zoo.engine.replicas import DeviceContext, gathered
from zoo.engine.training import Trainer
from zoo.nn.keras_compat import flatten_layers, node_of
from zoo.nn.members import BACKBONE
from zoo.nn.override_call import override_call

logger = logging.getLogger(__name__)

LIMIT = 4 * 2**30  # bytes of memory that features may take
VALIDATION_ROWS = 8192  # images that the head sees at once in validation
# layers behind the backbone that always do the same: what they give out may be kept instead of what they take
FIXED = (
    keras.layers.Activation,
    keras.layers.AveragePooling2D,
    keras.layers.Flatten,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
)


class NotSeparable(Exception):
    """The frozen part of a network cannot be cached; the message gives the reason."""


@dataclass(frozen=True)
class Parts:
    """A network cut in two at its frozen backbone, layers and weights shared with it: `head(trunk(x))` is `network(x)`."""

    trunk: keras.Model
    head: keras.Model


def split_network(network: keras.Model) -> Parts:
    """Cut a network whose backbone is frozen where the features are smallest, behind the backbone or a pooling after it.

    Raises:
        NotSeparable: the head sees more than the backbone's output, or the part to be kept learns or is random.
    """
    try:
        tensors = _behind_backbone(network)
    except AttributeError as error:
        raise NotSeparable("the network is not a graph of layers") from error
    sizes = [_size(tensor) for tensor in tensors]
    features = tensors[max(k for k, size in enumerate(sizes) if size == min(sizes))]
    try:
        head = keras.Model(features, network.outputs[0], name="head")
    except ValueError as error:
        raise NotSeparable("its head sees more than the backbone's output") from error
    trunk = keras.Model(network.inputs[0], features, name="trunk")
    _check_fixed(trunk)
    return Parts(trunk, head)


def _behind_backbone(network: Any) -> list[Any]:
    """The backbone's output and those of the fixed layers that follow, one after the other."""
    consumers: dict[int, list[Any]] = {}
    nodes: dict[int, Any] = {}
    pending = list(network.outputs)
    while pending:
        node = node_of(pending.pop())
        if id(node) in nodes:
            continue
        nodes[id(node)] = node
        for tensor in node.input_tensors:
            consumers.setdefault(id(tensor), []).append(node)
            pending.append(tensor)
    starts = [node for node in nodes.values() if node.operation.name == BACKBONE]
    if len(starts) != 1 or len(starts[0].outputs) != 1:
        raise NotSeparable("its backbone does not have one output")
    tensors, node = [starts[0].outputs[0]], starts[0]
    while len(users := consumers.get(id(tensors[-1]), [])) == 1:
        node = users[0]
        fixed = type(node.operation) in FIXED and node.operation.activity_regularizer is None
        if not fixed or any(node.outputs[0] is output for output in network.outputs):
            break
        tensors.append(node.outputs[0])
    return tensors


def _size(tensor: Any) -> int:
    """Numbers per image."""
    if None in tensor.shape[1:]:
        raise NotSeparable("its features have no fixed size")
    return int(np.prod(tensor.shape[1:]))


def backbone_in_inference(network: keras.Model) -> AbstractContextManager[int]:
    """Let the backbone compute as in inference, without its dropout and the like, also in training, until the context ends.

    That is what a frozen backbone does: it does not learn, so noise in it would only blur what the head sees, and its output is
    the same in every epoch.
    """
    backbones = [layer for layer in network.layers if layer.name == BACKBONE]

    def call(layer: Any, inputs: Any, *rest: Any, training: bool | None = None, **keywords: Any) -> Any:
        return type(layer).call(layer, inputs, *rest, training=False, **keywords)

    return override_call([each for each in backbones if "training" in signature(type(each).call).parameters], call)


def _check_fixed(trunk: keras.Model) -> None:
    layers = flatten_layers(trunk)
    if any(isinstance(layer, keras.layers.BatchNormalization) and layer.trainable for layer in layers):
        raise NotSeparable("batch normalisation learns before its head")
    if trunk.trainable_variables:
        raise NotSeparable("something learns before its head")
    inside = {id(each) for layer in trunk.layers if layer.name == BACKBONE for each in (layer, *flatten_layers(layer))}
    outside = [layer for layer in layers if id(layer) not in inside and layer is not trunk]
    if any(
        len(layer.variables) != len(layer.weights) for layer in outside
    ):  # the rest is the state of random generators
        raise NotSeparable("what stands before the backbone is random in training")
    if all(type(layer).__module__.startswith("keras.") for layer in outside):
        return
    # a stranger's layer may do anything in training: see whether it does
    shape = trunk.input_shape[1:]
    images = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype(np.float32)
    with backbone_in_inference(trunk):
        trained, plain = (ops.convert_to_numpy(trunk(images, training=training)) for training in (True, False))
    if not np.allclose(trained, plain, rtol=1e-3, atol=1e-3):
        raise NotSeparable("a layer before or behind the backbone does something else in training")


class Extractor(keras.Model):
    """Images to features, with the augmentation of the training."""

    def __init__(self, trunk: keras.Model, augment: Any, seed: int) -> None:
        super().__init__(name="extractor", dtype="float32")
        self.trunk, self.augment = trunk, augment
        self.augment_seed = keras.random.SeedGenerator(seed, name="feature_seed")

    def call(self, inputs: dict[str, Any], training: bool = False) -> Any:
        images = ops.cast(inputs["image"], "float32")
        if self.augment is not None:
            images, _ = self.augment(images, inputs["label"], self.augment_seed)
        return gathered(ops.cast(self.trunk(images, training=False), "float32"))


class FeatureCache:
    """The features of all training and validation images, and what trains and validates the head with them.

    Args:
        head: the trained part, sharing its layers with the network.
        batches: the training images, whose order and labels hold.
        views: `(V, N, …)` float32, the features of the training images in V augmentations; epoch e takes view e mod V, and
            an image that is repeated within an epoch the next view each time.
        validation: `(M, …)` float32, the features of the validation images, not augmented.
    """

    def __init__(self, head: keras.Model, batches: TrainingBatches, views: np.ndarray, validation: np.ndarray) -> None:
        self.head, self.batches, self.views, self.validation = head, batches, views, validation
        self._place = np.zeros(int(batches.rows.max()) + 1, np.int64)
        self._place[batches.rows] = np.arange(len(batches.rows))
        self._epoch, self._order, self._view = -1, np.empty(0), np.empty(0)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Features `(B, …)` and labels `(B, K)` of a step, counted from the first of epoch 0: images as in `batches`."""
        epoch, number = divmod(int(step), self.batches.steps)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.batches.order(epoch)
            self._view = (epoch + occurrences(self._order)) % len(self.views)
        rows = self._order[number]
        return self.views[self._view[number], self._place[rows]], self.batches.labels[rows]

    def feed(self, start: int, stop: int) -> Any:
        """As `training_feed`, an iterable of `{"feature": (B, …) float32, "label": (B, K) float32}`."""
        return step_feed(self.batch, "feature", range(start, stop))

    def validation_logits(self) -> np.ndarray:
        """Logits `(M, outputs)` float32 of the validation images by the head as it is now."""
        parts = np.split(self.validation, range(VALIDATION_ROWS, len(self.validation), VALIDATION_ROWS))
        return np.concatenate(
            [ops.convert_to_numpy(self.head(part, training=False)).astype(np.float32) for part in parts]
        )

    def feeding(self, trainer: Any) -> AbstractContextManager[int]:
        """Let a trainer take what `feed` gives: its loss, its optimizer and its variables are those of the network."""
        head = self.head

        def call(trainer: Trainer, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
            return {"labels": inputs["label"], "logits": head(inputs["feature"], training=training)}

        return override_call([trainer], call)


def cached_features(
    trainer: Trainer,
    augmenter: Info,
    batches: TrainingBatches,
    validation: np.ndarray,
    *,
    views: int,
    epochs: int,
    after_batch: Callable[[], None] = lambda: None,
    context: DeviceContext | None = None,
) -> FeatureCache | None:
    """Compute the features of a network whose backbone is frozen, where they serve several epochs.

    Without augmentation the head then learns what it would learn from the images, to the last digits. An augmentation that
    changes each image on its own (`AugmenterInfo.per_image`) is drawn `views` times per image, instead of anew in each epoch.

    Args:
        trainer: holds the network, frozen, and the augmentation.
        augmenter: the augmenter's record.
        batches: the training images.
        validation: the validation images' rows of `batches.images`.
        views: augmented views per image; 0: nothing is kept.
        epochs: epochs for which the backbone is frozen.
        after_batch: called after each batch; what it raises ends the work.
        context: the devices that share the work; one if None.

    Returns:
        The features; None where keeping them would change the training or saves nothing.
    """
    random = getattr(augmenter, "random", True)
    count = views if random else 1
    if not views:
        return None
    try:
        if not getattr(augmenter, "per_image", False):
            raise NotSeparable(f"the augmentation {augmenter.name} reaches beyond single images")
        if epochs <= count:  # as much work, or less
            return None
        parts = split_network(trainer.network)
        needed = 4 * (count * len(batches.rows) + len(validation)) * int(np.prod(parts.trunk.output_shape[1:]))
        if needed > LIMIT:
            raise NotSeparable(
                f"its features would take {needed / 2**30:.1f} GiB of memory (the limit is {LIMIT / 2**30:.0f}); fewer views take "
                "less: --set feature_views=1"
            )
    except NotSeparable as reason:
        logger.info(f"Frozen backbone: computed anew in each epoch, since {reason}")
        return None
    start = time.monotonic()
    cache = _compute(parts, trainer, batches, validation, count, after_batch, context)
    what = f"{count} views each" if random else "one view each"
    logger.info(
        f"Frozen backbone: computed once for {len(batches.rows) + len(validation):,} images ({what}, {needed / 2**20:,.1f} MiB, "
        f"{time.monotonic() - start:.1f} s); the head trains on its output"
    )
    return cache


def _compute(
    parts: Parts,
    trainer: Trainer,
    batches: TrainingBatches,
    validation: np.ndarray,
    views: int,
    after_batch: Callable[[], None],
    context: DeviceContext | None,
) -> FeatureCache:
    extractor = Extractor(parts.trunk, trainer.augment, batches.seed)
    # a deterministic augmentation still changes the training images, but never the validation images
    plain = Extractor(parts.trunk, None, 0)
    extractor.jit_compile = plain.jit_compile = trainer.network.jit_compile
    if context is not None:
        context.separate_seeds(extractor)
    compute = _features_together if context is not None and context.replicas > 1 else _features
    kept = np.stack([compute(extractor, batches, batches.rows, after_batch) for _ in range(views)])
    return FeatureCache(parts.head, batches, kept, compute(plain, batches, validation, after_batch))


def _features(
    extractor: Extractor, batches: TrainingBatches, rows: np.ndarray, after_batch: Callable[[], None]
) -> np.ndarray:
    """Features `(len(rows), …)` float32 of the given rows, in their order."""
    found = np.empty((len(rows), *extractor.trunk.output_shape[1:]), np.float32)
    done = 0
    for chosen in inference_batches(rows, batches.batch_size):
        images, labels = batches.gather(chosen)
        values = extractor.predict_on_batch({"image": images, "label": labels})[: len(rows) - done]
        found[done : done + len(values)] = values
        done += len(values)
        after_batch()
    return found


def _features_together(
    extractor: Extractor, batches: TrainingBatches, rows: np.ndarray, after_batch: Callable[[], None]
) -> np.ndarray:
    """As `_features`, by several devices: each batch is divided among them."""
    index = inference_batches(rows, batches.batch_size)
    feed = step_feed(lambda number: batches.gather(index[number]), "image", range(len(index)))
    each = keras.callbacks.LambdaCallback(on_predict_batch_end=lambda batch, logs: after_batch())
    with naming_damage(batches.images):
        found = extractor.predict(feed, steps=len(index), callbacks=[each], verbose=0)
    return np.asarray(found[: len(rows)], np.float32)
