"""The training class: one `keras.Model` that trains any network with any loss and augmenter, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.core.contracts import AugmentFunction, LossFunction
from zoo.core.tasks import Task


def masked_loss(
    task: Task, loss: LossFunction, labels: Any, logits: Any, total: Callable[[Any], Any] | None = None
) -> Any:
    """Reduce an elementwise loss `(N, outputs)` to a scalar over the known labels.

    NaN labels are unknown: they count neither above nor below the fraction. A multiclass loss is summed over the classes
    and averaged over the images; any other is averaged over all known labels of the batch.

    Where replicas have a part of the batch each, `total` adds up a number over them: the result is this replica's share of
    the loss over the known labels of the whole batch, and the shares add up to it.
    """
    known = ops.logical_not(ops.isnan(labels))
    # replace before computing: NaN times a mask of 0 is still NaN, in the value and in its gradient
    values = ops.cast(loss(ops.where(known, labels, 0.0), logits), "float32")
    values = ops.where(known, values, 0.0)
    weights = ops.cast(known, "float32")
    if task.exclusive:
        weights = ops.min(weights, axis=-1)
        values = ops.sum(values, axis=-1) * weights
    count = ops.sum(weights)
    return ops.sum(values) / ops.maximum(count if total is None else total(count), 1.0)


class Trainer(keras.Model):
    """Wraps a network for `fit`.

    Takes `{"image": (N, S, S, 1), "label": (N, outputs)}`, augments both in training, and calls the network. Its own
    arithmetic is float32; the network's layers follow their own precision. Only the network is ever saved.

    `replicas` and `total` are of use on TensorFlow alone, where each of several devices computes its share of the loss
    (`masked_loss`): Keras adds up the gradients. On JAX there is one computation, whatever the devices.
    """

    replicas = 1
    total: Callable[[Any], Any] | None = None

    def __init__(
        self, network: keras.Model, task: Task, loss: LossFunction, augment: AugmentFunction, seed: int
    ) -> None:
        super().__init__(name="trainer", dtype="float32")
        self.network = network
        self.task = task
        self.elementwise_loss = loss
        self.augment = augment
        self.augment_seed = keras.random.SeedGenerator(seed, name="augment_seed")

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, Any]:
        images, labels = ops.cast(inputs["image"], "float32"), inputs["label"]
        if training:
            images, labels = self.augment(images, labels, self.augment_seed)
        return {"labels": labels, "logits": self.network(images, training=training)}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        value = masked_loss(self.task, self.elementwise_loss, y_pred["labels"], y_pred["logits"], self.total)
        for penalty in self.losses:
            penalty = ops.cast(penalty, "float32")
            value = value + (penalty if self.replicas == 1 else penalty / self.replicas)  # every replica has it
        return value
