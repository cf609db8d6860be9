"""Class-balanced loss (Cui et al. 2019): classes are weighted by the inverse of their effective number of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, UsageError, hookimpl, option

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ClassBalancedOptions:
    """Options of `class-balanced`."""

    beta: Annotated[float, Ge(0), Lt(1)] = option(0.999, "0: equal weights; towards 1: weights by inverse frequency")
    gamma: Annotated[float, Ge(0)] = option(0.0, "focusing parameter of focal loss; 0: cross-entropy, 2 is usual")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "share of each label spread over all classes")


class ClassBalanced(Loss):
    """Cross-entropy, focal where `gamma` is given, times `(1 - β) / (1 - β^n)` of the class (Cui et al. 2019).

    n is the number of training images of the class. Multiclass: softmax, the weights of the K classes adding up to K as in
    the paper. Binary and multi-label: each label is a problem of the two classes present and absent, whose weights add up
    to 2. A class without a training image counts as one image: its weight is finite, and no training label meets it.
    """

    Options = ClassBalancedOptions
    info = Info(
        name="class-balanced",
        summary="cross-entropy or focal loss, classes weighted by their effective number of images",
        licence="Apache-2.0",
        paper="Cui et al. 2019, Class-balanced loss based on effective number of samples, arXiv:1901.05555",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        import numpy as np

        if counts is None:
            raise UsageError(
                "the loss 'class-balanced' needs the label counts of the training images, which are unknown here. "
                f"Use --loss {'cce' if task.exclusive else 'bce'} instead."
            )
        if task.exclusive:
            return _over_classes(balance(np.asarray(counts.positive), options.beta), options)
        both = balance(np.stack([counts.positive, counts.negative], axis=-1), options.beta)
        return _per_label(both[:, 0], both[:, 1], options)


def balance(counts: np.ndarray, beta: float) -> np.ndarray:
    """Weights from images per class `(…, classes)`, float32 of the same shape; they add up to the number of classes."""
    import numpy as np

    with np.errstate(divide="ignore"):  # beta 0: the effective number is 1 whatever the count
        effective = -np.expm1(np.maximum(counts, 1.0) * np.log(beta)) / (1.0 - beta)
    weights = 1.0 / effective
    return (weights * counts.shape[-1] / weights.sum(axis=-1, keepdims=True)).astype("float32")


def _per_label(present: np.ndarray, absent: np.ndarray, options: ClassBalancedOptions) -> LossFunction:
    from keras import ops

    from zoo.nn.ops import float32, smooth

    def class_balanced(labels: Any, logits: Any) -> Any:
        labels, logits = float32(labels, logits)
        y = smooth(labels, options.label_smoothing)
        miss, false_alarm = ops.softplus(-logits), ops.softplus(logits)  # -log p, -log(1 - p)
        positive = present * y * ops.exp(-options.gamma * false_alarm) * miss
        return positive + absent * (1.0 - y) * ops.exp(-options.gamma * miss) * false_alarm

    return class_balanced


def _over_classes(weights: np.ndarray, options: ClassBalancedOptions) -> LossFunction:
    from keras import ops

    from zoo.nn.ops import float32, smooth

    def class_balanced(labels: Any, logits: Any) -> Any:
        labels, logits = float32(labels, logits)
        y = smooth(labels, options.label_smoothing, len(weights))
        log_p = ops.log_softmax(logits, axis=-1)
        value = -weights * y * log_p
        if options.gamma:  # 1 - p is kept off 0, where a power below 1 has no gradient
            value = value * ops.exp(options.gamma * ops.log(ops.maximum(-ops.expm1(log_p), 1e-12)))
        return value

    return class_balanced


@hookimpl
def zoo_losses() -> list[Loss]:
    return [ClassBalanced()]
