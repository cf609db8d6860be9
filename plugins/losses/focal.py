"""Focal loss (Lin et al. 2017): well-classified labels count less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, hookimpl, option


@dataclass(frozen=True)
class FocalOptions:
    """Options of `focal`; the defaults are the paper's."""

    gamma: Annotated[float, Ge(0)] = option(2.0, "focusing parameter; 0: well-classified labels keep their weight")
    alpha: Annotated[float, Ge(0), Le(1)] = option(0.25, "weight of positives; negatives have 1 - alpha")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "labels become 1 - s/2 and s/2")


class Focal(Loss):
    """`-α y (1 - p)^γ log p - (1 - α) (1 - y) p^γ log(1 - p)` with `p = σ(z)` (Lin et al. 2017, equation 5).

    The powers are taken as `exp(-γ softplus(±z))`: finite, with finite gradients, for any logit and any γ ≥ 0.
    """

    Options = FocalOptions
    info = Info(
        name="focal",
        summary="focal loss: hard and rare labels count more",
        tasks=("binary", "multilabel"),
        licence="Apache-2.0",
        paper="Lin et al. 2017, Focal loss for dense object detection, arXiv:1708.02002",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        from keras import ops

        from zoo.nn.ops import float32, smooth

        def focal(labels: Any, logits: Any) -> Any:
            labels, logits = float32(labels, logits)
            y = smooth(labels, options.label_smoothing)
            miss, false_alarm = ops.softplus(-logits), ops.softplus(logits)  # -log p, -log(1 - p)
            positive = options.alpha * y * ops.exp(-options.gamma * false_alarm) * miss
            negative = (1.0 - options.alpha) * (1.0 - y) * ops.exp(-options.gamma * miss) * false_alarm
            return positive + negative

        return focal


@hookimpl
def zoo_losses() -> list[Loss]:
    return [Focal()]
