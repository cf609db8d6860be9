"""What a runtime gives for images: their logits and features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np

# logits (N, K) and features (N, D), both float32
Outputs = tuple[np.ndarray, np.ndarray]


class Runtime(Protocol):
    """Something that computes a run's network. `name` is keras, litert or onnx."""

    name: str

    def predict(self, images: np.ndarray) -> Outputs:
        """Logits `(N, K)` and features `(N, D)`, float32, of images `(N, S, S)` uint8; N may be 0."""

    def close(self) -> None:
        """Release threads and layers."""


def empty(outputs: int, features: int) -> Outputs:
    """The outputs for no images."""
    return np.empty((0, outputs), np.float32), np.empty((0, features), np.float32)


def gathered(parts: Iterable[Outputs]) -> Outputs:
    """The outputs of all parts, in order."""
    logits, features = zip(*parts, strict=True)
    return np.concatenate(logits).astype(np.float32, copy=False), np.concatenate(features).astype(
        np.float32, copy=False
    )
