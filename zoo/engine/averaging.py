"""Exponential moving average of the weights, used in validation and by the final network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from zoo.nn.keras_compat import OwnAverages, moving_averages, sync_variables

WARM_UP = 9  # updates


class Averaging(OwnAverages):
    """Placed before a Keras optimizer class in a subclass, corrects two things in its `use_ema`.

    With gradient accumulation Keras averages after every batch, here after every update. And where `fit` ends, Keras puts
    the averages in the place of the weights; here training goes on with its own, also in another call of `fit`.

    After update n (counted from 0) the average becomes m · average + (1 - m) · weights with m = min(momentum, n / (n + 9)):
    it starts with the weights after the first update, and a short training is not averaged with its beginning. The warm-up is
    that of `tf.train.ExponentialMovingAverage`, which has (1 + n) / (10 + n).
    """

    def update_averages(self, pairs: Iterable[tuple[Any, Any]], batches: Any) -> None:
        from keras import ops

        optimizer: Any = self
        every = optimizer.gradient_accumulation_steps or 1
        done = ops.cast(optimizer.iterations, "float32")
        momentum = ops.minimum(optimizer.ema_momentum, done / (done + WARM_UP))
        momentum = ops.where(ops.equal((batches + 1) % every, 0), momentum, 1.0)
        for variable, average in pairs:
            share = ops.cast(momentum, variable.dtype)
            average.assign(share * average + (1.0 - share) * variable)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Nothing: `averaged` says when the averages are used."""

    def pairs(self) -> list[tuple[Any, Any]]:
        """Each trained variable with its average; none before the first update."""
        from keras import ops

        optimizer: Any = self
        if not optimizer.built or not int(ops.convert_to_numpy(optimizer.iterations)):
            return []
        return moving_averages(optimizer)


@contextmanager
def averaged(trainer: Any) -> Iterator[bool]:
    """Replace the trained variables by their averages inside the context; restores them bit for bit.

    Yields whether there are averages: not where the optimizer keeps none, nor before its first update. Statistics of batch
    normalisation are not averaged: re-estimate them inside.
    """
    optimizer = getattr(trainer.optimizer, "inner_optimizer", trainer.optimizer)
    if not isinstance(optimizer, Averaging):
        yield False
        return
    from keras import ops

    sync_variables(trainer)
    pairs = optimizer.pairs()
    trained = [ops.copy(variable) for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(average)
    try:
        yield bool(pairs)
    finally:
        for (variable, _), value in zip(pairs, trained, strict=True):
            variable.assign(value)
