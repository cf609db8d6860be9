"""The files of a training: checkpoints first, then metrics and weights derived from them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.core.errors import UnwritableRun
from zoo.core.files import replacing
from zoo.engine.averaging import averaged
from zoo.engine.checkpoints import CheckpointFolder
from zoo.engine.state import TrainingState, assign_weights, capture, network_weights
from zoo.engine.training import Trainer
from zoo.runs.run import Run

SCORES = ("val_loss", "val_auroc", "val_auprc", "val_f1", "val_accuracy", "val_recall", "val_precision")
BEST, LAST = "best.weights.h5", "last.weights.h5"
COLUMNS = ("epoch", "phase", "loss", "lr", *SCORES, "seconds", "images_per_second")


class Recorder:
    """Writes a training's state. A checkpoint alone is enough to go on from: metrics.csv and the weights files follow from it
    and are written after it, so a process that dies in between leaves nothing that contradicts it.
    """

    def __init__(
        self, run: Run, trainer: Trainer, state: TrainingState, folder: CheckpointFolder, *, writes: bool = True
    ) -> None:
        self.run, self.trainer, self.state, self.folder = run, trainer, state, folder
        self.writes = writes  # only the first of several hosts
        self.saved: str | None = None  # the position of the newest checkpoint
        if writes:
            run.checkpoints.mkdir(exist_ok=True)

    def save(self, *, within_phase: bool = True) -> None:
        """Write a checkpoint of the present state.

        Raises:
            UnwritableRun: it cannot be written; the ones before are untouched.
        """
        checkpoint = capture(self.state, self.trainer, within_phase=within_phase)
        if self.writes:
            with self._writing():
                self.folder.save(checkpoint)
        self.saved = self.state.position

    def publish(self, *, better: bool) -> None:
        """After an epoch, write metrics.csv, the last weights and, where they are better than all before, the best.

        Raises:
            UnwritableRun: one of them cannot be written.
        """
        with self._writing():
            self._write_metrics()
            self._write_weights(LAST)
            if better:
                with averaged(self.trainer):
                    self._write_weights(BEST)

    def publish_again(self) -> None:
        """On resuming, write what follows from the checkpoint, in case the process died between the two.

        Raises:
            UnwritableRun: one of the files cannot be written.
        """
        if not self.state.rows:
            return
        present = network_weights(self.trainer)
        with self._writing():
            self._write_metrics()
            if not self.state.step:
                self._write_weights(LAST)
            assign_weights(self.trainer.network, self.state.best_weights)
            self._write_weights(BEST)
        assign_weights(self.trainer.network, present)

    @property
    def kept(self) -> str:
        """A sentence: what there is to resume from."""
        if self.saved is None:
            return "No checkpoint was written yet."
        best = f", the best weights (epoch {self.state.best_epoch}) in {self.run.checkpoints / BEST}"
        return f"The checkpoint of {self.saved} is kept{best if self.state.rows else ''}."

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # h5py raises the second when it cannot close a file
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UnwritableRun(
                f"cannot write in {self.run.path}: {reason}. {self.kept} Make room or correct the permissions, then go on: "
                f"zoo train --resume {self.run.reference}"
            ) from error

    def _write_metrics(self) -> None:
        if not self.writes:
            return
        with replacing(self.run.path / "metrics.csv") as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)  # an epoch from before a column was there leaves it empty
            writer.writeheader()
            writer.writerows(self.state.rows)

    def _write_weights(self, name: str) -> None:
        path: Path = self.run.checkpoints / name
        if not self.writes:
            return
        with replacing(path) as partial:
            # Keras wants the suffix .weights.h5, which `replacing` keeps
            self.trainer.network.save_weights(partial)
