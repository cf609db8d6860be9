"""Tables of marks and of lesions' boxes, matched with each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from zoo.core.errors import DataError
from zoo.core.tables import read_table
from zoo.evaluation.froc import Froc, Localisation, afroc_rows, froc_curve, match_marks, sensitivities
from zoo.evaluation.readings import COLUMNS, ONE, Readings, named_columns

LESION = "lesion"  # the label where the marks name none
_PLACE: dict[str, tuple[str, ...]] = {"x": ("x", "Bbox [x"), "y": ("y",)}
_SIZE: dict[str, tuple[str, ...]] = {"width": ("width", "w"), "height": ("height", "h", "h]")}


@dataclass(frozen=True, eq=False)
class Marks:
    """All readers' marks matched with the lesions.

    `found[label, modality, reader]` are marks on the `images`, of which `patients` `(N,)` has the patients, "" where unknown.
    """

    source: str
    images: tuple[str, ...]
    patients: np.ndarray
    labels: tuple[str, ...]
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    found: dict[tuple[str, str, str], Localisation]

    def readings(self) -> Readings:
        """Lesions and images without lesions as images of two classes, whose AUROC is the area under the AFROC."""
        shape = (len(self.modalities), len(self.readers))
        parts = []
        for k, label in enumerate(self.labels):
            own = [afroc_rows(self.found[label, *who]) for who in product(self.modalities, self.readers)]
            labels, _, image = own[0]
            scores = np.full((len(self.labels), len(labels), *shape), np.nan)
            scores[k] = np.stack([each[1] for each in own], axis=1).reshape(-1, *shape)
            reference = np.full((len(labels), len(self.labels)), np.nan)
            reference[:, k] = labels
            parts.append((image, scores, reference))
        image = np.concatenate([each[0] for each in parts])
        return Readings(
            source=self.source,
            labels=self.labels,
            modalities=self.modalities,
            readers=self.readers,
            images=np.array(self.images, dtype=object)[image],
            patients=self.known_patients[image],
            scores=np.concatenate([each[1] for each in parts], axis=1),
            reference=np.concatenate([each[2] for each in parts]),
        )

    def froc(self, *, replicates: int = 1000, level: float = 0.95, seed: int = 0) -> tuple[Froc, ...]:
        """Every reader's sensitivity at rates of false marks, with intervals of a bootstrap over the patients."""
        return tuple(
            Froc(
                *who,
                each.images,
                len(each.lesion_score),
                sensitivities(each, self.known_patients, replicates=replicates, level=level, seed=seed),
                tuple(zip(*(part.tolist() for part in froc_curve(each)), strict=True)),
            )
            for who, each in self.found.items()
        )

    @property
    def known_patients(self) -> np.ndarray:
        """The patients, an image's own name where the patient is not known: its lesions go together."""
        return np.where(self.patients == "", [f"image {name}" for name in self.images], self.patients)


def read_marks(path: Path, boxes: Path) -> Marks:
    """Read marks and the boxes of the lesions, in the same frame.

    Marks: a CSV with the columns image, reader, x, y and score, and where there is more than one, label and modality; with
    width and height a mark is at the centre of its box. A row without x, y and score says that the image was read. Every
    reader is taken to have read all images of the table. Boxes: a CSV with image, x, y, width and height (the corner of least
    x and y), and a label where the marks have one.

    Raises:
        DataError: a file cannot be read, lacks a column, or a value is not a number.
    """
    marks, lesions = _marks(path), _boxes(boxes)
    if "label" in marks and "label" not in lesions:
        raise DataError(f"{path} has a column of labels and {boxes} has none.")
    if "label" not in marks:
        lesions["label"] = marks["label"] = LESION
    images, other = sorted(set(marks["image"])), lesions["image"].iloc[0]
    lesions = lesions[lesions["image"].isin(images)]
    if lesions.empty:
        raise DataError(
            f"{boxes} has no box of an image of {path}. It has images such as '{other}', the marks such as '{images[0]}'."
        )
    number = {name: n for n, name in enumerate(images)}
    names = {name: tuple(dict.fromkeys(marks[name])) for name in ("modality", "reader")}
    readers = tuple(sorted(names["reader"]))
    labels = tuple(dict.fromkeys([*lesions["label"], *marks["label"][marks["score"].notna()]]))
    patients = np.full(len(images), "", dtype=object)
    if "patient" in marks:
        patients[marks["image"].map(number)] = marks["patient"]
    found = {}
    for label in labels:
        boxed = _by_image(lesions[lesions["label"] == label], ["x", "y", "width", "height"])
        for modality, reader in product(names["modality"], readers):
            chosen = (marks["label"] == label) & (marks["modality"] == modality) & (marks["reader"] == reader)
            own = _by_image(marks[chosen & marks["score"].notna()], ["x", "y", "score"])
            found[label, modality, reader] = _localise(images, own, boxed)
    return Marks(path.name, tuple(images), patients, labels, names["modality"], readers, found)


def _localise(images: list[str], marks: Mapping[str, np.ndarray], boxes: Mapping[str, np.ndarray]) -> Localisation:
    lesion_image, lesion_score, other_image, other_score = [], [], [], []
    for number, name in enumerate(images):
        own, boxed = marks.get(name, np.empty((0, 3))), boxes.get(name, np.empty((0, 4)))
        hits, others = match_marks(own[:, :2], own[:, 2], boxed)
        lesion_image += [number] * len(hits)
        lesion_score += hits.tolist()
        other_image += [number] * len(others)
        other_score += others.tolist()
    return Localisation(
        len(images),
        np.array(lesion_image, dtype=np.intp),
        np.array(lesion_score, dtype=np.float64),
        np.array(other_image, dtype=np.intp),
        np.array(other_score, dtype=np.float64),
    )


def _by_image(table: pd.DataFrame, columns: list[str]) -> dict[str, np.ndarray]:
    return {str(name): own[columns].to_numpy(dtype=np.float64) for name, own in table.groupby("image")}


def _marks(path: Path) -> pd.DataFrame:
    raw = read_table(path, "marks")[0]
    accepted = {name: COLUMNS[name] for name in ("image", "reader", "patient", "modality", "label", "score")}
    found = named_columns(raw, path, accepted | _PLACE | _SIZE, ("image", "reader", "x", "y", "score"))
    table = pd.DataFrame({name: raw[column] for name, column in found.items()})
    numbers = [name for name in ("x", "y", "score", "width", "height") if name in table]
    for name in numbers:
        table[name] = _numbers(raw[found[name]], path, blank=True)
    half = table[["x", "y", "score"]].notna().sum(axis=1)
    if ((half != 0) & (half != 3)).any():
        line = int(((half != 0) & (half != 3)).to_numpy().argmax()) + 2
        raise DataError(f"{path}, line {line}: a mark needs x, y and score; without a mark all three are blank.")
    for place, size in (("x", "width"), ("y", "height")):
        if size in table:
            table[place] += table[size].fillna(0) / 2
    table["modality"] = table.get("modality", ONE)
    return table


def _boxes(path: Path) -> pd.DataFrame:
    raw = read_table(path, "boxes")[0]
    accepted = {name: COLUMNS[name] for name in ("image", "label")} | _PLACE | _SIZE
    found = named_columns(raw, path, accepted, ("image", "x", "y", "width", "height"))
    table = pd.DataFrame({name: raw[column] for name, column in found.items()})
    for name in ("x", "y", "width", "height"):
        table[name] = _numbers(raw[found[name]], path)
    return table


def _numbers(cells: pd.Series, path: Path, *, blank: bool = False) -> np.ndarray:
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64)
    strange = ~np.isfinite(numbers) & ~((cells == "").to_numpy() & blank)
    if strange.any():
        line = int(strange.argmax()) + 2
        raise DataError(
            f"{path}, line {line}: the column '{cells.name}' has '{cells.iloc[line - 2]}', which is no number."
        )
    return numbers
