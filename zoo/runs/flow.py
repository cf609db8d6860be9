"""How images came to be analysed: listed, left out and why, split, analysed; and what is unknown of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from zoo.evaluation.bootstrap import patient_codes, unknown_patients
from zoo.evaluation.predictions import Predictions, read_table
from zoo.evaluation.serialise import Serialisable
from zoo.runs.run import Run

METADATA = ("age", "sex", "view")  # which groups and baselines need


@dataclass(frozen=True)
class Count(Serialisable):
    """Images, and the patients they are of; None where these are not known."""

    images: int
    patients: int | None


@dataclass(frozen=True)
class Reason(Serialisable):
    """Why images were set aside, and how many."""

    reason: str
    images: int


@dataclass(frozen=True)
class Missing(Serialisable):
    """What is known in one split of a label (`kind` "label") or of another column ("column").

    `positive` and `negative` count the known labels, None for other columns. `filled` are those of the `unknown` labels that
    the setting `uncertain` gave a value in training; None where a run made by an older zoo does not keep their number,
    which are then among the known ones.
    """

    name: str
    kind: str
    split: str
    images: int
    known: int
    unknown: int
    positive: int | None
    negative: int | None
    filled: int | None


@dataclass(frozen=True)
class Flow(Serialisable):
    """Counts from the dataset to the analysis of `split`.

    `listed` = `set_aside` + `filtered_out` (by the condition `where`) + `limited_out` (by `limit`) + `used.images`. Of images
    that were left out only the number is kept. None stands for a number that the run does not keep. `parts` has the splits,
    `analysed` what the predictions of `split` hold.
    """

    dataset: str
    split: str
    listed: int | None
    set_aside: int | None
    reasons: tuple[Reason, ...]
    filtered_out: int | None
    where: str | None
    limited_out: int | None
    limit: int | None
    used: Count
    parts: dict[str, Count]
    analysed: Count
    missing: tuple[Missing, ...]

    def rows(self) -> list[dict[str, Any]]:
        """The steps as rows of a table: step, detail, images, patients."""

        def row(step: str, detail: str, images: int | None, patients: int | None = None) -> dict[str, Any]:
            return {"step": step, "detail": detail, "images": images, "patients": patients}

        return [
            row("listed", self.dataset, self.listed),
            *(row("set_aside", each.reason, each.images) for each in self.reasons),
            row("filtered_out", self.where or "", self.filtered_out),
            row("limited_out", "" if self.limit is None else str(self.limit), self.limited_out),
            row("used", "", self.used.images, self.used.patients),
            *(row("split", name, each.images, each.patients) for name, each in self.parts.items()),
            row("analysed", self.split, self.analysed.images, self.analysed.patients),
        ]


def run_flow(run: Run, split: str, predictions: Predictions, images: pd.DataFrame) -> Flow:
    """The flow of the run's own images, from its images.csv (`images`), set_aside.csv, data.json and config.yaml."""
    file = run.path / "set_aside.csv"
    aside = read_table(file, ["image", "reason"]) if os.path.lexists(file) else None
    return measure_flow(split, predictions, images, aside, run.known_data(), run.config())


def measure_flow(
    split: str,
    predictions: Predictions,
    images: pd.DataFrame,
    set_aside: pd.DataFrame | None,
    data: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> Flow:
    """Count images and patients.

    Args:
        split: what `predictions` are of.
        predictions: what was analysed.
        images: image, patient, split and the labels (`label:NAME`: 1, 0, NaN, or .5 where half was filled in).
        set_aside: image and reason; None where it is not known.
        data: the run's data.json: dataset, filtered_out, limited_out, certain.
        settings: the run's configuration: where, limit, uncertain.
    """
    out = {
        key: data.get(key, 0 if settings.get(setting) is None else None)
        for key, setting in (("filtered_out", "where"), ("limited_out", "limit"))
    }
    aside = None if set_aside is None else len(set_aside)
    left = [number for number in (aside, *out.values()) if number is not None]
    reasons = () if set_aside is None else tuple(set_aside["reason"].astype(str).value_counts().items())
    parts = {name: images[images["split"] == name] for name in ("train", "val", "test")}
    parts = {name: part for name, part in parts.items() if len(part)}
    certain = data.get("certain")
    if certain is None and settings.get("uncertain") in ("zero", "one"):
        certain = {}  # not kept
    missing = []
    for label in predictions.task.labels:
        if f"label:{label}" in images:
            missing += [_label(label, name, part, certain) for name, part in parts.items()]
    for column in [name for name in METADATA if name in images]:
        missing += [_column(column, name, part) for name, part in parts.items()]
    return Flow(
        dataset=str(data.get("dataset", "")),
        split=split,
        listed=len(images) + sum(left) if len(left) == 3 else None,
        set_aside=aside,
        reasons=tuple(Reason(str(reason), int(number)) for reason, number in reasons),
        filtered_out=out["filtered_out"],
        where=settings.get("where"),
        limited_out=out["limited_out"],
        limit=settings.get("limit"),
        used=_count(images),
        parts={name: _count(part) for name, part in parts.items()},
        analysed=_count(predictions.table),
        missing=tuple(missing),
    )


def _count(table: pd.DataFrame) -> Count:
    unknown = len(table) and unknown_patients(table["patient"]).all()
    return Count(len(table), None if unknown else patient_codes(table["patient"])[1])


def _label(label: str, split: str, part: pd.DataFrame, certain: Mapping[str, Any] | None) -> Missing:
    """`certain` has the known training labels before others were filled in, as data.json does; empty where it was not kept."""
    values = part[f"label:{label}"].to_numpy(dtype=float)
    positive, negative = int((values == 1).sum()), int((values == 0).sum())
    given = int((~np.isnan(values)).sum())  # with those that count as one half
    if split == "train" and certain:
        positive, negative = (int(certain[kind][label]) for kind in ("positive", "negative"))
    filled = None if split == "train" and certain == {} else given - positive - negative
    known = positive + negative
    return Missing(label, "label", split, len(part), known, len(part) - known, positive, negative, filled)


def _column(column: str, split: str, part: pd.DataFrame) -> Missing:
    known = int(part[column].notna().sum())
    return Missing(column, "column", split, len(part), known, len(part) - known, None, None, None)
