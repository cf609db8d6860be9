"""Batches: plain index look-ups into the store, in an order that follows from seed and epoch alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainingBatches:
    """The training films as shuffled full batches.

    Every epoch shuffles all films anew and leaves out the remainder that does not fill a batch, other films each time.
    `images` is `(M, S, S)` uint8, `labels` `(M, K)` float32, `rows` the training rows of both.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    batch_size: int
    seed: int

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        return len(self.rows) // self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """Rows of one epoch, `(steps, batch_size)`; the same for the same seed and epoch."""
        shuffled = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        return shuffled[: self.steps * self.batch_size].reshape(self.steps, self.batch_size)

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images `(B, S, S, 1)` uint8 and labels `(B, K)` of the given rows."""
        return self.images[rows][..., None], self.labels[rows]

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of a step, counted from the first step of epoch 0."""
        epoch, number = divmod(step, self.steps)
        return self.gather(self._order_of(epoch)[number])

    @functools.cached_property
    def _order_of(self) -> Callable[[int], np.ndarray]:
        return functools.lru_cache(maxsize=2)(self.order)  # two: prefetching reaches into the next epoch


def inference_batches(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Rows in order as `(steps, batch_size)`; the last batch is filled up by repeating its last row, so shapes are static."""
    steps = -(-len(rows) // batch_size)
    padded = np.concatenate([rows, np.repeat(rows[-1:], steps * batch_size - len(rows))])
    return padded.reshape(steps, batch_size)
