"""Binary cross-entropy with weights that balance the positives and negatives of each label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, UsageError, hookimpl, option

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class WeightedBCEOptions:
    """Options of `weighted-bce`."""

    cap: Annotated[float, Ge(1)] = option(100.0, "largest ratio between the weights of positives and negatives")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "labels become 1 - s/2 and s/2")


class WeightedBCE(Loss):
    """Binary cross-entropy with n / (2 n_pos) on positives and n / (2 n_neg) on negatives (Wang et al. 2017; CheXNet).

    The mean weight over the training labels is 1, so losses of labels and of runs stay comparable. Where the ratio of
    the two exceeds `cap` it is cut, and the mean kept at 1.
    """

    Options = WeightedBCEOptions
    info = Info(
        name="weighted-bce",
        summary="binary cross-entropy, positives and negatives of each label balanced",
        tasks=("binary", "multilabel"),
        licence="Apache-2.0",
        paper="Rajpurkar et al. 2017, CheXNet, arXiv:1711.05225",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        from keras import ops

        from zoo.nn.ops import float32, smooth

        if counts is None:
            raise UsageError(
                "the loss 'weighted-bce' needs the label counts of the training images, which are unknown here. "
                "Use --loss bce instead."
            )
        positive, negative = balance(counts, options.cap)

        def weighted_bce(labels: Any, logits: Any) -> Any:
            labels, logits = float32(labels, logits)
            y = smooth(labels, options.label_smoothing)
            return positive * y * ops.softplus(-logits) + negative * (1.0 - y) * ops.softplus(logits)

        return weighted_bce


def balance(counts: LabelCounts, cap: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights of positives and negatives, float32 `(outputs,)` each; 1 for a label that is never known."""
    import numpy as np

    positives, negatives = np.asarray(counts.positive, float), np.asarray(counts.negative, float)
    known = positives + negatives
    # a label with no positives has an unbounded ratio: the cap decides, and no training label meets that weight
    ratio = np.clip(negatives / np.maximum(positives, 1e-12), 1 / cap, cap)
    weighted = ratio * positives + negatives
    negative = np.where(known > 0, known / np.where(known > 0, weighted, 1.0), 1.0)
    positive = np.where(known > 0, ratio * negative, 1.0)
    return positive.astype("float32"), negative.astype("float32")


@hookimpl
def zoo_losses() -> list[Loss]:
    return [WeightedBCE()]
