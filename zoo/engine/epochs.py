"""What happens around the steps of `fit`: progress, validation, checkpoints, the plateau schedule, early stopping."""

from __future__ import annotations

import csv
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo.config import MONITORS
from zoo.data.batches import TrainingBatches
from zoo.data.pipeline import Films
from zoo.engine.batch_norm import BatchStatistics
from zoo.engine.inference import predict_logits
from zoo.engine.optimizers import PlateauOptions
from zoo.engine.training import Trainer, masked_loss
from zoo.errors import ZooError
from zoo.evaluation.metrics import mean_auprc, mean_auroc
from zoo.files import replacing
from zoo.progress import Progress
from zoo.run import Run

BEST, LAST = "best.weights.h5", "last.weights.h5"
COLUMNS = ("epoch", "phase", "loss", "lr", "val_loss", "val_auroc", "val_auprc", "seconds", "films_per_second")


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs under one optimizer; `name` is "head" (backbone frozen) or "all"."""

    name: str
    first_epoch: int
    epochs: int


class ProgressCallback(keras.callbacks.Callback):
    """Counts trained films."""

    def __init__(self, progress: Progress, batch_size: int) -> None:
        super().__init__()
        self.progress, self.batch_size = progress, batch_size

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.progress.advance(self.batch_size)


class EpochCallback(keras.callbacks.Callback):
    """Validates exactly after each epoch, writes a row of metrics.csv and the checkpoints, and decides how to go on."""

    def __init__(
        self,
        trainer: Trainer,
        films: Films,
        batches: TrainingBatches,
        run: Run,
        *,
        monitor: str,
        patience: int | None,
        plateau: PlateauOptions | None,
        jit: bool | str,
        say: Callable[[str], None],
        progress: Progress,
    ) -> None:
        super().__init__()
        self.trainer, self.films, self.batches, self.run = trainer, films, batches, run
        self.batch_size, self.monitor, self.patience, self.plateau = batches.batch_size, monitor, patience, plateau
        self.jit, self.say, self.progress = jit, say, progress
        self.rows: list[dict[str, Any]] = []
        self.best: float | None = None
        self.best_epoch = 0
        self.phase: Phase | None = None
        self._start = time.monotonic()
        self._validation = films.of("val")
        run.checkpoints.mkdir(exist_ok=True)

    def begin(self, phase: Phase) -> None:
        """Start a phase: its patience counts from here."""
        self.phase = phase
        self._statistics = BatchStatistics(self.trainer.network)
        self._statistics.jit_compile = self.jit
        self._follows_schedule = phase.name != "head"
        self._since_best = self._since_reduction = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.monotonic() - self._start
        loss = float((logs or {}).get("loss", math.nan))
        rate = float(np.asarray(self.trainer.optimizer.learning_rate))
        if not math.isfinite(loss):
            raise ZooError(
                f"the training loss became {loss} in epoch {epoch + 1} (learning rate {rate:.3g}). "
                f"{self._kept()} Lower --lr, or clip gradients with --set optimizer.clipnorm=1."
            )
        self._recalibrate(epoch)
        trained = self.batches.steps * self.batch_size
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "phase": self.phase.name if self.phase else "",
            "loss": loss,
            "lr": rate,
            **self._validate(),
            "seconds": round(seconds, 3),
            "films_per_second": round(trained / max(seconds, 1e-9), 1),
        }
        self.rows.append(row)
        self._write_metrics()
        better = self._improved(row[self.monitor])
        self._checkpoint(better)
        mark = "  best" if better else ""
        shown = "  ".join(f"{k} {row[k]:.4f}" for k in ("loss", "val_loss", "val_auroc"))
        self.say(f"Epoch {epoch + 1:>2}  {shown}  {row['films_per_second']:,.0f} films/s{mark}")
        self._adapt(better)

    def _recalibrate(self, epoch: int) -> None:
        """Statistics of clean training films for inference; each phase traces anew, since it may freeze layers."""
        rows = self.batches.order(epoch).ravel()
        self._statistics.update(self.films.store.images, rows, self.batch_size)

    def _validate(self) -> dict[str, float]:
        films, rows = self.films, self._validation
        logits = predict_logits(self.trainer.network, films.store.images, films.rows[rows], self.batch_size)
        labels = films.labels[rows]
        loss = masked_loss(films.task, self.trainer.elementwise_loss, keras.ops.convert_to_tensor(labels), logits)
        return {
            "val_loss": float(keras.ops.convert_to_numpy(loss)),
            "val_auroc": mean_auroc(films.task, labels, logits),
            "val_auprc": mean_auprc(films.task, labels, logits),
        }

    def _improved(self, value: float) -> bool:
        """Whether this epoch is the best; an undefined metric (one class in validation) never beats a defined one."""
        if self.best is None:
            better = True
        elif math.isnan(value) or math.isnan(self.best):
            # nothing to compare by: the latest epoch stands
            better = math.isnan(self.best)
        else:
            better = value > self.best if MONITORS[self.monitor] == "max" else value < self.best
        if better:
            self.best, self.best_epoch = value, self.rows[-1]["epoch"]
        return better

    def _checkpoint(self, better: bool) -> None:
        last = self.run.checkpoints / LAST
        with replacing(last) as partial:
            # Keras wants the suffix .weights.h5, which `replacing` keeps
            self.trainer.network.save_weights(partial)
        if better:
            with replacing(self.run.checkpoints / BEST) as partial:
                shutil.copyfile(last, partial)

    def _adapt(self, better: bool) -> None:
        self._since_best = 0 if better else self._since_best + 1
        self._since_reduction = 0 if better else self._since_reduction + 1
        if self.plateau is not None and self._follows_schedule and self._since_reduction > self.plateau.patience:
            rate = float(np.asarray(self.trainer.optimizer.learning_rate))
            lower = max(rate * self.plateau.factor, self.plateau.min_lr)
            if lower < rate:
                self.trainer.optimizer.learning_rate = lower
                self.say(
                    f"No better {self.monitor} for {self._since_reduction} epochs: learning rate {rate:.3g} → {lower:.3g}"
                )
            self._since_reduction = 0
        if self.patience is not None and self._since_best >= self.patience:
            self.say(f"No better {self.monitor} for {self._since_best} epochs: stopping early")
            self.trainer.stop_training = True

    def _write_metrics(self) -> None:
        with replacing(self.run.path / "metrics.csv") as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def _kept(self) -> str:
        path: Path = self.run.checkpoints / BEST
        return (
            f"The best checkpoint so far (epoch {self.best_epoch}) is kept in {path}."
            if self.rows
            else "No epoch was finished."
        )
