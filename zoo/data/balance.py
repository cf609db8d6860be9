"""Repeat-factor sampling: images with rare labels are shown more often in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.core.tasks import Task


@dataclass(frozen=True)
class Balance:
    """How often training images are shown per epoch, `factors` `(N,)` ≥ 1, and what that does to the labels.

    `before` and `after` are the shares of images with each of `names` in an epoch without and with it; `repeats` are the
    factors of the labels, `threshold` the share below which a label counts as rare.
    """

    factors: np.ndarray
    threshold: float
    names: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    repeats: np.ndarray

    @property
    def images(self) -> int:
        """Images per epoch, before the remainder that does not fill a batch is dropped."""
        return int(np.floor(self.factors.sum()))

    def lines(self) -> list[str]:
        """A summary for the user, with a line per label."""
        width = max(map(len, self.names))
        rows = [
            f"  {name:<{width}}  {before:7.2%} → {after:7.2%} of the images, factor {factor:.2f}"
            for name, before, after, factor in zip(self.names, self.before, self.after, self.repeats, strict=True)
        ]
        found = f"{len(self.factors):,} training images are shown {self.images:,} times per epoch"
        return [f"Balance: {found} (labels on fewer than {self.threshold:.1%} repeated)", *rows]

    def to_dict(self) -> dict[str, object]:
        columns = {"before": self.before, "after": self.after, "factor": self.repeats}
        return {
            "threshold": self.threshold,
            "images_per_epoch": self.images,
            **{name: dict(zip(self.names, values.tolist(), strict=True)) for name, values in columns.items()},
        }


def repeat_factors(task: Task, labels: np.ndarray, threshold: float | None = None) -> Balance:
    """Repeat factors after Gupta et al. 2019 (LVIS, arXiv:1908.03195, section 3 and appendix): a label c on a share f_c of the
    images has the factor `r_c = max(1, sqrt(t / f_c))`, an image the largest factor of its labels, 1 if it has none.

    Both sides of a binary task count as labels. Unknown and half labels are not present, and unknown ones do not count in f_c.

    Args:
        task: of the labels.
        labels: `(N, outputs)` of the training images, 1, 0, NaN or .5.
        threshold: t in (0, 1]; if None the mean of f_c, which is 1/2 for binary and 1/K for multiclass.
    """
    names = task.labels
    if task.kind == "binary":
        names = (f"not {names[0]}", names[0])
        labels = np.concatenate([1 - labels, labels], axis=1)
    present, known = labels == 1, ~np.isnan(labels)
    shares = present.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    t = float(shares.mean()) if threshold is None else threshold
    # a label on no image repeats nothing
    repeats = np.maximum(1.0, np.sqrt(np.divide(t, shares, out=np.zeros_like(shares), where=shares > 0)))
    factors = np.where(present, repeats, 1.0).max(axis=1)
    after = (present * factors[:, None]).sum(axis=0) / np.maximum((known * factors[:, None]).sum(axis=0), 1)
    return Balance(factors, t, names, shares, after, repeats)
