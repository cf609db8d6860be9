"""Evaluation: from saved predictions to metrics with intervals, thresholds and conclusions. NumPy only; never imports Keras."""

from __future__ import annotations

from zoo.core.thresholds import ThresholdRule, check_rule
from zoo.evaluation.bootstrap import auroc_replicates, patient_weights, weight_chunks
from zoo.evaluation.conclusions import Conclusion, conclude
from zoo.evaluation.evaluate import Evaluation, evaluate
from zoo.evaluation.interval import Interval
from zoo.evaluation.like_for_like import Drop, measure_drop
from zoo.evaluation.metrics import auprc, auroc, mean_auprc, mean_auroc
from zoo.evaluation.notes import Note
from zoo.evaluation.operating import OperatingPoint, operating_points
from zoo.evaluation.predictions import Predictions
from zoo.evaluation.thresholds import choose_thresholds, threshold_notes

__all__ = [
    "Conclusion",
    "Drop",
    "Evaluation",
    "Interval",
    "Note",
    "OperatingPoint",
    "Predictions",
    "ThresholdRule",
    "auprc",
    "auroc",
    "auroc_replicates",
    "check_rule",
    "choose_thresholds",
    "conclude",
    "evaluate",
    "mean_auprc",
    "mean_auroc",
    "measure_drop",
    "operating_points",
    "patient_weights",
    "threshold_notes",
    "weight_chunks",
]
