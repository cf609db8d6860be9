"""The parts of a report that show images: the worst mistakes, and what the network looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from zoo.evaluation import metrics
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.predictions import Predictions
from zoo.report import images as pixels
from zoo.report.blocks import Block, Code, Picture, Pictures, Points, Section, Table, Text, section
from zoo.report.material import Material
from zoo.report.sentences import shown

MOST = 12  # images shown of each kind
_MAP_SIZE = 400  # pixels of an overlay's longer side


@dataclass(frozen=True)
class Mistake:
    """An image that was predicted wrongly: the prediction, the reference label, and the probability of the label."""

    image: str
    label: str
    predicted: str
    reference: str
    probability: float
    wrongness: float  # distance from the threshold in log-odds, so that the sides compare; of classes the probability


def worst_mistakes(predictions: Predictions, thresholds: Mapping[str, float], most: int = MOST) -> tuple[Mistake, ...]:
    """The wrong predictions farthest beyond the threshold, half of them missed images and half false alarms.

    Each label gives its worst missed image and its worst false alarm before any label gives a second one of either; the
    labels with the worst mistakes come first. For a multiclass task the mistakes are those of the most probable class, by
    its probability.
    """
    if predictions.task.exclusive:
        return _wrong_classes(predictions)[:most]
    positive = metrics.decisions(predictions.task, predictions.logits, thresholds)
    by_label = [
        [_farthest(predictions, positive, k, missed, thresholds[label], most) for missed in (True, False)]
        for k, label in enumerate(predictions.task.labels)
    ]
    by_label.sort(key=lambda kinds: -max((m.wrongness for mistakes in kinds for m in mistakes[:1]), default=0.0))
    missed, alarms = (_in_rounds([kinds[n] for kinds in by_label]) for n in (0, 1))
    half = most // 2
    first = missed[: half if len(alarms) >= half else most - len(alarms)]
    chosen = (first, alarms[: most - len(first)])
    return tuple(m for part in chosen for m in sorted(part, key=lambda m: (-m.wrongness, m.image, m.label)))


def _farthest(
    predictions: Predictions, positive: np.ndarray, k: int, missed: bool, threshold: float, most: int
) -> list[Mistake]:
    """The mistakes of one label and kind, the farthest from the threshold first, from decisions `(N, K)`."""
    label, limit = predictions.task.labels[k], threshold if threshold > 1 else _log_odds(threshold)
    rows = np.flatnonzero((predictions.labels[:, k] == missed) & (positive[:, k] != missed))
    distance = np.abs(predictions.logits[rows, k].astype(np.float64) - limit)
    first = np.argsort(-distance, kind="stable")[:most]
    names, probability = predictions.table["image"].astype(str).to_numpy(), predictions.probabilities[:, k]
    predicted, reference = (f"no {label}", label) if missed else (label, f"no {label}")
    return [
        Mistake(names[rows[i]], label, predicted, reference, float(probability[rows[i]]), float(distance[i]))
        for i in first
    ]


def _in_rounds(by_label: Sequence[Sequence[Mistake]]) -> list[Mistake]:
    """The first of every label, then the second ones, and so on."""
    return [mistake for each in zip_longest(*by_label) for mistake in each if mistake is not None]


def _log_odds(threshold: float) -> float:
    """The logit of a probability in [0, 1]; of 0 and 1 that of the nearest float, so that distances stay finite."""
    p = min(max(threshold, float(np.nextafter(0, 1))), float(np.nextafter(1, 0)))
    return math.log(p) - math.log1p(-p)


def _wrong_classes(predictions: Predictions) -> tuple[Mistake, ...]:
    labels, probability = predictions.task.labels, predictions.probabilities
    known = (predictions.labels == 1).any(axis=1)
    reference, predicted = predictions.labels.argmax(axis=1), probability.argmax(axis=1)
    names = predictions.table["image"].astype(str).to_numpy()
    found = [
        Mistake(names[i], labels[predicted[i]], labels[predicted[i]], labels[reference[i]], p, p)
        for i in np.flatnonzero(known & (reference != predicted))
        if (p := float(probability[i, predicted[i]])) >= 0
    ]
    return tuple(sorted(found, key=lambda m: (-m.wrongness, m.image)))


def mistakes(material: Material) -> Section | None:
    """The most confident wrong predictions."""
    found = worst_mistakes(material.predictions, material.results.evaluation.thresholds)
    if not found:
        return section("mistakes", "Worst mistakes", Text("No image was predicted wrongly."))
    shown = pixels.thumbnails(material.run, [m.image for m in found]) if material.pictures else {}
    if shown:
        pictures = tuple(_mistake(m, shown.get(m.image)) for m in found)
        return section("mistakes", "Worst mistakes", Pictures(_mistakes_caption(material), pictures))
    gone = "The pixels of these images are gone: neither the prepared store nor the files are there."
    why = Text(gone if material.pictures else "The report was made without images.", "note")
    return section("mistakes", "Worst mistakes", why, mistakes_table(material))


def mistakes_table(material: Material) -> Table | None:
    """The same images without their pixels."""
    found = worst_mistakes(material.predictions, material.results.evaluation.thresholds)
    rows = tuple((m.image, m.reference, m.predicted, m.label, short(m.probability)) for m in found)
    names = ("image", "reference label", "predicted", "label", "probability")
    return Table(_mistakes_caption(material), names, rows) if rows else None


def _mistakes_caption(material: Material) -> str:
    task = material.predictions.task
    if task.exclusive:
        return "Images predicted wrongly, the most confident first."
    several = " Each label gives its worst of either kind before a second one." if task.outputs > 1 else ""
    return (
        f"Images predicted wrongly, the farthest beyond the threshold first: missed images, then false alarms.{several}"
    )


def _mistake(mistake: Mistake, source: str | None) -> Picture:
    probability = f"probability {short(mistake.probability)}"
    label = f"Image {mistake.image}: {mistake.reference} in the dataset, predicted {mistake.predicted}; {probability}."
    if mistake.reference == mistake.label:
        what = f"{mistake.label}: missed"
    elif mistake.reference == f"no {mistake.label}":
        what = f"{mistake.label}: false alarm"
    else:
        what = f"{mistake.reference}, predicted {mistake.predicted}"
    return Picture(source, label, (mistake.image, what, probability))


def explanations(material: Material) -> Section | None:
    """Heat maps and how well they fall on the marked findings, or the command that makes them."""
    index = material.explanations
    if index is None:
        command = f"zoo explain {material.run.path} --split {material.results.split} --boxes"
        return section(
            "explanations", "What the network looked at", Code("There are no heat maps yet; this makes them.", command)
        )
    blocks: list[Block] = []
    method, layer = str(index.get("method", "heat map")), index.get("layer")
    pictures = tuple(_map(material, each) for each in index.get("images", [])[:MOST]) if material.pictures else ()
    where = f" of the layer {layer}" if layer else ""
    if pictures:
        caption = f"Heat maps ({method}{where}): where the network’s output for the label comes from, not proof of why."
        blocks.append(Pictures(caption, pictures, large=True))
    elif index.get("images"):
        blocks.append(Text("The report was made without images.", "note"))
    if table := localisation_table(material):
        blocks.append(table)
    if said := _said(index):
        blocks.append(Points(said))
    return section("explanations", "What the network looked at", blocks)


def _map(material: Material, image: Mapping[str, Any]) -> Picture:
    source = pixels.file_uri(material.run.path / "explanations", str(image.get("file", "")), _MAP_SIZE)
    known: dict[Any, str] = {1: "present", 0: "absent"}
    reference = known.get(image.get("reference"), "unknown")
    label, probability = str(image.get("label", "")), short(_number(image.get("probability")))
    boxes = f"; {image['boxes']} marked" if image.get("boxes") else ""
    lines = (str(image.get("image", "")), f"{label}: probability {probability}", f"in the dataset: {reference}{boxes}")
    return Picture(source, f"Heat map on image {lines[0]} for {label}, probability {probability}, {reference}.", lines)


def localisation_table(material: Material) -> Table | None:
    """How often the hottest place lies in a marked box, beside a map of the centre and a random one."""
    found = (material.explanations or {}).get("localisation")
    rows = found.get("rows") if isinstance(found, Mapping) else None
    if not rows:
        return None
    thresholds = list(dict.fromkeys(t for row in rows for t in row.get("iou", {})))
    cells = tuple(
        (
            str(row.get("label", "")),
            str(row.get("method", "")),
            str(row.get("images", "")),
            str(row.get("boxes", "")),
            _interval(row.get("pointing")),
            _interval(row.get("energy")),
            *(_interval(row.get("iou", {}).get(t)) for t in thresholds),
        )
        for row in rows
    )
    names: tuple[str, ...] = ("label", "map", "images", "boxes", "hottest point in a box", "share of the heat in boxes")
    names += tuple(f"IoU, map cut at {t}" for t in thresholds)
    caption = (
        "How well the heat falls on the findings that radiologists marked (means over images, 95% intervals), beside maps that "
        "know nothing of the image: its centre, and random ones. IoU: intersection over union of the boxes and the part of the "
        "map above a share of its maximum."
    )
    return Table(caption, names, cells)


def _said(index: Mapping[str, Any]) -> tuple[str, ...]:
    """What `zoo explain` says of its scores and of the sanity check, in its own sentences."""
    parts = [index.get("localisation") or {}, index]
    lines = [str(note) for part in parts for note in part.get("notes", ())]
    sentence = (index.get("sanity") or {}).get("sentence")
    return tuple(dict.fromkeys([*lines, str(sentence)] if sentence else lines))


def _interval(value: Any) -> str:
    return shown(Interval.from_dict(value) if value else None)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan
