"""From saved predictions to metrics with intervals, thresholds and verdicts. NumPy only; never imports Keras."""

from __future__ import annotations

from zoo.evaluation.bootstrap import patient_weights
from zoo.evaluation.evaluate import Evaluation, Interval, evaluate, gap_verdict, verdict
from zoo.evaluation.metrics import auprc, auroc, mean_auprc, mean_auroc
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.thresholds import ThresholdRule, choose_thresholds, threshold_notes

__all__ = [
    "Evaluation",
    "Interval",
    "Predictions",
    "ThresholdRule",
    "auprc",
    "auroc",
    "choose_thresholds",
    "evaluate",
    "gap_verdict",
    "mean_auprc",
    "mean_auroc",
    "patient_weights",
    "threshold_notes",
    "verdict",
]
