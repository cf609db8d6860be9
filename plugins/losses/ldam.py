"""Label-distribution-aware margin loss (Cao et al. 2019): rarer classes have wider margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Lt

from zoo import Info, LabelCounts, Loss, LossFunction, Task, UsageError, hookimpl, option

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class LDAMOptions:
    """Options of `ldam`."""

    max_margin: Annotated[float, Ge(0)] = option(0.5, "margin of the rarest class, in units of the logit")
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = option(0.0, "share of each label spread over all classes")


class LDAM(Loss):
    """`-log e^(z_j - Δ_j) / (e^(z_j - Δ_j) + Σ_(k≠j) e^(z_k))`, Δ_j = C n_j^(-1/4) (Cao et al. 2019).

    n_j is the number of training images of class j, and C makes the widest margin `max_margin`. Multiclass: as it stands,
    over the classes; soft labels weigh the terms of their classes. Binary and multi-label: each label is the case of two
    classes, present with logit z and absent with logit 0, which comes to `-y log σ(z - Δ₊) - (1 - y) log σ(-z - Δ₋)`: both
    sides have a margin, Δ₊ from the images with the finding and Δ₋ from those without, and C is one for all labels. A class
    without a training image has the widest margin and does not decide C.

    The logits are the network's own. The paper also normalises the features and the weights of the last layer, so that a
    margin cannot be won by larger weights, and reweighs late in training; neither is done here.
    """

    Options = LDAMOptions
    info = Info(
        name="ldam",
        summary="cross-entropy with margins that are wider for rarer classes",
        licence="Apache-2.0",
        paper="Cao et al. 2019, Learning imbalanced datasets with label-distribution-aware margin loss, arXiv:1906.07413",
    )

    def build(self, task: Task, counts: LabelCounts | None, options: Any) -> LossFunction:
        import numpy as np

        if counts is None:
            raise UsageError(
                "the loss 'ldam' needs the label counts of the training images, which are unknown here. "
                f"Use --loss {'cce' if task.exclusive else 'bce'} instead."
            )
        if task.exclusive:
            return _over_classes(margins(np.asarray(counts.positive), options.max_margin), options.label_smoothing)
        both = margins(np.stack([counts.positive, counts.negative]), options.max_margin)
        return _per_label(both[0], both[1], options.label_smoothing)


def margins(counts: np.ndarray, widest: float) -> np.ndarray:
    """Margins from images per class, float32 of the same shape: proportional to n^(-1/4), the rarest class at `widest`."""
    import numpy as np

    seen = counts > 0
    raw = np.where(seen, np.maximum(counts, 1.0) ** -0.25, np.inf)
    largest = raw[seen].max(initial=0.0)
    return np.where(seen, widest * np.where(seen, raw, 0.0) / (largest or 1.0), widest).astype("float32")


def _per_label(present: np.ndarray, absent: np.ndarray, smoothing: float) -> LossFunction:
    from keras import ops

    from zoo.nn.ops import float32, smooth

    def ldam(labels: Any, logits: Any) -> Any:
        labels, logits = float32(labels, logits)
        y = smooth(labels, smoothing)
        return y * ops.softplus(present - logits) + (1.0 - y) * ops.softplus(logits + absent)

    return ldam


def _over_classes(widths: np.ndarray, smoothing: float) -> LossFunction:
    import numpy as np
    from keras import ops

    from zoo.nn.ops import float32, smooth

    own = np.eye(len(widths), dtype="float32")

    def ldam(labels: Any, logits: Any) -> Any:
        labels, logits = float32(labels, logits)
        y = smooth(labels, smoothing, len(widths))
        # one row of logits per class, in which that class alone stands back by its margin: (N, K, K)
        rows = ops.expand_dims(logits, 1) - own * widths
        return -y * ops.sum(own * ops.log_softmax(rows, axis=-1), axis=-1)

    return ldam


@hookimpl
def zoo_losses() -> list[Loss]:
    return [LDAM()]
