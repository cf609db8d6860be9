"""The checks of an audit, each from a table of images to issues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zoo.data.audit.near import Pairs

# a leak makes results too good; a risk can become a leak when a split is drawn; the rest is a fault of the data
LEAK, RISK, FAULT = "leak", "risk", "fault"
PATIENT, IDENTICAL, NEAR = "patient on two sides", "identical image on two sides", "near-duplicate on two sides"
SHARED_PATIENT, SHARED_IMAGE = "patient in two datasets", "identical image in two datasets"
SHARED_NEAR = "near-duplicate in two datasets"
COPY, NEAR_COPY, NEAR_OTHER = "identical image", "near-duplicate", "near-duplicate of another patient"
TWO_SEXES, AGE_BACK = "two sexes", "age goes backwards"
LABELS_DIFFER, UNREADABLE = "identical images, other labels", "unreadable"
WEIGHTS = {
    **dict.fromkeys((PATIENT, IDENTICAL, NEAR, SHARED_PATIENT, SHARED_IMAGE, SHARED_NEAR), LEAK),
    NEAR_OTHER: RISK,
}
RANK = {"": 0, "train": 0, "train_val": 0, "val": 1, "test": 2}  # the later split keeps its images


@dataclass(frozen=True)
class Issue:
    """One row of the table of issues: an image (or patient), what is wrong with it, and the other image if there is one.

    `distance` counts the bits in which two hashes differ, `correlation` is that of the pixels; NaN if not measured.
    """

    kind: str
    dataset: str
    image: str
    patient: str = ""
    split: str = ""
    other_dataset: str = ""
    other_image: str = ""
    other_patient: str = ""
    other_split: str = ""
    distance: float = float("nan")
    correlation: float = float("nan")
    detail: str = ""


COLUMNS = ("weight", *Issue.__dataclass_fields__)


def issue_table(found: list[Issue]) -> pd.DataFrame:
    """One row per issue, leaks first."""
    rows = [{"weight": WEIGHTS.get(each.kind, FAULT), **vars(each)} for each in found]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = table["weight"].map({LEAK: 0, RISK: 1, FAULT: 2})
    return table.iloc[np.argsort(order.to_numpy(dtype=int), kind="stable")].reset_index(drop=True)


def shared_patients(images: pd.DataFrame) -> Iterator[Issue]:
    """Patients on two sides of a split or in two datasets. `images` are those whose patients are known."""
    for name, own in images[images["split"] != ""].groupby("dataset", sort=False):
        sides = own.groupby("patient")["split"].nunique()
        yield from _patients(own, sides.index[sides > 1], "split", PATIENT, str(name))
    places = images.groupby("patient")["dataset"].nunique()
    yield from _patients(images, places.index[places > 1], "dataset", SHARED_PATIENT, "")


def _patients(images: pd.DataFrame, patients: pd.Index, by: str, kind: str, name: str) -> Iterator[Issue]:
    chosen = images[images["patient"].isin(patients)]
    for patient, own in chosen.groupby("patient"):
        order = own["split"].map(RANK) if by == "split" else pd.Series(0, index=own.index)
        own = own.iloc[np.argsort(order.to_numpy(), kind="stable")]
        counts = own[by].value_counts(sort=False)
        first, last = own.iloc[0], own[own[by] != own[by].iloc[0]].iloc[-1]
        detail = ", ".join(f"{count} in {side}" for side, count in counts.items())
        yield _pair(kind, first, last, detail=detail, patient=str(patient), dataset=name or str(first["dataset"]))


def _pair(kind: str, image: pd.Series, other: pd.Series, **more: object) -> Issue:
    values = {
        "dataset": image["dataset"],
        "image": image["image"],
        "patient": image["patient"],
        "split": image["split"],
        **{f"other_{c}": other[c] for c in ("dataset", "image", "patient", "split")},
    }
    return Issue(kind=kind, **{**values, **more})


def identical(images: pd.DataFrame) -> Iterator[Issue]:
    """Images that are equal pixel for pixel: each copy with the one in the latest split, and whether their labels agree.

    Those of the first dataset are compared with the other datasets too.
    """
    first = images["dataset"].iloc[0]
    seen = images[(images["digest"] != "") & images["digest"].duplicated(keep=False)]
    for _, group in seen.groupby("digest", sort=False):
        group = group.iloc[np.argsort(group["split"].map(RANK).to_numpy(), kind="stable")]
        last = {name: own.iloc[-1] for name, own in group.groupby("dataset", sort=False)}
        for index, image in group.iterrows():
            mine = last[image["dataset"]]
            if index != mine.name:
                yield _pair(IDENTICAL if _two_sides(image, mine) else COPY, image, mine)
                if image["labels"] != mine["labels"]:
                    yield _pair(LABELS_DIFFER, image, mine, detail=f"{image['labels']} / {mine['labels']}")
            if image["dataset"] == first:
                yield from (_pair(SHARED_IMAGE, image, other) for name, other in last.items() if name != first)


def near_duplicates(images: pd.DataFrame, pairs: Pairs, drawn: set[str]) -> Iterator[Issue]:
    """Confirmed pairs that are not identical; `drawn` names datasets of which a split is still to be drawn by patient."""
    for a, b, bits, correlation in zip(pairs.first, pairs.second, pairs.distance, pairs.correlation, strict=True):
        image, other = images.iloc[a], images.iloc[b]
        if image["digest"] == other["digest"]:
            continue
        if RANK[image["split"]] > RANK[other["split"]]:
            image, other = other, image
        kind = NEAR_COPY
        if image["dataset"] != other["dataset"]:
            kind = SHARED_NEAR
        elif _two_sides(image, other):
            kind = NEAR
        elif image["patient"] != other["patient"] and image["dataset"] in drawn and RANK[image["split"]] == 0:
            kind = NEAR_OTHER
        yield _pair(kind, image, other, distance=float(bits), correlation=round(float(correlation), 4))


def _two_sides(image: pd.Series, other: pd.Series) -> bool:
    return "" not in (image["split"], other["split"]) and image["split"] != other["split"]


def contradictory(images: pd.DataFrame) -> Iterator[Issue]:
    """Patients with two sexes, and patients who get younger from one visit to the next. For known patients."""
    if "sex" in images:
        several = images[images.groupby(["dataset", "patient"])["sex"].transform("nunique") > 1]
        for (name, patient), own in several.groupby(["dataset", "patient"], sort=False):
            counts = own["sex"].value_counts()
            detail = ", ".join(f"{count} {sex}" for sex, count in counts.items())
            odd = own[own["sex"] == counts.index[-1]].iloc[0]
            yield Issue(TWO_SEXES, str(name), odd["image"], str(patient), odd["split"], detail=detail)
    if not {"age", "follow_up"} <= set(images.columns):
        return
    known = images.dropna(subset=["age", "follow_up"]).sort_values(["dataset", "patient", "follow_up"], kind="stable")
    before = known.groupby(["dataset", "patient"])[["age", "follow_up"]].shift()
    back = (known["age"] < before["age"]) & (known["follow_up"] > before["follow_up"])
    for index in known.index[back]:
        image = known.loc[index]
        detail = (
            f"{before.loc[index, 'age']:g} years at visit {before.loc[index, 'follow_up']:g}, "
            f"{image['age']:g} at visit {image['follow_up']:g}"
        )
        yield Issue(AGE_BACK, image["dataset"], image["image"], image["patient"], image["split"], detail=detail)


def unreadable(images: pd.DataFrame) -> Iterator[Issue]:
    """Images that cannot be read, with the reason."""
    for _, image in images[images["reason"] != ""].iterrows():
        yield Issue(
            UNREADABLE, image["dataset"], image["image"], image["patient"], image["split"], detail=image["reason"]
        )


def faults_of(name: str, faults: pd.DataFrame, images: pd.DataFrame) -> Iterator[Issue]:
    """The faults that the reader noted, with patient and split if the table has the image."""
    patients = dict(zip(images["image"], images["patient"], strict=True))
    splits = dict(zip(images["image"], images["split"], strict=True))
    for kind, image, detail in zip(faults["kind"], faults["image"], faults["detail"], strict=True):
        yield Issue(kind, name, image, patients.get(image, ""), splits.get(image, ""), detail=detail)
