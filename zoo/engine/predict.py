"""The forward pass over images of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from zoo.core.errors import ZooError
from zoo.data.batches import inference_batches
from zoo.data.checked import naming_damage
from zoo.data.pipeline import ImageSet
from zoo.engine.feed import inference_feed
from zoo.engine.replicas import one_device
from zoo.evaluation import Predictions


def predict_logits(network: Any, images: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Logits `(len(rows), outputs)` float32 of the given rows of `images` `(M, S, S)` uint8, in their order.

    By the network itself while it is trained and when a run ends: the same bits for an image in every pass.
    """
    return np.asarray(forward(network, images, rows, batch_size), dtype=np.float32)[: len(rows)]


def forward(network: Any, images: np.ndarray, rows: np.ndarray, batch_size: int) -> Any:
    """What a network with one output gives for the rows, the last batch filled up to full size.

    On one device batch by batch, without the pipeline that `predict` builds first: a tenth of a second at the end of every
    epoch. Several devices share each batch through `predict`.
    """
    index = inference_batches(rows, batch_size)
    if not one_device(network):
        with naming_damage(images):
            return network.predict(inference_feed(images, rows, batch_size), steps=len(index), verbose=0)
    return np.concatenate([network.predict_on_batch(pixels[..., None]) for pixels in read_ahead(images, index)])


def read_ahead(images: np.ndarray, parts: Sequence[np.ndarray] | np.ndarray) -> Iterator[np.ndarray]:
    """The images of each part, read while the part before it is computed."""
    with ThreadPoolExecutor(1, thread_name_prefix="images") as reader:
        coming = reader.submit(images.__getitem__, parts[0])
        for following in [*parts[1:], None]:
            pixels = coming.result()
            if following is not None:
                coming = reader.submit(images.__getitem__, following)
            yield pixels


def predict_images(network: Any, images: ImageSet, split: str, batch_size: int) -> Predictions:
    """Run the network over one split of prepared images.

    Raises:
        ZooError: the images are not of the network's input size.
    """
    from zoo.nn.fused_norm import fused_batch_norm

    rows = images.of(split)
    if tuple(network.input_shape[1:3]) != images.store.images.shape[1:]:
        raise ZooError(
            f"the network takes {network.input_shape[1:3]} pixels, the images are {images.store.images.shape[1:]}."
        )
    with fused_batch_norm(network):
        logits = predict_logits(network, images.store.images, images.rows[rows], batch_size)
    return Predictions(images.task, images.kept_table.iloc[rows].reset_index(drop=True), images.labels[rows], logits)
