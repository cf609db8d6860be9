"""How a finished run turns logits into probabilities and decisions, for commands and for exported files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from zoo.core.errors import DataError, ZooError
from zoo.core.tasks import Task
from zoo.core.thresholds import as_probability
from zoo.evaluation import metrics
from zoo.evaluation.calibration import Calibration
from zoo.runs.run import Run


@dataclass(frozen=True)
class OperatingPoint:
    """The labels, the thresholds and the calibration of a run.

    `raw_thresholds` are the run's, by label, on probabilities before calibration (above 1: on logits); `calibration` is None
    where the run has none.
    """

    task: Task
    raw_thresholds: dict[str, float]
    calibration: Calibration | None = None

    @classmethod
    def of(cls, run: Run) -> OperatingPoint:
        """Read that of a run.

        Raises:
            ZooError: the run has no trained network or no thresholds yet.
            DataError: its thresholds or its calibration are for other labels.
        """
        info, task, file = run.info(), run.task(), run.path / "run.json"
        if not run.model_file.exists():
            raise ZooError(
                f"the run {run.name} has no trained network ({run.model_file} is missing; status: {info.get('status')})."
            )
        if "thresholds" not in info:
            raise ZooError(
                f"the run {run.name} has no operating point yet (status: {info.get('status')}). Train it to the end: "
                f"zoo train --resume {run.reference}"
            )
        stored = info.get("calibration")
        calibration = None if stored is None else Calibration.from_dict(stored)
        if calibration is not None and calibration.task != task:
            raise DataError(f"the calibration in {file} is for other labels than the run's.")
        missing = [label for label in task.labels if label not in info["thresholds"]]
        if missing:
            raise DataError(f"{file} has no threshold for {', '.join(missing)}.")
        return cls(task, {label: float(info["thresholds"][label]) for label in task.labels}, calibration)

    @cached_property
    def thresholds(self) -> dict[str, float]:
        """The thresholds on calibrated probabilities: an image is positive for a label at or above. Empty for exclusive classes.

        The run's own thresholds are carried through the calibration, so that the decisions stay the same. An isotonic
        calibration can make images around the threshold equal: such an image may show the threshold's probability and still
        be negative, since the decision falls before calibration; so may one of probability 1 where the threshold is 1.
        """
        if self.task.exclusive:
            return {}
        if self.calibration:
            return self.calibration.carried(self.raw_thresholds)
        return {label: as_probability(threshold) for label, threshold in self.raw_thresholds.items()}

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities float64 `(N, K)` of logits `(N, K)`, calibrated where there is a calibration."""
        if self.calibration is not None:
            return self.calibration.probabilities(logits)
        return metrics.probabilities(self.task, logits)

    def positive(self, logits: np.ndarray) -> np.ndarray:
        """Decisions bool `(N, K)` of logits `(N, K)`; of exclusive classes the most probable one is positive."""
        return metrics.decisions(self.task, logits, self.raw_thresholds)
