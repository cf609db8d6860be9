"""Grad-CAM, Grad-CAM++ and occlusion maps in NumPy; `Probe` runs the network."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.explain.layers import SpatialLayer

METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "occlusion": "occlusion",
}
PATCH = 8  # the side of an occluding patch is an eighth of the image's, its stride half of that


def gradcam(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, eq. 1 and 2).

    Args:
        features: `(N, h, w, C)`.
        gradients: of the label's logit by the features, `(N, h, w, C)`.

    Returns:
        `(N, h, w)` ≥ 0: the channels summed, each with the mean of its gradient as its weight.
    """
    return _weighted(features, gradients.mean(axis=(1, 2)))


def gradcam_plus_plus(features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063); arrays as in `gradcam`.

    The score is exp(logit), as in the paper, so that its second and third derivative are powers of the logit's gradient
    (eq. 19). The factor exp(logit) itself is the same all over an image and left out: normalising would undo it.
    """
    squares = gradients**2
    rest = 2 * squares + (features * gradients**3).sum(axis=(1, 2), keepdims=True)
    alpha = np.divide(squares, rest, out=np.zeros_like(squares), where=rest != 0)
    return _weighted(features, (alpha * np.maximum(gradients, 0)).sum(axis=(1, 2)))


def _weighted(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.maximum(np.einsum("nhwc,nc->nhw", features, weights), 0)


def upsample(maps: np.ndarray, size: int) -> np.ndarray:
    """`(N, h, w)` to `(N, size, size)` by bilinear interpolation between the centres of the cells."""
    rows, columns = (_interpolation(length, size) for length in maps.shape[1:])
    return np.asarray(rows @ maps @ columns.T, dtype=np.float32)


def _interpolation(length: int, size: int) -> np.ndarray:
    """The weights `(size, length)` with which cells count at each pixel; beyond the outermost centres the edge goes on."""
    place = ((np.arange(size) + 0.5) * length / size - 0.5).clip(0, length - 1)
    return np.maximum(0.0, 1 - np.abs(place[:, None] - np.arange(length)))


def normalise(maps: np.ndarray) -> np.ndarray:
    """Divide each map `(N, S, S)` ≥ 0 by its maximum; one that is zero everywhere stays so."""
    top = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)


def occlusion_starts(size: int, patch: int, stride: int) -> np.ndarray:
    """Where patches begin along a side, in pixels; the last one ends with the image."""
    return np.append(np.arange(0, size - patch, stride), size - patch)


def occluded(image: np.ndarray, starts: np.ndarray, patch: int) -> np.ndarray:
    """The image `(S, S)` once for every patch `(P², S, S)`, covered there with its mean, row by row."""
    copies = np.repeat(image[None], len(starts) ** 2, axis=0)
    fill = np.rint(image.mean()).astype(image.dtype) if image.dtype.kind == "u" else image.mean()
    for number, (top, left) in enumerate(np.stack(np.meshgrid(starts, starts, indexing="ij"), -1).reshape(-1, 2)):
        copies[number, top : top + patch, left : left + patch] = fill
    return copies


def occlusion_map(drops: np.ndarray, starts: np.ndarray, patch: int, size: int) -> np.ndarray:
    """How much the logit falls when a pixel is covered: the mean over the patches that cover it, `(size, size)` ≥ 0.

    Args:
        drops: the logit of the whole image minus that with a patch covered, `(P, P)`.
        starts: where the patches begin, `(P,)`.
        patch: their side in pixels.
        size: the image's side.
    """
    pixels = np.arange(size)
    covers = ((pixels[:, None] >= starts) & (pixels[:, None] < starts + patch)).astype(np.float64)
    count = np.outer(covers.sum(axis=1), covers.sum(axis=1))
    total = covers @ drops @ covers.T
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    return np.asarray(np.maximum(mean, 0), dtype=np.float32)


@dataclass(frozen=True)
class Maps:
    """Heat maps `(N, S, S)` float32 in [0, 1] of image-and-label pairs, `index` `(N,)` of them, and the images' logits `(N, K)`."""

    index: np.ndarray
    maps: np.ndarray
    logits: np.ndarray


class Mapper:
    """Makes the heat maps of one network by one method."""

    def __init__(
        self,
        network: Any,
        method: str = "gradcam",
        layer: str | None = None,
        patch: int | None = None,
        stride: int | None = None,
        batch: int = 16,
    ) -> None:
        """Prepare a network, whose layers are read but not changed.

        Args:
            network: from `(N, S, S, 1)` pixels in [0, 255] to logits `(N, K)`.
            method: one of `METHODS`.
            layer: whose features Grad-CAM reads; the last spatial one if None, and of an ensemble the last of each of its
                networks, whose maps are added. Not for occlusion.
            patch: side of the occluding patch in pixels; an eighth of the image's if None (Zeiler and Fergus 2014,
                arXiv:1311.2901, cover with a grey square; the size is ours).
            stride: step between patches in pixels; half the patch if None.
            batch: images at once.

        Raises:
            UsageError: an unknown layer, or a patch or stride that does not fit the image.
        """
        from zoo.explain.gradients import Probe
        from zoo.explain.layers import find_layers

        self.method, self.size = method, int(network.input_shape[1])
        self.layers: list[SpatialLayer] = []
        self.patch = patch or max(1, round(self.size / PATCH))
        self.stride = stride or max(1, self.patch // 2)
        if method == "occlusion":
            if layer is not None:
                raise UsageError(
                    "occlusion covers pixels and reads no layer: leave out --layer, or use --method gradcam."
                )
            _check_patch(self.size, self.patch, self.stride)
            self.starts = occlusion_starts(self.size, self.patch, self.stride)
        else:
            if patch is not None or stride is not None:
                raise UsageError("--patch and --stride are for --method occlusion.")
            self.layers = find_layers(network, layer)
        layers: list[SpatialLayer | None] = [*self.layers] or [None]
        self.probes = [Probe(network, each, batch) for each in layers]
        self.probe = self.probes[0]

    @property
    def grid(self) -> tuple[int, int]:
        """How many cells the map has before it is brought to the image's size; of several the most."""
        if self.layers:
            return max(((each.height, each.width) for each in self.layers), key=math.prod)
        return len(self.starts), len(self.starts)

    @property
    def where(self) -> str:
        """The layer's name, or the patches in words."""
        return ", ".join(each.name for each in self.layers) or f"patch {self.patch}, stride {self.stride} pixels"

    def make(self, images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Iterator[Maps]:
        """Maps of image-and-label pairs, in parts as they are ready.

        Args:
            images: images `(M, S, S)`, uint8 or float in [0, 255].
            rows: the image of each pair, `(N,)` into `images`.
            columns: the label of each pair, `(N,)` into the logits.
        """
        if self.method == "occlusion":
            yield from self._occlusion(images, rows, columns)
            return
        for start in range(0, len(rows), self.probe.batch):
            index = np.arange(start, min(start + self.probe.batch, len(rows)))
            parts = [probe.gradients(np.asarray(images[rows[index]]), columns[index]) for probe in self.probes]
            heat = sum(self._evidence(features, gradients) for features, gradients, _ in parts)
            yield Maps(index, normalise(np.asarray(heat)), parts[0][2])

    def _evidence(self, features: np.ndarray, gradients: np.ndarray) -> np.ndarray:
        """A map `(N, S, S)` that can be added to those of other layers.

        Grad-CAM takes the mean of a gradient over the cells: times their number it is the same evidence for a pixel,
        however many cells a layer has. Grad-CAM++ takes a sum.
        """
        if self.method == "gradcam++":
            return upsample(gradcam_plus_plus(features, gradients), self.size)
        cells = features.shape[1] * features.shape[2] if len(self.layers) > 1 else 1
        return upsample(gradcam(features, gradients), self.size) * np.float32(cells)

    def _occlusion(self, images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Iterator[Maps]:
        """One image at a time, for all of its labels: covering it is the work."""
        side = len(self.starts)
        for row in dict.fromkeys(rows.tolist()):
            index = np.flatnonzero(rows == row)
            image = np.asarray(images[row])
            logits = self.probe.logits(np.concatenate([image[None], occluded(image, self.starts, self.patch)]))
            drops = (logits[:1] - logits[1:])[:, columns[index]].T.reshape(-1, side, side)
            maps = np.stack([occlusion_map(each, self.starts, self.patch, self.size) for each in drops])
            yield Maps(index, normalise(maps), np.repeat(logits[:1], len(index), axis=0))

    def heat_maps(self, images: np.ndarray, columns: Sequence[int] | np.ndarray) -> np.ndarray:
        """Heat maps float32 `(N, S, S)` in [0, 1] of images `(N, S, S)`, each for the logit in `columns` `(N,)`."""
        maps = np.zeros(images.shape, np.float32)
        for part in self.make(images, np.arange(len(images)), np.asarray(columns)):
            maps[part.index] = part.maps
        return maps


def _check_patch(size: int, patch: int, stride: int) -> None:
    if not 1 <= patch < size:
        raise UsageError(f"--patch {patch} does not fit images of {size} pixels: use 1 to {size - 1}.")
    if not 1 <= stride <= patch:
        raise UsageError(f"--stride {stride} would leave pixels uncovered: use 1 to the patch's side, {patch}.")
