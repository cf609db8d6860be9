"""Asymmetric loss (Ridnik et al. 2021): easy negatives are down-weighted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, hookimpl, option


@dataclass(frozen=True)
class AsymmetricOptions:
    """Options of `asymmetric`; the defaults are those of the paper's MS-COCO networks."""

    gamma_neg: Annotated[float, Ge(0)] = option(4.0, "how strongly easy negatives are down-weighted; 0: not at all")
    gamma_pos: Annotated[float, Ge(0)] = option(0.0, "how strongly easy positives are down-weighted; 0: not at all")
    clip: Annotated[float, Ge(0), Lt(1)] = option(0.05, "negatives with a probability below this are ignored")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "labels become 1 - s/2 and s/2")


class Asymmetric(Loss):
    """`-y (1 - p)^γ₊ log p - (1 - y) q^γ₋ log(1 - q)` with `p = σ(z)`, `q = max(p - m, 0)` (Ridnik et al. 2021).

    m is `clip`. Logarithms and powers are taken from softplus and log-sum-exp, never from a rounded 1 - p: finite, with
    finite gradients, for any logit and any γ ≥ 0. A label of ½ has half of each side.
    """

    Options = AsymmetricOptions
    info = Info(
        name="asymmetric",
        summary="asymmetric loss: easy negatives are down-weighted, rare positives are not",
        tasks=("binary", "multilabel"),
        licence="Apache-2.0",
        paper="Ridnik et al. 2021, Asymmetric loss for multi-label classification, arXiv:2009.14119",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        from keras import ops

        from zoo.nn.ops import float32, smooth

        def asymmetric(labels: Any, logits: Any) -> Any:
            labels, logits = float32(labels, logits)
            y = smooth(labels, options.label_smoothing)
            miss, false_alarm = ops.softplus(-logits), ops.softplus(logits)  # -log p, -log(1 - p)
            positive = y * ops.exp(-options.gamma_pos * false_alarm) * miss
            log_q = -miss
            if options.clip:
                # 1 - q = min(1 - p + m, 1), as a logarithm; q is kept off 0, where a power below 1 has no gradient
                false_alarm = -ops.minimum(ops.logaddexp(-false_alarm, math.log(options.clip)), 0.0)
                log_q = ops.log(ops.maximum(ops.sigmoid(logits) - options.clip, 1e-12))
            return positive + (1.0 - y) * ops.exp(options.gamma_neg * log_q) * false_alarm

        return asymmetric


@hookimpl
def zoo_losses() -> list[Loss]:
    return [Asymmetric()]
