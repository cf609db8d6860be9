"""The sections of a report with the measurements: metrics, curves, calibration, thresholds, groups, baselines, references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.core.text import count_of, listed
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.notes import FEW
from zoo.report import sentences
from zoo.report.blocks import Block, Figure, Panels, Points, Section, Table, Text, section
from zoo.report.detail_sentences import binning
from zoo.report.detail_sentences import calibration as calibration_sentences
from zoo.report.material import Material
from zoo.report.sentences import shown, split_name
from zoo.report.tables import RULES

if TYPE_CHECKING:
    from zoo.evaluation.calibration import Calibration
    from zoo.evaluation.operating import OperatingPoint
    from zoo.evaluation.reliability import Reliability
    from zoo.evaluation.subgroups import Group

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
            rows.append((f"{name} average", "", *(shown(values[m]) if m in values else "" for m in COLUMNS)))
    level = f"{100 * found.level:.0f}%"
    caption = (
        f"Metrics on the {split_name(found.split)} images with {level} intervals from "
        f"{found.replicates:,} resamples of the patients. A dash is undefined, not zero."
    )
    decided = (
        "Sensitivity, specificity, precision and F1 take the most probable class."
        if found.task.exclusive
        else "Sensitivity, specificity, precision and F1 hold at the thresholds under “Operating points”."
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
    band = "The shaded band is the pointwise 95% interval over resampled patients"
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
            reliability_figure(before, found.after.get(label), spreads.get(label, ()), label),
            f"Reliability diagram of {label}: {_ece(before, found.after.get(label))}.",
            _ece(before, found.after.get(label)),
        )
        for label, before in list(found.before.items())[:_LABELS_SHOWN]
    )
    caption = (
        f"Reliability: the share of images that have the label against the mean probability of each bin, with 95% intervals, "
        f"as trained and after {found.method} calibration fitted on the validation images; below it how many images there are. "
        "The dashed diagonal is perfect calibration."
    )
    return section(
        "calibration",
        "Calibration",
        Panels(caption, figures) if figures else None,
        calibration_table(material),
        Points(tuple(said)) if (said := calibration_sentences(found)) else None,
    )


def _spreads(material: Material, calibration: Calibration) -> dict[str, tuple[np.ndarray, ...]]:
    """The probabilities before and after, where the label is known."""
    predictions = material.predictions
    both = (predictions.probabilities, calibration.probabilities(predictions.logits))
    known = ~np.isnan(predictions.labels)
    return {label: tuple(p[known[:, k], k] for p in both) for k, label in enumerate(predictions.task.labels)}


def _ece(before: Reliability, after: Reliability | None) -> str:
    text = f"ECE {short(before.ece.value)}"
    return text if after is None else f"{text}, after calibration {short(after.ece.value)}"


def calibration_table(material: Material) -> Table | None:
    """Brier score with its parts and ECE of every label, before and after calibration."""
    found = material.results.calibration
    if found is None:
        return None
    rows = []
    for label, first in found.before.items():
        for name, each in (("as trained", first), ("calibrated", found.after.get(label))):
            if each is not None:
                brier = each.brier
                parts = (brier.miscalibration, brier.discrimination, brier.uncertainty)
                rows.append((label, name, shown(brier.value), *(short(p) for p in parts), shown(each.ece)))
    caption = (
        "Brier score = miscalibration − discrimination + uncertainty (lower is better; more discrimination is better), "
        f"and the expected calibration error. {binning(found)}"
    )
    names = ("label", "", "Brier score", "miscalibration", "discrimination", "uncertainty", "ECE")
    return Table(caption, names, tuple(rows))


def operating(material: Material) -> Section | None:
    """Thresholds chosen on validation, and how they perform."""
    points = material.results.operating
    if not points:
        return None
    missed = frozenset(i for i, point in enumerate(points) if point.shortfall is not None)
    here = split_name(material.results.split)
    rules = {_rule(point) for point in points}
    several, target = len(rules) > 1, any(point.target is not None for point in points)
    rows = tuple(
        (
            point.label,
            short(point.threshold),
            *((_rule(point),) if several else ()),
            *(cell for m in ("sensitivity", "specificity") for cell in _both(point, m)),
            *((shown(point.shortfall) if point.shortfall else "",) if target else ()),
        )
        for point in points
    )
    names: tuple[str, ...] = ("label", "threshold", *(("rule",) if several else ()))
    names += ("sensitivity, validation", f"sensitivity, {here}", "specificity, validation", f"specificity, {here}")
    names += ("short of the target by",) if target else ()
    chosen = "" if rules == {RULES["fixed"]} else ", where they were chosen,"
    caption = (
        f"Thresholds and what they give on the validation images{chosen} and on the {here} images (95% intervals). "
        f"Rule: {listed(sorted(rules))}." + (" Rows in italics miss their target." if missed else "")
    )
    table = Table(caption, names, rows, marked=missed)
    return section("operating", "Operating points", table, _predictive(points, here))


def _rule(point: OperatingPoint) -> str:
    return RULES.get(point.rule, point.rule).format("" if point.target is None else short(point.target))


def _both(point: OperatingPoint, metric: str) -> tuple[str, str]:
    return short(point.validation[metric]), shown(point.test[metric])


def _predictive(points: Sequence[OperatingPoint], here: str) -> Table:
    """Predictive values, which hold only at a prevalence."""
    assumed = any(point.assumed_prevalence is not None for point in points)
    rows = []
    for point in points:
        cells = [point.label, short(point.prevalence)]
        cells += [shown(point.test["precision"]), shown(point.test["npv"])]
        if assumed:
            given = "–" if point.assumed_prevalence is None else short(point.assumed_prevalence)
            cells += [given, shown(point.ppv_at), shown(point.npv_at)]
        rows.append(tuple(cells))
    names: tuple[str, ...] = ("label", f"prevalence, {here}", "PPV", "NPV")
    if assumed:
        names += ("assumed prevalence", "PPV there", "NPV there")
    note = "" if assumed else " “zoo report RUN --prevalence P” gives them at another."
    return Table(f"Predictive values at the prevalence they hold at.{note}", names, tuple(rows))


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
    from zoo.report.figures import forest_figure

    first = sentences.overall(groups)
    evaluation = material.results.evaluation
    missed = evaluation.averages["macro"]["sensitivity"].value
    figures = []
    for title, overall, values in (
        (sentences.headline_name(evaluation.task), evaluation.headline.value, [group.auroc for group in first]),
        ("false-negative rate", 1 - missed, [group.false_negative_rate for group in first]),
    ):
        rows = [(f"{g.column} {g.name}", value, g.small) for g, value in zip(first, values, strict=True)]
        label = f"Forest plot of {title} by group: {_spread(rows)}"
        figures.append(Figure(forest_figure(rows, overall, title), label))
    caption = (
        "Groups with 95% intervals. Hollow points are groups too small for a conclusion; the dashed line is all images."
    )
    blocks: list[Block] = [Panels(caption, tuple(figures)), _groups("Groups of images.", first)]
    others = [group for group in groups if group not in first]
    if others:
        blocks.append(_groups("Groups of images, label by label.", others, folded=True))
    return section("subgroups", "Subgroups", blocks)


def groups_table(material: Material) -> Table | None:
    """The groups, with means over the labels where there are several."""
    first = sentences.overall(material.results.groups)
    return _groups("Groups of images.", first) if first else None


def _spread(rows: Sequence[tuple[str, Interval, bool]]) -> str:
    known = [(name, value) for name, value, _ in rows if not math.isnan(value.value)]
    if not known:
        return "undefined in every group."
    low, high = min(known, key=lambda row: row[1].value), max(known, key=lambda row: row[1].value)
    return f"lowest {short(low[1].value)} ({low[0]}), highest {short(high[1].value)} ({high[0]})."


def _groups(caption: str, groups: Sequence[Group], folded: bool = False) -> Table:
    single = len({group.label for group in groups}) == 1
    rows = tuple(
        (
            f"{group.column} {group.name}" + (" (small)" if group.small else ""),
            *(() if single else (group.label,)),
            f"{group.images:,}",
            f"{group.patients:,}",
            f"{group.positives:,}",
            *(shown(v) for v in (group.auroc, group.auroc_gap, group.false_negative_rate, group.fnr_gap)),
        )
        for group in groups
    )
    names: tuple[str, ...] = ("group", *(() if single else ("label",)), "images", "patients", "positive")
    names += ("AUROC", "AUROC minus all others’", "false-negative rate", "the same minus all others’")
    marked = frozenset(i for i, group in enumerate(groups) if group.small)
    return Table(f"{caption} A difference is to all other images.", names, rows, folded=folded, marked=marked)


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
    rows = []
    for label, agreement in found.agreement.items():
        own, other = (each.per_label[label]["auroc"] for each in (found.own, found.other))
        counts = (f"{agreement[n]:,.0f}" for n in ("images", "own_positive", "other_positive", "both"))
        rows.append((label, *counts, short(agreement["kappa"]), short(agreement["agree"]), shown(own), shown(other)))
    names = (
        *("label", "images", "positive in the dataset", "positive in the second", "positive in both"),
        *("Cohen’s kappa", "agreement", "AUROC against the dataset", "AUROC against the second"),
    )
    caption = (
        f"{count_of(found.images, 'image')} of {count_of(found.patients, 'patient')} that both references have; "
        f"the second is {found.source}."
    )
    return section("reference", "Other reference labels", Table(caption, names, tuple(rows)))
