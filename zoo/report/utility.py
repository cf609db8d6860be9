"""The sections of a report on what a network is good for: decision curves, likelihood ratios, fit of the probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.evaluation.interval import short
from zoo.evaluation.utility import DecisionCurve
from zoo.report.blocks import Block, Figure, Panels, Section, Table, Text, section
from zoo.report.material import Material
from zoo.report.sentences import shown, split_name, unit

if TYPE_CHECKING:
    from zoo.evaluation.sheet import Sheet

_STAGES = {"as_trained": "as trained", "calibrated": "calibrated"}
_LABELS_SHOWN = 20  # small multiples beyond which only the first are drawn


def utility(material: Material) -> Section | None:
    """Decision curves of every label, and what a positive or negative prediction says."""
    from zoo.report.figures import decision_figure

    sheet = material.results.sheet
    drawn = [curve for curve in sheet.decision if curve.points]
    if not drawn:
        return None
    figures = tuple(
        Figure(decision_figure(curve, curve.label), f"Decision curve of {curve.label}: {_range(curve)}.", _range(curve))
        for curve in drawn[:_LABELS_SHOWN]
    )
    stage = _STAGES[sheet.calibration[-1].stage]
    caption = (
        f"Decision curves: net benefit of acting on every image whose probability ({stage}) reaches the threshold, in true "
        "positives per image; a false positive costs threshold / (1 − threshold) of one (Vickers and Elkin 2006). The shaded "
        f"band is the 95% interval over resampled {unit(material.results.evaluation.patients_known)}. Below each, the "
        "thresholds at which the network is above both “treat all” and “treat none” beyond chance, all thresholds looked at "
        "together."
    )
    more = f"Shown are the first {_LABELS_SHOWN} of {len(drawn)} labels." if len(drawn) > _LABELS_SHOWN else ""
    blocks: list[Block] = [
        Text(sentence(sheet)),
        Panels(caption, figures),
        *([Text(more)] if more else []),
        ratios_table(sheet),
    ]
    return section("utility", "Clinical utility", blocks)


def fit(material: Material) -> Section | None:
    """Slope, intercept and distances of the probabilities from the labels on these images."""
    rows = tuple(
        (
            each.label,
            _STAGES[each.stage],
            *(shown(v) for v in (each.slope, each.intercept, each.observed_expected)),
            shown(each.ici),
            *(short(v.value) for v in (each.e50, each.e90)),
            shown(each.brier_skill),
        )
        for each in material.results.sheet.calibration
    )
    caption = (
        f"How the probabilities fit the {split_name(material.results.split)} images. Slope: 1 is right, below 1 they are too "
        "extreme. Intercept: 0 is right, below 0 they are too high. ICI, E50, E90: mean, median and 90% quantile of the "
        "distance to a smooth curve of the labels. Brier skill: the share of the prevalence’s Brier score that is saved."
    )
    names = ("label", "", "slope", "intercept", "observed / expected", "ICI", "E50", "E90", "Brier skill")
    return section("fit", "Fit of the probabilities", Table(caption, names, rows))


def uncertainty(material: Material) -> Section | None:
    """What could be left to a reader: conformal sets, and the errors left without the least certain images."""
    from zoo.report.figures import referral_figure

    sheet = material.results.sheet
    sets = [
        (each.label, *(shown(v) for v in (each.covered_positive, each.covered_negative, each.uncertain)))
        for each in sheet.conformal
    ]
    errors = [
        (each.label, *(shown(v) for v in (each.error, each.error_kept, each.error_referred)), short(each.aurc))
        for each in sheet.selective
    ]
    blocks: list[Block] = []
    if sets:
        held = 100 * (1 - sheet.conformal[0].alpha)
        new = " of new patients" if material.results.evaluation.patients_known else ""
        caption = (
            f"Conformal sets of yes and no, calibrated on validation to hold the label of {held:g}% of "
            f"positive and of negative images{new}: how many they hold here, and the share of images whose set is "
            "both or neither."
        )
        blocks.append(Table(caption, ("label", "positive held", "negative held", "both or neither"), tuple(sets)))
    caption = (
        f"Share of wrong predictions at the threshold, and when the least certain {100 * sheet.selective[0].referred:g}% of the "
        "images are referred. AURC: its mean over all shares that could be kept."
    )
    names = ("label", "all images", "those kept", "those referred", "AURC")
    blocks.append(Table(caption, names, tuple(errors)))
    drawn = [each for each in sheet.selective if each.curve][:_LABELS_SHOWN]
    figures = tuple(
        Figure(
            referral_figure({float(share): v for share, v in each.curve.items()}, each.label),
            f"Errors by share of images kept: {each.label}.",
        )
        for each in drawn
    )
    caption = (
        "Wrong predictions among the images that are kept when the others, the least certain, are referred; dashed: of all "
        "images. A curve that does not fall to the left says that the certainty is worth nothing."
    )
    return section("uncertainty", "Sets and referral", blocks, Panels(caption, figures) if figures else None)


def ratios_table(sheet: Sheet) -> Table:
    """Likelihood ratios, number needed to evaluate, and partial AUROC of every label."""
    rows = tuple(
        (
            each.label,
            *(shown(v) for v in (each.lr_positive, each.lr_negative, each.number_needed)),
            shown(sheet.partial_auroc[each.label]),
        )
        for each in sheet.ratios
    )
    caption = (
        "What a prediction says at the label’s threshold: a positive one multiplies the odds by LR+, a negative one by LR−; "
        "1 says nothing. Number needed to evaluate: images predicted positive that are looked at to find one with the label, "
        "at the prevalence of these images. Partial AUROC: up to a false-positive rate of "
        f"{short(sheet.max_fpr)}, standardised (.5 is chance)."
    )
    return Table(caption, ("label", "LR+", "LR−", "number needed to evaluate", "partial AUROC"), rows)


def sentence(sheet: Sheet) -> str:
    """For which labels acting on the network is better than acting on all images or on none."""
    found = {each.label: each.useful for each in sheet.decision if each.useful is not None}
    better = "acting on the network has a higher net benefit than acting on all images or on none"
    if len(sheet.decision) == 1:
        where = (
            f"at thresholds of {_percent(*next(iter(found.values())))}" if found else "beyond chance at no threshold"
        )
        return f"Decision curve: {better} {where}."
    if not found:
        return f"Decision curves: for no label {better} beyond chance at any threshold."
    widest = max(found, key=lambda label: found[label][1] / found[label][0])
    return (
        f"Decision curves: {better} for {len(found)} of {len(sheet.decision)} labels, such as {widest} at thresholds of "
        f"{_percent(*found[widest])}."
    )


def _range(curve: DecisionCurve) -> str:
    return f"useful at {_percent(*curve.useful)}" if curve.useful else "nowhere clearly useful"


def _percent(low: float, high: float) -> str:
    return f"{100 * low:g}%" if low == high else f"{100 * low:g}% to {100 * high:g}%"
