"""CLAHE: contrast limited adaptive histogram equalisation (Zuiderveld 1994), which enhances local contrast."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Le

from zoo import Augmenter, AugmenterInfo, AugmentFunction, UsageError, hookimpl, option


@dataclass(frozen=True)
class CLAHEOptions:
    """Options of `clahe`."""

    clip_limit: Annotated[float, Ge(1)] = option(2.0, "largest slope of a tone curve")
    tiles: Annotated[int, Ge(1), Le(32)] = option(8, "tiles per side, each with its own tone curve")
    probability: Annotated[float, Ge(0), Le(1)] = option(
        0.5, "probability that an image is equalised; validation and test images never are"
    )


class CLAHE(Augmenter):
    """Equalise the histogram of each tile, its slope limited, with bilinear transitions between tiles (Zuiderveld 1994).

    See `zoo.nn.histograms.equalise`. Validation and test images are never equalised; by default half of the training images
    are, so that the network learns both. With a probability of 1 it is deterministic. Labels stay as they are.
    """

    Options = CLAHEOptions
    info: AugmenterInfo = AugmenterInfo(
        name="clahe",
        summary="local histogram equalisation with limited contrast, of half of the images",
        licence="Apache-2.0",
        paper="Zuiderveld 1994, Contrast limited adaptive histogram equalization, Graphics Gems IV",
        per_image=True,
    )

    def effect(self, options: Any) -> AugmenterInfo:
        return replace(self.info, random=0 < options.probability < 1)

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras
        from keras import ops

        from zoo.nn.histograms import equalise

        if image_size < 2 * options.tiles:
            raise UsageError(
                f"augmenter clahe: {options.tiles} tiles per side need images of at least {2 * options.tiles} pixels, not "
                f"{image_size}. Use --set augment.tiles={max(1, image_size // 8)} or a larger --image-size."
            )

        def clahe(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            changed = equalise(images, options.tiles, options.clip_limit)
            if self.effect(options).random:
                draws = keras.random.uniform((ops.shape(images)[0], 1, 1, 1), seed=seed)
                changed = ops.where(draws < options.probability, changed, images)
            return changed, labels

        def unchanged(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            return images, labels

        return clahe if options.probability else unchanged


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [CLAHE()]
