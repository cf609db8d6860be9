"""Facts about an evaluation that its reader must know. `zoo.report.sentences` says them in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHANGED, UNCHECKED = "changed_predictions", "unchecked_predictions"
DOUBTS = (CHANGED, UNCHECKED)
FEW = 10  # images of a class, or patients, below which numbers are to be read with care


@dataclass(frozen=True)
class Note:
    """One fact: its kind, the labels it is about, and counts, one per label or as the kind has them.

    Kinds of an evaluation: "undefined_auroc", "few_images", "no_predicted_positives",
    "constant_output", "worse_than_chance" (labels each), "contradictory_predictions" (a label that means normal, and the
    images where it is predicted beside a finding), "unknown_patients", "duplicate_images", "few_patients" (a count),
    "one_patient", "no_interval" (labels). "duplicate_images" has a second count: those whose copies are under different
    patients.

    Kinds of the predictions that were measured (`DOUBTS`), whose `labels` are the splits they are of: "changed_predictions", not
    those that the run was finished with, with the numbers of images that are missing, foreign and under another patient, and
    "unchecked_predictions", of a run that keeps no digest of them.

    Kinds of thresholds (`thresholds.threshold_notes`): "undetermined_threshold", "target_by_one_decision", "logit_threshold"
    (labels), "threshold_on_few_images", "target_on_few_images" (labels and counts). Kinds of a label that stays
    uncalibrated: see `Calibration`. Of another dataset (`zoo evaluate --data`): "any_finding", whose labels together stand
    for the network's one, and "near_duplicates_unchecked", where the run's own images could not be read.
    """

    kind: str
    labels: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> Note:
        """The inverse of `to_plain`; raises KeyError where a part is missing."""
        return cls(saved["kind"], tuple(saved["labels"]), tuple(saved["counts"]))
