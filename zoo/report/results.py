"""The sections of a report with the measurements: metrics, curves, calibration, thresholds, groups, baselines, references."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from zoo.core.text import listed
from zoo.evaluation.interval import short
from zoo.evaluation.notes import FEW
from zoo.evaluation.subgroups import MACRO
from zoo.report import sentences
from zoo.report.blocks import Block, Figure, Intervals, Panels, Points, Section, Table, Text, section
from zoo.report.detail_sentences import calibration as calibration_sentences
from zoo.report.detail_sentences import groups as group_sentences
from zoo.report.detail_sentences import operating as operating_sentences
from zoo.report.detail_sentences import references as reference_sentences
from zoo.report.material import Material
from zoo.report.sentences import shown, split_name, unit
from zoo.report.tables import (
    OVER_IMAGES,
    calibration_table,
    groups_table,
    operating_line,
    operating_table,
    predictive_table,
    reference_table,
)

if TYPE_CHECKING:
    from zoo.evaluation.calibration import Calibration
    from zoo.evaluation.reliability import Reliability

COLUMNS = ("auroc", "auprc", "sensitivity", "specificity", "precision", "f1")
_LABELS_SHOWN = 20  # small multiples beyond which only the first are drawn


def metrics(material: Material) -> Section | None:
    """Every metric of every label with its interval, then the averages."""
    found = material.results.evaluation
    rows: list[tuple[str, ...]] = []
    marked = set()
    for number, (label, values) in enumerate(found.per_label.items()):
        positives, known = found.positives[label], found.known[label]
        if min(positives, known - positives) < FEW:
            marked.add(number)
        rows.append((label, f"{positives:,} of {known:,}", *(shown(values[m]) for m in COLUMNS)))
    if found.task.kind != "binary":
        for name, values in found.averages.items():
            how = f" ({OVER_IMAGES[name]})" if name in OVER_IMAGES else ""
            rows.append(
                (
                    f"{name.partition('_')[0]} average{how}",
                    "",
                    *(shown(values[m]) if m in values else "" for m in COLUMNS),
                )
            )
    level = f"{100 * found.level:.0f}%"
    caption = (
        f"Metrics on the {split_name(found.split)} images with {level} intervals over {unit(found.patients_known)}. "
        f"A dash is undefined, not zero."
    )
    decided = (
        "Sensitivity, specificity, precision and F1 take the most probable class."
        if found.task.exclusive
        else f"Sensitivity, specificity, precision and F1 hold at the operating point. {operating_line(material.results)}"
    )
    names = ("label", "positive", *(sentences.METRICS[m] for m in COLUMNS))
    return section("results", "Results", Table(caption, names, tuple(rows), marked=frozenset(marked)), Text(decided))


def curves(material: Material) -> Section | None:
    """ROC and precision-recall curves of every label with pointwise bands."""
    from zoo.report import curves as numbers
    from zoo.report.figures import pr_figure, roc_figure

    predictions, found = material.predictions, material.results.evaluation
    task = predictions.task
    drawn = numbers.curves(
        task.labels, predictions.labels, predictions.scores, predictions.table["patient"], seed=found.seed
    )
    if not drawn:
        return None
    roc, pr = [], []
    for each in drawn[:_LABELS_SHOWN]:
        values = found.per_label[each.label]
        area, precision = shown(values["auroc"]), shown(values["auprc"])
        roc.append(Figure(roc_figure(each, each.label), f"ROC curve of {each.label}: AUROC {area}.", f"AUROC {area}"))
        label = f"Precision-recall curve of {each.label}: AUPRC {precision}, prevalence {short(each.prevalence)}."
        pr.append(Figure(pr_figure(each, each.label), label, f"AUPRC {precision}"))
    band = "The shaded band is the pointwise 95% interval over resampled " + unit(found.patients_known)
    diagonal, share = "the dashed diagonal is chance", "the dashed line is the share of positive images"
    blocks: list[Block]
    if len(drawn) == 1:
        caption = f"ROC and precision-recall curve. {band}; in the first {diagonal}, in the second {share}."
        blocks = [Panels(caption, (*roc, *pr))]
    else:
        blocks = [
            Panels(f"ROC curves. {band}; {diagonal}.", tuple(roc)),
            Panels(f"Precision-recall curves. {band}; {share}.", tuple(pr)),
        ]
    if len(drawn) > _LABELS_SHOWN:
        blocks.append(Text(f"Shown are the first {_LABELS_SHOWN} of {len(drawn)} labels."))
    return section("curves", "ROC and precision-recall curves", blocks)


def calibration(material: Material) -> Section | None:
    """How well the probabilities are calibrated, before and after calibration on validation."""
    found = material.results.calibration
    if found is None:
        return None
    from zoo.report.figures import reliability_figure

    spreads = _spreads(material, found.calibration)
    figures = tuple(
        Figure(
            reliability_figure(before, found.after[label], spreads[label], label),
            f"Reliability diagram of {label}: {_ece(before, found.after[label])}.",
            _ece(before, found.after[label]),
        )
        for label, before in list(found.before.items())[:_LABELS_SHOWN]
    )
    caption = (
        "Reliability: the observed share of images that have the label against the mean probability of each bin, hollow as "
        f"trained, filled with 95% intervals after {found.method} calibration fitted on the validation images; below it how "
        "many images there are. "
        "The dashed diagonal is perfect calibration."
    )
    return section(
        "calibration",
        "Calibration",
        Panels(caption, figures) if figures else None,
        calibration_table(found),
        Points(tuple(said)) if (said := calibration_sentences(found)) else None,
    )


def _spreads(material: Material, calibration: Calibration) -> dict[str, tuple[np.ndarray, ...]]:
    """The probabilities before and after, where the label is known."""
    predictions = material.predictions
    both = (predictions.probabilities, calibration.probabilities(predictions.logits))
    known = ~np.isnan(predictions.labels)
    return {label: tuple(p[known[:, k], k] for p in both) for k, label in enumerate(predictions.task.labels)}


def _ece(before: Reliability, after: Reliability) -> str:
    return f"ECE {short(before.ece.value)}, after calibration {short(after.ece.value)}"


def operating(material: Material) -> Section | None:
    """Thresholds chosen on validation, and how they perform."""
    points = material.results.operating
    if not points:
        return None
    here = split_name(material.results.split)
    said = tuple(operating_sentences(points))
    tables = (operating_table(points, here), predictive_table(points))
    return section("operating", "Operating points", tables, Points(said) if said else None)


def confusion(material: Material) -> Section | None:
    """Images by reference label and prediction."""
    predictions = material.predictions
    if predictions.task.exclusive:
        return section("confusion", "Confusion matrix", _classes(material))
    from zoo.evaluation import metrics as exact

    table = exact.confusion(
        predictions.labels,
        exact.decisions(predictions.task, predictions.logits, material.results.evaluation.thresholds),
    )
    rows = [
        (label, *(f"{int(part[k]):,}" for part in (table.tp, table.fn, table.fp, table.tn)))
        for k, label in enumerate(predictions.task.labels)
    ]
    caption = "Images by reference label and by prediction at the threshold of each label."
    names = ("label", "true positive", "false negative (missed)", "false positive", "true negative")
    return section("confusion", "Confusion matrix", Table(caption, names, tuple(rows)))


def _classes(material: Material) -> Table:
    predictions = material.predictions
    labels = predictions.task.labels
    known = (predictions.labels == 1).any(axis=1)
    reference, predicted = predictions.labels[known].argmax(axis=1), predictions.logits[known].argmax(axis=1)
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(counts, (reference, predicted), 1)
    rows = tuple(
        (label, *(sentences.share(count, int(row.sum())) for count in row))
        for label, row in zip(labels, counts, strict=True)
    )
    return Table(
        "Rows: the reference label; columns: the most probable class; in brackets the share of the row.",
        ("reference", *(f"predicted {label}" for label in labels)),
        rows,
    )


def subgroups(material: Material) -> Section | None:
    """AUROC and missed images by group, small groups marked."""
    groups = material.results.groups
    if not groups:
        return None
    first, known = sentences.overall(groups), material.results.evaluation.patients_known
    mean = "mean over the labels of " if any(group.label == MACRO for group in groups) else ""
    blocks: list[Block] = []
    for what, values, worse in (
        ("AUROC", [group.auroc_gap for group in first], "left of the dashed line it is lower in the group"),
        ("False-negative rate", [group.fnr_gap for group in first], "right of it more is missed in the group"),
    ):
        rows = [(f"{g.column} {g.name}", gap, "small" if g.small else "") for g, gap in zip(first, values, strict=True)]
        caption = f"{what} of each group minus that of all images outside it ({mean}the difference): {worse}."
        blocks.append(Intervals(caption, tuple(rows), 0.0))
    blocks += [Text("Hollow points are groups too small for a conclusion."), groups_table(groups, patients=known)]
    if said := group_sentences(groups, material.results.gaps, known):
        blocks.append(Points(tuple(said)))
    if any(group not in first for group in groups):
        blocks.append(groups_table(groups, "Groups of images, label by label.", folded=True, patients=known))
    return section("subgroups", "Subgroups", blocks)


def baselines(material: Material) -> Section | None:
    """What a guess reaches that never sees an image."""
    found = material.results.baselines
    if not found:
        return None
    rows = tuple(
        (
            each.name,
            listed(sentences.feature_names(each.features)) or "–",
            *(shown(v) for v in (each.auroc, each.auprc, each.brier, each.difference)),
            {True: "yes", False: "no", None: "unknown"}[each.beaten],
        )
        for each in found
    )
    names = ("baseline", "from", "AUROC", "AUPRC", "Brier score", "the network’s AUROC minus this", "beaten")
    caption = "What a guess reaches that never sees an image, on the same images (means over labels; 95% intervals)."
    return section("baselines", "Baselines", Table(caption, names, rows))


def reference(material: Material) -> Section | None:
    """The same images against other reference labels."""
    found = material.results.reference
    if found is None:
        return None
    said = Points(tuple(reference_sentences(found)))
    return section("reference", "Other reference labels", said, reference_table(found))
