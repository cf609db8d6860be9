"""The forward pass over films of a store."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.engine.feed import inference_feed


def predict_logits(network: Any, images: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Logits `(len(rows), outputs)` float32 of the given rows of `images` `(M, S, S)` uint8, in their order."""
    steps = -(-len(rows) // batch_size)
    outputs = network.predict(inference_feed(images, rows, batch_size), steps=steps, verbose=0)
    return np.asarray(outputs, dtype=np.float32)[: len(rows)]
