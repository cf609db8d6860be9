"""RandAugment (Cubuk et al. 2020) with operations that leave a chest X-ray a chest X-ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le

from zoo import Augmenter, AugmenterInfo, AugmentFunction, hookimpl, option

# operation -> its strength at magnitude 10
STRENGTHS = {
    "rotation": 15.0,  # degrees
    "shift_x": 0.1,  # of the side
    "shift_y": 0.1,
    "shear_x": 0.15,  # of the side from edge to edge
    "shear_y": 0.15,
    "zoom": 0.15,  # of the size
    "brightness": 0.2,  # of white
    "contrast": 0.4,  # of the contrast about the image's mean
    "gamma": 0.5,  # natural logarithm of the exponent
    "sharpness": 1.0,  # of the difference to the image smoothed by a Gaussian of one pixel
    "equalise": 0.5,  # of the way to the equalised histogram
    "identity": 0.0,
}


@dataclass(frozen=True)
class RandAugmentOptions:
    """Options of `randaugment`."""

    operations: Annotated[int, Ge(1), Le(10)] = option(2, "drawn for each image, with replacement")
    magnitude: Annotated[float, Ge(0), Le(10)] = option(5.0, "strength of every operation; 0 changes nothing")
    horizontal_flip: bool = option(False, "mirror half of the images: destroys laterality (heart side, L/R markers)")


class RandAugment(Augmenter):
    """Each image draws `operations` of twelve and a sign for each; all have the same `magnitude`, a linear scale.

    The twelve: rotation up to 15°, shift of 10% either way, shear of 15%, zoom of 15%, brightness of 20% of white, contrast
    of 40%, gamma of e^±0.5, sharpening or blurring, half of an equalisation (which has no sign), and none. Inverting, solarising,
    posterising and turning upside down, which make no image a radiologist would see, are not among them. Drawn twice, an
    operation is twice as strong, or cancels. They are applied in one order: moves in one resampling, then equalisation, gamma,
    contrast, brightness, sharpness. Beyond the image's edge its border is repeated. Labels stay as they are.
    """

    Options = RandAugmentOptions
    info = AugmenterInfo(
        name="randaugment",
        summary="a few random changes of position and exposure, all of one magnitude",
        licence="Apache-2.0",
        paper="Cubuk et al. 2020, RandAugment: practical automated data augmentation, arXiv:1909.13719",
        per_image=True,
    )

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras
        from keras import ops

        from zoo.nn.ops import warp

        scale = options.magnitude / 10.0

        def randaugment(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            count = ops.shape(images)[0]
            choice = keras.random.randint((options.operations, count), 0, len(STRENGTHS), seed=seed)
            signs = ops.where(keras.random.uniform((options.operations, count), seed=seed) < 0.5, -1.0, 1.0)
            mirrored = keras.random.uniform((count,), seed=seed) < 0.5
            drawn = {
                name: ops.sum(ops.where(choice == k, signs, 0.0), axis=0) * (scale * strength)
                for k, (name, strength) in enumerate(STRENGTHS.items())
            }
            if options.magnitude or options.horizontal_flip:
                flip = ops.where(mirrored, -1.0, 1.0) if options.horizontal_flip else ops.ones((count,))
                images = warp(images, _moves(drawn, flip, image_size))
            return (_tones(images, drawn) if options.magnitude else images), labels

        return randaugment


def _moves(drawn: dict[str, Any], flip: Any, size: int) -> tuple[Any, ...]:
    """Affine maps for `zoo.nn.ops.warp`: rotation, shear, zoom and mirroring about the centre, then the shift."""
    import math

    from keras import ops

    angle = drawn["rotation"] * (math.pi / 180.0)
    zoom = ops.exp(drawn["zoom"])  # twice the same is twice as large, and never nothing
    cos, sin = ops.cos(angle) / zoom, ops.sin(angle) / zoom
    across, down = drawn["shear_x"], drawn["shear_y"]
    a, b = flip * (cos - sin * down), cos * across - sin
    d, e = flip * (sin + cos * down), sin * across + cos
    centre = (size - 1) / 2
    shift_x, shift_y = size * drawn["shift_x"], size * drawn["shift_y"]
    return a, b, centre - centre * (a + b) + shift_x, d, e, centre - centre * (d + e) + shift_y


def _tones(images: Any, drawn: dict[str, Any]) -> Any:
    """Equalisation, gamma, contrast, brightness and sharpness; an image that drew none of them stays as it is."""
    from keras import ops

    from zoo.nn.histograms import equalise

    by_image = {name: strength[:, None, None, None] for name, strength in drawn.items()}
    share = ops.minimum(ops.abs(by_image["equalise"]), 1.0)
    images = images + share * (equalise(images) - images)
    # a power of zero has no logarithm; half a grey level below the first is as black
    bent = 255.0 * ops.exp(ops.exp(by_image["gamma"]) * ops.log(ops.maximum(images, 1e-3) / 255.0))
    images = ops.where(by_image["gamma"] == 0, images, bent)
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    images = images + ops.maximum(by_image["contrast"], -1.0) * (images - mean) + 255.0 * by_image["brightness"]
    images = ops.clip(images, 0.0, 255.0)
    images = images + ops.maximum(by_image["sharpness"], -1.0) * (images - _smoothed(images))
    return ops.clip(images, 0.0, 255.0)


def _smoothed(images: Any) -> Any:
    """The image under the binomial weights 1 4 6 4 1 along both axes, a Gaussian of one pixel; mirrored at its edge."""
    from keras import ops

    for axis in (1, 2):
        side = images.shape[axis]
        padding = [(0, 0)] * 4
        padding[axis] = (2, 2)
        wide = ops.pad(images, padding, mode="symmetric")
        at = [wide[(slice(None),) * axis + (slice(k, k + side),)] for k in range(5)]
        images = (at[0] + at[4] + 4.0 * (at[1] + at[3]) + 6.0 * at[2]) / 16.0
    return images


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [RandAugment()]
