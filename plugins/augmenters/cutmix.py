"""CutMix (Yun et al. 2019): a rectangle of every image is replaced by that of another, and labels are mixed accordingly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from zoo import Augmenter, AugmentFunction, Info, hookimpl, option


@dataclass(frozen=True)
class CutMixOptions:
    """Options of `cutmix`."""

    alpha: Annotated[float, Gt(0), Le(1)] = option(1.0, "shares are drawn from Beta(alpha, alpha): larger mixes more")
    probability: Annotated[float, Ge(0), Le(1)] = option(1.0, "probability that an image is mixed")


class CutMix(Augmenter):
    """A rectangle with sides √(1 - λ) of the image's, centred anywhere, is pasted from the next image of the batch.

    λ ~ Beta(α, α) per image. The part of the rectangle beyond the image is cut off, and labels are mixed by the pixels that
    were in fact replaced. Batches are shuffled, so the next image is a random one. A label unknown in either of two mixed
    images is unknown; where no pixel was replaced the labels stay.
    """

    Options = CutMixOptions
    info = Info(
        name="cutmix",
        summary="paste a rectangle of another image, with its share of the labels",
        licence="Apache-2.0",
        paper="Yun et al. 2019, CutMix, arXiv:1905.04899",
    )

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras
        from keras import ops

        from zoo.nn.ops import beta, rectangles

        def cutmix(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            count = ops.shape(images)[0]
            side = ops.sqrt(1.0 - beta(count, options.alpha, seed))
            draws = keras.random.uniform((3, count), seed=seed)
            side = ops.where(draws[2] < options.probability, side, 0.0)
            pasted = rectangles(image_size, draws[0], draws[1], side, side)
            share = ops.mean(ops.cast(pasted, "float32"), axis=(1, 2))[:, None]
            images = ops.where(pasted[..., None], ops.roll(images, 1, axis=0), images)
            mixed = (1.0 - share) * labels + share * ops.roll(labels, 1, axis=0)
            return images, ops.where(share > 0, mixed, labels)

        return cutmix


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [CutMix()]
