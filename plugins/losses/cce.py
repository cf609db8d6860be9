"""Categorical cross-entropy: the default for multi-class tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, hookimpl, option


@dataclass(frozen=True)
class CCEOptions:
    """Options of `cce`."""

    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "share of each label spread over all classes")


class CCE(Loss):
    """`-y log softmax(z)` per class; the sum over classes is the cross-entropy of the image."""

    Options = CCEOptions
    info = Info(
        name="cce",
        summary="categorical cross-entropy over exclusive classes",
        tasks=("multiclass",),
        licence="Apache-2.0",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        from keras import ops

        from zoo.nn.ops import float32, smooth

        def cce(labels: Any, logits: Any) -> Any:
            labels, logits = float32(labels, logits)
            return -smooth(labels, options.label_smoothing, task.outputs) * ops.log_softmax(logits, axis=-1)

        return cce


@hookimpl
def zoo_losses() -> list[Loss]:
    return [CCE()]
