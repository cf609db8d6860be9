"""Networks in LiteRT, several images at a time, each by an interpreter with a core of its own."""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.pools import usable_cores
from zoo.inference.runtimes.convert import quiet
from zoo.inference.runtimes.outputs import Outputs, empty, gathered

MEMORY = 2**29  # bytes; each interpreter holds the weights, so large networks get fewer of them, with more threads each


class LiteRT:
    """A LiteRT file with input `(1, S, S, 1)` float32 and the outputs logits and features.

    One image at a time for each core: as many images per second and core as with larger batches, no thread waits for another
    within an image, and no image's outputs depend on its neighbours.
    """

    name = "litert"

    def __init__(self, file: Path, cores: int | None = None) -> None:
        cores = cores or usable_cores()
        workers = int(max(1, min(cores, MEMORY // max(1, file.stat().st_size))))
        self._idle: queue.SimpleQueue[_Interpreter] = queue.SimpleQueue()
        with quiet():
            for _ in range(workers):
                self._idle.put(_Interpreter(file, cores // workers))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="litert")

    def predict(self, images: np.ndarray) -> Outputs:
        """Logits `(N, K)` and features `(N, D)`, float32, of images `(N, S, S)` uint8."""
        if not len(images):
            interpreter = self._idle.get()
            self._idle.put(interpreter)
            return empty(*interpreter.widths)
        if len(images) == 1:
            return self._compute(images[0])
        return gathered(self._pool.map(self._compute, images))

    def _compute(self, image: np.ndarray) -> Outputs:
        interpreter = self._idle.get()
        try:
            return interpreter(image)
        finally:
            self._idle.put(interpreter)

    def close(self) -> None:
        self._pool.shutdown()


class _Interpreter:
    """One interpreter with its input held ready."""

    def __init__(self, file: Path, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=str(file), num_threads=threads)
        self._interpreter.allocate_tensors()
        (given,) = self._interpreter.get_input_details()
        # named ...:0 and ...:1 after their place in the network's list of outputs, and listed in any order
        outputs = sorted(self._interpreter.get_output_details(), key=lambda each: str(each["name"]))
        self._input, self._outputs = given["index"], [each["index"] for each in outputs]
        self._image = np.empty(given["shape"], np.float32)
        self.widths = [int(each["shape"][-1]) for each in outputs]

    def __call__(self, image: np.ndarray) -> Outputs:
        self._image[0, ..., 0] = image
        self._interpreter.set_tensor(self._input, self._image)
        self._interpreter.invoke()
        logits, features = (self._interpreter.get_tensor(index) for index in self._outputs)
        return logits, features
