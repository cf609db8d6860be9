"""Binary cross-entropy: the default for binary and multi-label tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, hookimpl, option


@dataclass(frozen=True)
class BCEOptions:
    """Options of `bce`."""

    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "labels become 1 - s/2 and s/2")


class BCE(Loss):
    """`-y log σ(z) - (1 - y) log σ(-z)` per label, through softplus: finite for any logit."""

    Options = BCEOptions
    info = Info(
        name="bce", summary="binary cross-entropy per label", tasks=("binary", "multilabel"), licence="Apache-2.0"
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        from keras import ops

        from zoo.nn.ops import float32, smooth

        def bce(labels: Any, logits: Any) -> Any:
            labels, logits = float32(labels, logits)
            y = smooth(labels, options.label_smoothing)
            return y * ops.softplus(-logits) + (1.0 - y) * ops.softplus(logits)

        return bce


@hookimpl
def zoo_losses() -> list[Loss]:
    return [BCE()]
