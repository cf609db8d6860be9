"""Random erasing (Zhong et al. 2020): a rectangle of the image is erased, so that no single region is decisive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from zoo import Augmenter, AugmenterInfo, AugmentFunction, UsageError, hookimpl, option


@dataclass(frozen=True)
class ErasingOptions:
    """Options of `erasing`."""

    probability: Annotated[float, Ge(0), Le(1)] = option(0.5, "probability that a rectangle of an image is erased")
    min_area: Annotated[float, Gt(0), Le(1)] = option(0.02, "smallest rectangle, as a fraction of the image")
    max_area: Annotated[float, Gt(0), Le(1)] = option(
        0.2, "largest rectangle; 0.4 in the paper, which hides many findings that are still labelled"
    )
    aspect: Annotated[float, Gt(0), Le(1)] = option(0.3, "smallest ratio of the sides; the largest is its inverse")
    fill: Literal["noise", "mean", "black"] = option(
        "noise", "each pixel drawn from [0, 255], the mean of the image, or 0"
    )


class Erasing(Augmenter):
    """One rectangle per image: area uniform in its bounds, ratio of the sides log-uniform in its own, wholly inside the image.

    The paper draws again until the rectangle fits; here the ratio is drawn from those that fit, so the area keeps its
    distribution, up to whole pixels. Labels stay as they are.
    """

    Options = ErasingOptions
    info = AugmenterInfo(
        name="erasing",
        summary="cover a random rectangle of some images",
        licence="Apache-2.0",
        paper="Zhong et al. 2020, Random erasing data augmentation, arXiv:1708.04896",
        per_image=True,
    )

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras
        from keras import ops

        from zoo.nn.ops import rectangles

        o = options
        if o.min_area > o.max_area:
            raise UsageError(
                f"augmenter erasing: min_area {o.min_area:g} is larger than max_area {o.max_area:g}; give --set "
                "augment.min_area and augment.max_area in order."
            )

        def erase(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            draws = keras.random.uniform((5, ops.shape(images)[0]), seed=seed)
            area = o.min_area + (o.max_area - o.min_area) * draws[0]
            # a ratio r of height to width fits where both √(area r) and √(area / r) are at most 1
            widest = -ops.log(ops.maximum(area, o.aspect))
            root = ops.exp(0.5 * widest * (2.0 * draws[1] - 1.0))
            height, width = (ops.sqrt(area) * each for each in (root, 1.0 / root))
            row, column = (0.5 * side + (1.0 - side) * draw for side, draw in ((height, draws[2]), (width, draws[3])))
            erased = draws[4] < o.probability
            box = rectangles(image_size, row, column, ops.where(erased, height, 0.0), ops.where(erased, width, 0.0))
            return ops.where(box[..., None], _fill(images, o.fill, seed), images), labels

        return erase


def _fill(images: Any, fill: str, seed: Any) -> Any:
    import keras
    from keras import ops

    if fill == "noise":
        return keras.random.uniform(ops.shape(images), 0.0, 255.0, seed=seed)
    return ops.mean(images, axis=(1, 2, 3), keepdims=True) if fill == "mean" else ops.zeros_like(images)


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [Erasing()]
