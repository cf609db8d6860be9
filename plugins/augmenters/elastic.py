"""Elastic deformation (Simard et al. 2003): smooth random deformations, as between two exposures of a patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Le

from zoo import Augmenter, AugmenterInfo, AugmentFunction, hookimpl, option

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ElasticOptions:
    """Options of `elastic`."""

    alpha: Annotated[float, Ge(0), Le(0.1)] = option(
        0.01, "standard deviation of the displacement along each axis, as a fraction of the side; 0 changes nothing"
    )
    sigma: Annotated[float, Ge(0.02), Le(0.5)] = option(
        0.06, "width of the Gaussian that smooths it, as a fraction of the side; below 3 alpha images tear"
    )


class Elastic(Augmenter):
    """Every pixel is sampled bilinearly at a position displaced by a smooth random field, drawn per image and axis.

    The field is uniform noise in ±1, smoothed by a Gaussian, as in the paper. The noise lies on a grid with three points per
    `sigma`, which after smoothing is indistinguishable from a grid of single pixels, and extends four `sigma` beyond the image,
    so that edges deform as the centre does. The displacement is scaled to the standard deviation `alpha`, where the paper
    multiplies by an arbitrary factor. Labels stay as they are.
    """

    Options = ElasticOptions
    info = AugmenterInfo(
        name="elastic",
        summary="bend images by a smooth random displacement",
        licence="Apache-2.0",
        paper="Simard et al. 2003, Best practices for convolutional neural networks applied to visual document analysis",
        per_image=True,
    )

    def build(self, image_size: int, options: Any) -> AugmentFunction:
        import keras
        from keras import ops

        from zoo.nn.ops import sample

        smoothing = smoothing_weights(image_size, options.sigma)
        points = smoothing.shape[1]
        # uniform in ±1 has the variance 1/3
        scale = options.alpha * image_size * 3**0.5
        place = ops.arange(image_size, dtype="float32")

        def elastic(images: Any, labels: Any, seed: Any) -> tuple[Any, Any]:
            noise = keras.random.uniform((2, ops.shape(images)[0], points, points), -1.0, 1.0, seed=seed)
            field = scale * ops.matmul(ops.matmul(smoothing, noise), smoothing.T)
            return sample(images, place + field[0], place[:, None] + field[1]), labels

        return elastic


def smoothing_weights(side: int, sigma: float) -> np.ndarray:
    """Gaussian weights `(side, points)` of grid points for each pixel, float32; the squares of a row add up to 1.

    Independent noise of unit variance on the grid therefore has unit variance at every pixel.
    """
    import numpy as np

    width = sigma * side
    grid = np.arange(-4 * width, side - 1 + 4 * width, width / 3)
    weights = np.exp(-((np.arange(side)[:, None] - grid) ** 2) / (2 * width**2))
    return (weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))).astype("float32")


@hookimpl
def zoo_augmenters() -> list[Augmenter]:
    return [Elastic()]
