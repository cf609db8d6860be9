"""Networks in ONNX Runtime, several small batches at a time, each on a core of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.pools import usable_cores
from zoo.inference.runtimes.outputs import Outputs, empty, gathered

PIECE = 4  # images in one call


class OnnxRuntime:
    """An ONNX file with input `(N, S, S, 1)` float32 and the outputs logits and features, on the CPU.

    The weights are held once; the calls share them. Threads within a call would wait for each other, and busily: two calls on
    a core each do more.
    """

    name = "onnx"

    def __init__(self, file: Path, cores: int | None = None) -> None:
        import onnxruntime

        cores = cores or usable_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        self._session: Any = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._widths = [int(output.shape[-1]) for output in self._session.get_outputs()]
        self._pool = ThreadPoolExecutor(cores, thread_name_prefix="onnx")

    def predict(self, images: np.ndarray) -> Outputs:
        """Logits `(N, K)` and features `(N, D)`, float32, of images `(N, S, S)` uint8."""
        if not len(images):
            return empty(*self._widths)
        pieces = (images[start : start + PIECE] for start in range(0, len(images), PIECE))
        return gathered(self._pool.map(self._compute, pieces))

    def _compute(self, images: np.ndarray) -> Outputs:
        logits, features = self._session.run(None, {self._input: images[..., None].astype(np.float32)})
        return logits, features

    def close(self) -> None:
        self._pool.shutdown()
