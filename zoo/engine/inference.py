"""The forward pass over films of a store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.engine.feed import inference_feed

if TYPE_CHECKING:
    from zoo.inference.outputs import Runtime

CHUNK = 256  # films handed to a runtime at once: 13 MB at 224 pixels


def predict_logits(network: Any, images: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Logits `(len(rows), outputs)` float32 of the given rows of `images` `(M, S, S)` uint8, in their order.

    By the network itself while it is trained and when a run ends: the same bits for a film in every pass.
    """
    steps = -(-len(rows) // batch_size)
    outputs = network.predict(inference_feed(images, rows, batch_size), steps=steps, verbose=0)
    return np.asarray(outputs, dtype=np.float32)[: len(rows)]


def runtime_logits(runtime: Runtime, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """As `predict_logits`, by a runtime of a finished run: one chunk is computed while the next one is read."""
    parts = [rows[start : start + CHUNK] for start in range(0, max(1, len(rows)), CHUNK)]
    with ThreadPoolExecutor(1, thread_name_prefix="films") as reader:
        coming = reader.submit(images.__getitem__, parts[0])
        logits = []
        for following in [*parts[1:], None]:
            films = coming.result()
            if following is not None:
                coming = reader.submit(images.__getitem__, following)
            logits.append(runtime.predict(films)[0])
    return np.concatenate(logits)
