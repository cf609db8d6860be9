"""What an evaluation shows as a whole: whether the outputs carry information."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from zoo.evaluation.evaluate import Evaluation
from zoo.evaluation.notes import FEW

NEAR_PERFECT = 0.99


@dataclass(frozen=True)
class Conclusion:
    """What the headline AUROC and its interval show.

    `kind`: "undefined"; "constant" (every image gets the same outputs); "few_patients" (too few to conclude anything);
    "near_perfect" (.99 or more, so look for leakage); "no_interval"; "worse_than_chance" (the interval lies below .5);
    "chance" (it includes .5); "better_than_chance". `rarer` is the number of images of the rarer class, of the label with
    most of them, where that is below ten; else None.
    """

    kind: Literal[
        "undefined",
        "constant",
        "few_patients",
        "near_perfect",
        "no_interval",
        "worse_than_chance",
        "chance",
        "better_than_chance",
    ]
    rarer: int | None = None


def conclude(evaluation: Evaluation) -> Conclusion:
    """Draw the conclusion from the headline AUROC of an evaluation."""
    found = evaluation.headline
    if math.isnan(found.value):
        return Conclusion("undefined")
    if len(evaluation.constant) == evaluation.task.outputs:
        return Conclusion("constant")
    if evaluation.patients < FEW:
        return Conclusion("few_patients")
    few = _images_of_rarer_class(evaluation)
    if found.value >= NEAR_PERFECT:
        return Conclusion("near_perfect", few)
    if math.isnan(found.low):
        return Conclusion("no_interval")
    if found.high < 0.5:
        return Conclusion("worse_than_chance", few)
    return Conclusion("chance" if found.low <= 0.5 else "better_than_chance", few)


def _images_of_rarer_class(evaluation: Evaluation) -> int | None:
    """How many there are where that is below ten for every label with an AUROC."""
    rarer = [
        min(evaluation.positives[label], evaluation.known[label] - evaluation.positives[label])
        for label in evaluation.task.labels
        if not math.isnan(evaluation.per_label[label]["auroc"].value)
    ]
    most = max(rarer, default=FEW)
    return most if most < FEW else None
