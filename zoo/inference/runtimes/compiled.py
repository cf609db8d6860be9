"""The runtime that every network has: its own compiled forward pass, on either backend and on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np

from zoo.inference.runtimes.outputs import Outputs, empty, gathered

BATCH = 32  # images in a step; the last ones are filled up to as many
ALONE = 4  # so few images are computed one at a time: filling 32 places for one image takes 20 times as long


class CompiledKeras:
    """A network's forward pass as one compiled function for a full batch, and one for a single image.

    Two shapes and no more, since each costs a compilation: seconds on JAX. On TensorFlow batch normalisation is computed
    by the fused kernel, whose layers this object therefore has to itself until it is closed.
    """

    name = "keras"

    def __init__(self, network: Any, device: str = "cpu:0") -> None:
        """`network`: images to `[logits, features]`, as from `zoo.inference.features.with_features`; `device` in Keras' words."""
        from zoo.nn.fused_norm import fused_batch_norm

        self._network, self._device = network, device
        self._lock = threading.Lock()  # Keras keeps the function it compiles in the network
        self._fused = ExitStack()
        self._fused.enter_context(fused_batch_norm(network))

    def predict(self, images: np.ndarray) -> Outputs:
        """Logits `(N, K)` and features `(N, D)`, float32, of images `(N, S, S)` uint8."""
        import keras

        if not len(images):
            return empty(*(int(output.shape[-1]) for output in self._network.outputs))
        with self._lock, keras.device(self._device):
            return gathered(self._batches(images))

    def _batches(self, images: np.ndarray) -> Iterator[Outputs]:
        full = len(images) - len(images) % BATCH
        if len(images) - full > ALONE:
            full = len(images)
        for start in range(0, full, BATCH):
            part = images[start : start + BATCH]
            filled = np.concatenate([part, np.repeat(part[-1:], BATCH - len(part), axis=0)])
            logits, features = self._network.predict_on_batch(filled[..., None])
            yield logits[: len(part)], features[: len(part)]
        for start in range(full, len(images)):
            yield self._network.predict_on_batch(images[start : start + 1, ..., None])

    def close(self) -> None:
        """Give the layers back as they were."""
        self._fused.close()
