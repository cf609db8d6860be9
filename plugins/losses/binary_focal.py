"""Focal cross-entropy as Keras computes it: `keras.losses.BinaryFocalCrossentropy`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, hookimpl, option


@dataclass(frozen=True)
class BinaryFocalOptions:
    """Options of `binary-focal`, with the names and defaults of `keras.losses.BinaryFocalCrossentropy`."""

    gamma: Annotated[float, Ge(0)] = option(2.0, "focusing parameter; 0: well-classified labels keep their weight")
    apply_class_balancing: bool = option(False, "weight positives by alpha, negatives by 1 - alpha")
    alpha: Annotated[float, Ge(0), Le(1)] = option(0.25, "that weight; without class balancing it has no effect")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "labels become 1 - s/2 and s/2")


class BinaryFocal(Loss):
    """`-(1 - p_t)^γ (y log p + (1 - y) log(1 - p))` with `p = σ(z)` and `p_t = y p + (1 - y) (1 - p)`, Keras' own formula.

    It differs from `focal`, the paper's, twice: α counts only with `apply_class_balancing`, and of a label between 0 and 1, as
    smoothing makes it, both parts have one common factor.
    """

    Options = BinaryFocalOptions
    info = Info(
        name="binary-focal",
        summary="focal loss as Keras' BinaryFocalCrossentropy computes it, α only on request",
        tasks=("binary", "multilabel"),
        licence="Apache-2.0",
        paper="Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        from keras import ops

        from zoo.nn.ops import float32, smooth

        def binary_focal(labels: Any, logits: Any) -> Any:
            labels, logits = float32(labels, logits)
            y = smooth(labels, options.label_smoothing)
            cross_entropy = y * ops.softplus(-logits) + (1.0 - y) * ops.softplus(logits)
            # a root of 0 has no gradient, for γ below 1
            missed = ops.maximum(y * ops.sigmoid(-logits) + (1.0 - y) * ops.sigmoid(logits), 1e-30)
            loss = ops.power(missed, options.gamma) * cross_entropy
            if options.apply_class_balancing:
                loss = loss * (y * options.alpha + (1.0 - y) * (1.0 - options.alpha))
            return loss

        return binary_focal


@hookimpl
def zoo_losses() -> list[Loss]:
    return [BinaryFocal()]
