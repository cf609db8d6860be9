"""Small changes of exposure and positioning, as they occur between images of one patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Le, Lt

from zoo import Augmenter, AugmenterInfo, AugmentFunction, hookimpl, option


@dataclass(frozen=True)
class StandardOptions:
    """Options of `standard`; 0 switches a change off."""

    brightness: Annotated[float, Ge(0), Le(1)] = option(0.1, "largest shift of brightness, as a fraction of white")
    contrast: Annotated[float, Ge(0), Lt(1)] = option(0.1, "largest change of contrast, as a fraction")
    shift: Annotated[float, Ge(0), Le(0.5)] = option(0.05, "largest shift along each axis, as a fraction of the side")
    rotation: Annotated[float, Ge(0), Le(180)] = option(5.0, "largest rotation either way, in degrees")
    zoom: Annotated[float, Ge(0), Lt(1)] = option(0.05, "largest change of size, as a fraction")
    noise: Annotated[float, Ge(0), Le(255)] = option(
        2.0, "largest standard deviation of Gaussian noise, in grey levels"
    )
    horizontal_flip: bool = option(False, "mirror half of the images: destroys laterality (heart side, L/R markers)")


class Standard(Augmenter):
    """Rotation, zoom and shift in one bilinear resampling; then contrast about the image's mean, brightness and noise.

    Every image draws its own changes, uniform in ± the option; the noise's deviation between 0 and the option. Beyond the
    image's edge its border is repeated.
    """

    Options = StandardOptions
    info = AugmenterInfo(
        name="standard",
        summary="small random rotation, shift, zoom, brightness, contrast and noise",
        licence="Apache-2.0",
        per_image=True,
    )

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras
        from keras import ops

        from zoo.nn.ops import warp

        o = options
        moves = bool(o.shift or o.rotation or o.zoom or o.horizontal_flip)

        def augment(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            # one draw for all images and changes, so that switching one off leaves the others as they were
            draws = keras.random.uniform((ops.shape(images)[0], 8), -1.0, 1.0, seed=seed)
            if moves:
                images = warp(images, _coefficients(draws, image_size, o))
            if o.contrast or o.brightness:
                factor = 1.0 + o.contrast * draws[:, 4, None, None, None]
                mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
                images = images * factor + (
                    mean * (1.0 - factor) + 255.0 * o.brightness * draws[:, 5, None, None, None]
                )
            if o.noise:
                deviation = o.noise * ops.abs(draws[:, 7, None, None, None])
                images = images + deviation * keras.random.normal(ops.shape(images), seed=seed)
            return ops.clip(images, 0.0, 255.0), labels

        return augment


def _coefficients(draws: Any, size: int, options: StandardOptions) -> tuple[Any, ...]:
    """Affine maps for `zoo.nn.ops.warp`: rotation, zoom and mirroring about the centre, then the shift."""
    import math

    from keras import ops

    angle = math.radians(options.rotation) * draws[:, 0]
    zoom = 1.0 + options.zoom * draws[:, 1]
    shift_x, shift_y = (options.shift * size * draws[:, k] for k in (2, 3))
    mirror = ops.where(draws[:, 6] < 0, -1.0, 1.0) if options.horizontal_flip else ops.ones_like(angle)
    cos, sin = ops.cos(angle) / zoom, ops.sin(angle) / zoom
    a, b, d, e = mirror * cos, -sin, mirror * sin, cos
    centre = (size - 1) / 2
    return a, b, centre - centre * (a + b) + shift_x, d, e, centre - centre * (d + e) + shift_y


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [Standard()]
