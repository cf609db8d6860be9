"""Batches: index look-ups into the store, in an order that depends on seed and epoch only."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainingBatches:
    """The training images as shuffled full batches.

    Every epoch shuffles all images and drops the remainder that does not fill a batch, other images each time.
    `images` is `(M, S, S)` uint8, `labels` `(M, K)` float32, `rows` the training rows of both.

    With `factors`, `(len(rows),)` ≥ 1, an epoch shows each image as often as its factor says, with the fraction drawn again in
    each epoch; its length is the sum of the factors, rounded down.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    batch_size: int
    seed: int
    factors: np.ndarray | None = None

    @property
    def steps(self) -> int:
        """Batches per epoch."""
        images = len(self.rows) if self.factors is None else int(np.floor(self.factors.sum()))
        return images // self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """Rows of one epoch, `(steps, batch_size)`; the same for the same seed and epoch."""
        random = np.random.default_rng([self.seed, epoch])
        rows = self.rows if self.factors is None else _repeated(self.rows, self.factors, random)
        shuffled = random.permutation(rows)
        return shuffled[: self.steps * self.batch_size].reshape(self.steps, self.batch_size)

    def gather(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images `(B, S, S, 1)` uint8 and labels `(B, K)` of the given rows."""
        return self.images[rows][..., None], self.labels[rows]

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of a step; step 0 is the first of epoch 0."""
        epoch, number = divmod(step, self.steps)
        return self.gather(self._order_of(epoch)[number])

    @functools.cached_property
    def _order_of(self) -> Callable[[int], np.ndarray]:
        return functools.lru_cache(maxsize=2)(self.order)  # two: prefetching reaches into the next epoch


def _repeated(rows: np.ndarray, factors: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each row as often as its factor, rounded up or down at random so that the mean is the factor.

    Systematic sampling: the factors are laid end to end in random order, and each whole step from a random start selects the
    image it falls on. The length varies by at most one and is at least the sum of the factors, rounded down.
    """
    drawn = random.permutation(len(rows))
    start, total = random.random(), factors.sum()
    count = max(int(np.ceil(total - start)), int(np.floor(total)))
    found = np.searchsorted(np.cumsum(factors[drawn]), start + np.arange(count), side="right")
    return rows[drawn[np.minimum(found, len(rows) - 1)]]  # the last sum may round down


def occurrences(rows: np.ndarray) -> np.ndarray:
    """How often each row occurred earlier in the array, in flat order: 0 for its first occurrence."""
    flat = rows.ravel()
    order = np.argsort(flat, kind="stable")
    ranked = flat[order]
    first = np.searchsorted(ranked, ranked, side="left")
    counts = np.empty(len(flat), np.int64)
    counts[order] = np.arange(len(flat)) - first
    return counts.reshape(rows.shape)


def inference_batches(rows: np.ndarray, batch_size: int) -> np.ndarray:
    """Rows in order as `(steps, batch_size)`; the last batch is padded with its last row, so that shapes are static."""
    steps = -(-len(rows) // batch_size)
    padded = np.concatenate([rows, np.repeat(rows[-1:], steps * batch_size - len(rows))])
    return padded.reshape(steps, batch_size)
