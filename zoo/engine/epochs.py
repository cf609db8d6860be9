"""The end of an epoch: validation, plateau schedule, early stopping, checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from zoo.config.optimizers import PlateauOptions
from zoo.config.settings import MONITORS
from zoo.core.errors import ZooError
from zoo.core.observers import Observer
from zoo.data.batches import TrainingBatches
from zoo.data.pipeline import ImageSet
from zoo.engine.averaging import averaged
from zoo.engine.batch_norm import BatchStatistics
from zoo.engine.features import FeatureCache
from zoo.engine.predict import predict_logits
from zoo.engine.recorder import Recorder
from zoo.engine.state import network_weights
from zoo.engine.steps import Steps
from zoo.engine.training import masked_loss
from zoo.evaluation.metrics import decided, mean_auprc, mean_auroc
from zoo.nn.keras_compat import sync_variables

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs under one optimizer; `name` is "head" (backbone frozen) or "all"."""

    name: str
    first_epoch: int
    epochs: int

    @property
    def end(self) -> int:
        """The epoch after its last one."""
        return self.first_epoch + self.epochs


@dataclass(frozen=True)
class Policy:
    """What is monitored, when the learning rate is reduced, and when the training stops early."""

    monitor: str
    patience: int | None
    plateau: PlateauOptions | None
    threshold: float = 0.5  # of val_f1, val_recall and others


class Epochs:
    """Validates after each epoch, writes metrics.csv and the checkpoints, and applies the policy."""

    def __init__(
        self,
        recorder: Recorder,
        steps: Steps,
        images: ImageSet,
        batches: TrainingBatches,
        phases: Sequence[Phase],
        policy: Policy,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.observers = observers
        self.recorder, self.steps, self.images, self.batches = recorder, steps, images, batches
        self.trainer, self.state = recorder.trainer, recorder.state
        self.phases, self.policy = phases, policy
        self._validation = images.of("val")
        self.features: FeatureCache | None = None  # while the backbone is frozen, where they can be kept

    def begin_phase(self) -> None:
        """Rebuild what depends on which layers are frozen."""
        self._statistics = BatchStatistics(self.trainer.network)
        self._statistics.jit_compile = self.trainer.network.jit_compile

    def finish(self, loss: float) -> None:
        """Finish an epoch whose mean training loss is `loss`.

        Raises:
            DivergedTraining: the loss or a weight is not finite.
            ZooError: a file cannot be written, or steps are missing.
            Interrupted: the user asked to stop; the state is saved.
            Pruned: an observer gave the training up; the state is saved.
        """
        if self.state.step != self.batches.steps:
            raise ZooError(
                f"Keras ended the epoch at {self.state.position}: something in this process limits it, such as "
                "keras.config.set_max_steps_per_epoch. Start again without that."
            )
        seconds = self.steps.seconds
        self.steps.read()
        sync_variables(self.trainer)
        state, phase = self.state, self.phases[self.state.phase]
        with averaged(self.trainer):
            self._statistics.update(
                self.images.store.images, self.batches.order(state.epoch).ravel(), self.batches.batch_size
            )
            logits = self._validate()
            self.steps.check()  # the weights: not before, as reading all of them would keep the images waiting
            row: dict[str, Any] = {
                "epoch": state.epoch + 1,
                "phase": phase.name,
                "loss": loss,
                "lr": self._rate(),
                **self._scores(logits),
                "seconds": round(seconds, 3),
                "images_per_second": round(self.batches.steps * self.batches.batch_size / max(seconds, 1e-9), 1),
            }
            state.rows.append(row)
            better = self._improved(row[self.policy.monitor])
        self._log(row, better)
        stop = self._adapt(better, phase)
        self._advance(phase, stop)
        self.recorder.save(within_phase=self.state.phase < len(self.phases) and self.phases[self.state.phase] is phase)
        self.recorder.publish(better=better)
        for each in self.observers:
            each.on_epoch(row)
        self.trainer.stop_training = stop
        self.steps.exchange_signals()
        self.steps.end_if_asked()

    def _validate(self) -> np.ndarray:
        """Logits `(V, outputs)` of the validation images."""
        if self.features is not None:
            return self.features.validation_logits()
        images, rows = self.images.store.images, self.images.rows[self._validation]
        return predict_logits(self.trainer.network, images, rows, self.batches.batch_size)

    def _scores(self, logits: np.ndarray) -> dict[str, float]:
        images, labels = self.images, self.images.labels[self._validation]
        loss = masked_loss(images.task, self.trainer.elementwise_loss, keras.ops.convert_to_tensor(labels), logits)
        return {
            "val_loss": float(keras.ops.convert_to_numpy(loss)),
            "val_auroc": mean_auroc(images.task, labels, logits),
            "val_auprc": mean_auprc(images.task, labels, logits),
            **{
                f"val_{name}": value
                for name, value in decided(images.task, labels, logits, self.policy.threshold).items()
            },
        }

    def _improved(self, value: float) -> bool:
        """Whether this epoch is the best so far; an undefined metric (one class in validation) never beats a defined one."""
        best = self.state.best
        if best is None:
            better = True
        elif math.isnan(value) or math.isnan(best):
            # nothing to compare by: the latest epoch stands
            better = math.isnan(best)
        else:
            better = value > best if MONITORS[self.policy.monitor] == "max" else value < best
        if better:
            self.state.best, self.state.best_epoch = value, self.state.epoch + 1
            self.state.best_weights = network_weights(self.trainer)
        return better

    def _log(self, row: dict[str, Any], better: bool) -> None:
        names = dict.fromkeys(("loss", "val_loss", "val_auroc", self.policy.monitor))
        shown = "  ".join(f"{k} {row[k]:.4f}" for k in names)
        mark = "  best" if better else ""
        logger.info(f"Epoch {row['epoch']:>2}  {shown}  {row['images_per_second']:,.0f} images/s{mark}")

    def _adapt(self, better: bool, phase: Phase) -> bool:
        """Reduce the learning rate on a plateau, except in the head phase; returns whether to stop early."""
        state, policy = self.state, self.policy
        state.since_best = 0 if better else state.since_best + 1
        state.since_reduction = 0 if better else state.since_reduction + 1
        plateau = policy.plateau
        if plateau is not None and phase.name != "head" and state.since_reduction > plateau.patience:
            rate = self._rate()
            lower = max(rate * plateau.factor, plateau.min_lr)
            if lower < rate:
                self.trainer.optimizer.learning_rate = lower
                waited = f"No better {policy.monitor} for {state.since_reduction} epochs"
                logger.info(f"{waited}: learning rate {rate:.3g} → {lower:.3g}")
            state.since_reduction = 0
        if policy.patience is None or state.since_best < policy.patience:
            return False
        logger.info(f"No better {policy.monitor} for {state.since_best} epochs: stopping early")
        return True

    def _advance(self, phase: Phase, stop: bool) -> None:
        """Move to the next epoch, or to the next phase, which restarts patience."""
        state = self.state
        state.epoch, state.step, state.epoch_seconds = state.epoch + 1, 0, 0.0
        if stop or state.epoch >= phase.end:
            state.phase += 1
            state.since_best = state.since_reduction = 0
            if state.phase < len(self.phases):
                state.epoch = self.phases[state.phase].first_epoch

    def _rate(self) -> float:
        return float(np.asarray(self.trainer.optimizer.learning_rate))
