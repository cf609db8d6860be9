"""MixUp (Zhang et al. 2018): every image is blended with another, labels too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Gt, Le

from zoo import Augmenter, AugmentFunction, Info, hookimpl, option


@dataclass(frozen=True)
class MixUpOptions:
    """Options of `mixup`."""

    alpha: Annotated[float, Gt(0), Le(1)] = option(0.2, "shares are drawn from Beta(alpha, alpha): larger mixes more")


class MixUp(Augmenter):
    """`λ x + (1 - λ) x'` for images and labels, λ ~ Beta(α, α) drawn per image, x' the next image of the batch.

    Batches are shuffled, so the next image is a random one. A label unknown in either image is unknown in the blend.
    """

    Options = MixUpOptions
    info = Info(
        name="mixup",
        summary="blend each image and its labels with another of the batch",
        licence="Apache-2.0",
        paper="Zhang et al. 2018, mixup: beyond empirical risk minimization, arXiv:1710.09412",
    )

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        from keras import ops

        from zoo.nn.ops import beta

        def mixup(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            share = beta(ops.shape(images)[0], options.alpha, seed)
            # two whites blend into one that rounding may leave a little above white
            images = ops.clip(_blend(images, share[:, None, None, None]), 0.0, 255.0)
            return images, _blend(labels, share[:, None])

        return mixup


def _blend(values: Any, share: Any) -> Any:
    from keras import ops

    return share * values + (1.0 - share) * ops.roll(values, 1, axis=0)


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [MixUp()]
