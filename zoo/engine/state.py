"""The state of a training: its position, and every variable that determines how it continues."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zoo.core.errors import ZooError
from zoo.engine.checkpoints import Checkpoint
from zoo.engine.training import Trainer
from zoo.nn.keras_compat import sync_variables

MODEL, OPTIMIZER, METRICS, BEST = "model", "optimizer", "metrics", "best"


@dataclass
class TrainingState:
    """The position of a training: `step` steps of epoch `epoch` (counted from 0) of phase number `phase` are done.

    The other fields are the results of validation so far: the rows of metrics.csv, the best value of the monitored metric
    and its epoch (from 1), the network's weights then, epochs since it and since the last reduction of the rate.
    `steps` is the length of an epoch, `epoch_seconds` the time spent on the steps of this epoch by earlier processes.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    steps: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    since_best: int = 0
    since_reduction: int = 0
    epoch_seconds: float = 0.0
    best_weights: list[np.ndarray] = field(default_factory=list)

    @property
    def position(self) -> str:
        """For people: `epoch 3, step 120 of 400`."""
        if self.step:
            return f"epoch {self.epoch + 1}, step {self.step} of {self.steps}"
        return f"the start of epoch {self.epoch + 1}"


def capture(state: TrainingState, trainer: Trainer, *, within_phase: bool) -> Checkpoint:
    """Everything needed to continue a training from here.

    Variables are those of the network, batch-normalisation statistics and the seed generators of dropout and
    augmentation included; within a phase also those of the optimizer (iterations, moments, rate, loss scale) and the running
    mean of the epoch's loss. Nothing else is drawn from: the order of the images follows from seed, epoch and step.
    """
    sync_variables(trainer)
    arrays = _named(MODEL, [_array(v) for v in trainer.variables])
    if within_phase:
        arrays |= _named(OPTIMIZER, [_array(v) for v in trainer.optimizer.variables])
        arrays |= _named(METRICS, [_summands(v) for v in trainer.metrics_variables])
    arrays |= _named(BEST, state.best_weights)
    plain = {f.name: getattr(state, f.name) for f in dataclasses.fields(state) if f.name != "best_weights"}
    return Checkpoint(plain, arrays)


def read_state(checkpoint: Checkpoint) -> TrainingState:
    """The state in a checkpoint, without the trainer's variables."""
    return TrainingState(**checkpoint.state, best_weights=_group(checkpoint, BEST))


def restore_model(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Restore the network, the augmentation and their random states.

    Raises:
        ZooError: the checkpoint is of another network.
    """
    _assign(trainer.variables, _group(checkpoint, MODEL))


def restore_optimizer(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Restore the optimizer; between two phases it stays new."""
    arrays = _group(checkpoint, OPTIMIZER)
    if arrays:
        _assign(trainer.optimizer.variables, arrays)


def restore_metrics(trainer: Trainer, checkpoint: Checkpoint) -> None:
    """Restore the running mean of the epoch's loss."""
    arrays = _group(checkpoint, METRICS)
    for variable, array in zip(trainer.metrics_variables, arrays, strict=True) if arrays else ():
        _assign_summands(variable, array)


def network_weights(trainer: Trainer) -> list[np.ndarray]:
    """Copies of the network's weights."""
    sync_variables(trainer)
    return [_array(v) for v in trainer.network.weights]


def assign_weights(network: Any, weights: list[np.ndarray]) -> None:
    """Assign weights from `network_weights` to the network."""
    _assign(network.weights, weights)


def all_finite(weights: list[np.ndarray]) -> bool:
    return all(bool(np.isfinite(np.asarray(w, np.float32)).all()) for w in weights)


def _array(variable: Any) -> np.ndarray:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable), copy=True)


def _replicas(variable: Any) -> list[Any]:
    """Each replica's part of a metric variable that TensorFlow sums when read; empty on one device."""
    return list(getattr(variable.value, "values", ()))


def _summands(variable: Any) -> np.ndarray:
    """A metric's value; with a first axis of replicas where each has its part, since a sum divided anew rounds otherwise."""
    parts = _replicas(variable)
    return np.stack([part.numpy() for part in parts]) if parts else _array(variable)


def _assign_summands(variable: Any, array: np.ndarray) -> None:
    """Put back what `_summands` gave; the sum counts where the number of replicas changed since."""
    parts = _replicas(variable)
    summands = array if array.ndim > len(variable.shape) else array[None]
    if not parts:
        variable.assign(summands.sum(axis=0))
        return
    if len(summands) != len(parts):
        rest = np.zeros((len(parts) - 1, *summands.shape[1:]), summands.dtype)
        summands = np.concatenate([summands.sum(axis=0, keepdims=True), rest])
    for part, value in zip(parts, summands, strict=True):
        part.assign(value)


def _named(group: str, arrays: list[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{group}/{number:05d}": array for number, array in enumerate(arrays)}


def _group(checkpoint: Checkpoint, group: str) -> list[np.ndarray]:
    names = sorted(name for name in checkpoint.arrays if name.startswith(f"{group}/"))
    return [checkpoint.arrays[name] for name in names]


def _assign(variables: list[Any], arrays: list[np.ndarray]) -> None:
    """By position: Keras numbers automatic names anew in every process."""
    shapes = [tuple(v.shape) for v in variables], [a.shape for a in arrays]
    if shapes[0] != shapes[1]:
        raise ZooError(
            "the checkpoint does not fit the network that the configuration describes: the code or the labels have changed "
            "since it was written. Train anew: zoo train --config RUN/config.yaml"
        )
    for variable, array in zip(variables, arrays, strict=True):
        if array.dtype.kind == "V":  # NumPy reads types it does not know, such as bfloat16, as plain bytes
            array = array.view(_array(variable).dtype)
        variable.assign(array)
