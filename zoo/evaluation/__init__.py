"""From saved predictions to metrics with intervals, thresholds and verdicts. NumPy only; never imports Keras."""

from __future__ import annotations

from zoo.core.thresholds import ThresholdRule, check_rule
from zoo.evaluation.bootstrap import auroc_replicates, patient_weights, weight_chunks
from zoo.evaluation.evaluate import Evaluation, Interval, evaluate
from zoo.evaluation.metrics import auprc, auroc, mean_auprc, mean_auroc
from zoo.evaluation.operating import OperatingPoint, operating_notes, operating_points
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.thresholds import choose_thresholds, threshold_notes
from zoo.evaluation.verdicts import gap_verdict, verdict

__all__ = [
    "Evaluation",
    "Interval",
    "OperatingPoint",
    "Predictions",
    "ThresholdRule",
    "auprc",
    "auroc",
    "auroc_replicates",
    "check_rule",
    "choose_thresholds",
    "evaluate",
    "gap_verdict",
    "mean_auprc",
    "mean_auroc",
    "operating_notes",
    "operating_points",
    "patient_weights",
    "threshold_notes",
    "verdict",
    "weight_chunks",
]
