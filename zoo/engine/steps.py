"""After every training step: check the loss, write checkpoints, react to signals."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.core.errors import ZooError
from zoo.core.progress import Progress
from zoo.data.batches import TrainingBatches
from zoo.data.pipeline import ImageSet
from zoo.engine.recorder import Recorder
from zoo.engine.signals import Signals
from zoo.engine.state import all_finite, network_weights

if TYPE_CHECKING:
    from zoo.engine.process_group import ProcessGroup

WATCHED_ON_ACCELERATOR = 20  # steps
EXCHANGE_EVERY = 10  # steps after which several hosts exchange signals
NAMED = 3  # images


class DivergedTraining(ZooError):
    """The loss or a weight is no longer a finite number."""


class Steps:
    """Counts and checks the steps of a training.

    Keras hands over the running mean of the epoch's loss as a number on the device. It is not finite from the first
    step on whose loss is not, so reading it every step finds that step. On a CPU reading it costs nothing; on an
    accelerator it would wait for the step to end while the next could be queued, so there the last
    `WATCHED_ON_ACCELERATOR` values are read together, and the step is named all the same. No checkpoint is written
    before all values up to it, and the weights, are found finite.
    """

    def __init__(
        self,
        recorder: Recorder,
        images: ImageSet,
        batches: TrainingBatches,
        signals: Signals,
        progress: Progress,
        *,
        every: int | None,
        on_cpu: bool,
        group: ProcessGroup | None = None,
    ) -> None:
        self.recorder, self.images, self.batches = recorder, images, batches
        self.signals, self.progress, self.every = signals, progress, every
        self.state, self.trainer = recorder.state, recorder.trainer
        self._group = group
        self._watched = 1 if on_cpu else WATCHED_ON_ACCELERATOR
        self._unread: list[tuple[int, Any]] = []
        self._ending = False  # all hosts know of a signal
        self._start = time.monotonic()

    def begin_epoch(self) -> None:
        """Start the clock; a half-finished epoch keeps the time of earlier processes."""
        self._start = time.monotonic() - self.state.epoch_seconds
        self._unread.clear()

    @property
    def seconds(self) -> float:
        """Seconds spent on the steps of this epoch, earlier processes included."""
        return time.monotonic() - self._start

    def after(self, loss: Any) -> None:
        """Called after a step with the mean loss of the epoch so far.

        Raises:
            DivergedTraining: a loss is no longer finite.
            Interrupted: the user asked to stop; the state is saved.
        """
        self.state.step += 1
        self._unread.append((self.state.step, loss))
        if len(self._unread) >= self._watched:
            self.read()
        self.progress.advance(self.batches.batch_size)
        done = self.state.epoch * self.batches.steps + self.state.step
        if self._group is not None and done % EXCHANGE_EVERY == 0:
            self.exchange_signals()
        due = self.every is not None and done % self.every == 0 and self.state.step < self.batches.steps
        if due or self._stopping:
            self.check()
            self.state.epoch_seconds = self.seconds
            self.recorder.save()
            self.end_if_asked()

    @property
    def _stopping(self) -> bool:
        """Whether to stop now; several hosts stop once all of them know."""
        return self._ending if self._group is not None else self.signals.received is not None

    def end_if_asked(self) -> None:
        """Raise `Interrupted` after a signal that all hosts know of."""
        if self._stopping:
            self.signals.check()

    def exchange_signals(self) -> None:
        """Share received signals between hosts, which must stop after the same step."""
        if self._group is not None:
            self.read()
            shared = self._group.any_signal(self.signals.received)
            if shared is not None:  # a signal that arrived meanwhile waits for the next exchange
                self.signals.received, self._ending = shared, True

    def check(self) -> None:
        """Raise `DivergedTraining` unless all losses so far and all weights are finite."""
        self.read()
        if not all_finite(network_weights(self.trainer)):
            raise self._diverged("a weight of the network became infinite or NaN", self.state.step)

    def read(self) -> None:
        """Read the losses that are still on the device."""
        unread, self._unread = self._unread, []
        for step, loss in unread:
            value = float(loss)
            if not math.isfinite(value):
                raise self._diverged(f"the training loss became {value}", step)

    def _diverged(self, what: str, step: int) -> DivergedTraining:
        network_weights(self.trainer)  # on JAX this synchronises the optimizer too
        rate = float(keras.ops.convert_to_numpy(self.trainer.optimizer.learning_rate))
        return DivergedTraining(
            f"{what} at step {step} of {self.batches.steps} in epoch {self.state.epoch + 1} (learning rate {rate:.3g}; images of "
            f"the step: {self._images(step)}). {self.recorder.kept} Lower --lr, or clip gradients with --set optimizer.clipnorm=1."
        )

    def _images(self, step: int) -> str:
        """The first images of a step, counted from 1 in the epoch."""
        rows = self.batches.order(self.state.epoch)[step - 1]
        place = np.full(len(self.images.store.images), -1)
        place[self.images.rows] = np.arange(len(self.images.rows))
        names = [str(name) for name in self.images.table["image"].to_numpy()[place[rows[:NAMED]]]]
        more = len(rows) - len(names)
        return ", ".join(names) + (f" and {more} more" if more else "")
