"""The facts of single parts of the results in sentences: operating points, groups, other reference labels, calibration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.core.text import count_of, listed
from zoo.evaluation.calibration import TEMPERATURES, Calibration
from zoo.evaluation.interval import short
from zoo.evaluation.reference import FAIR, ReferenceComparison
from zoo.evaluation.reliability import NOTICEABLE, CalibrationResult, Reliability
from zoo.evaluation.subgroups import FEW_IMAGES, FEW_PATIENTS, MACRO, UNKNOWN, Gap, Gaps, Group
from zoo.report.sentences import METRICS, headline_name, of_patients, shown

if TYPE_CHECKING:
    from zoo.evaluation import Note, OperatingPoint
    from zoo.runs.results import Results

SHOWN = 5  # clear gaps that are spelled out


def details(results: Results) -> list[str]:
    """All but calibration."""
    reference = results.reference
    return [
        *operating(results.operating),
        *groups(results.groups, results.gaps, results.evaluation.patients_known),
        *(references(reference) if reference is not None else ()),
    ]


def operating(points: Sequence[OperatingPoint]) -> list[str]:
    """The labels that miss their target on test, and those that have no image to show it."""
    said, unknown = [], []
    for point in [each for each in points if each.target is not None]:
        achieved = point.test[point.rule]
        if math.isnan(achieved.value):
            unknown.append(point)
        elif point.shortfall is not None and point.target is not None:
            chance = ", which may be chance: the interval includes the target" if point.shortfall.low <= 0 else ""
            said.append(
                f"{point.label}: {point.rule} {shown(achieved)} on test misses the target {short(point.target)} by "
                f"{short(point.shortfall.value)}{chance}."
            )
    if unknown:
        rule, names = unknown[0].rule, ", ".join(point.label for point in unknown)
        kind = "positive" if rule == "sensitivity" else "negative"
        said.append(f"Without {kind} test images it is unknown whether the target {rule} is met: {names}.")
    return said


def groups(rows: Sequence[Group], gaps: Gaps, patients_known: bool = True) -> list[str]:
    """Columns with one group only, clear gaps, and small groups."""
    said = []
    people = f"or {FEW_PATIENTS} {'patients' if patients_known else 'images'}"
    for column in dict.fromkeys(row.column for row in rows):
        names = {row.name for row in rows if row.column == column}
        if names == {UNKNOWN}:
            said.append(f"The {column} of every image is unknown: there are no groups to compare.")
        elif len(names) == 1:
            said.append(f"All images are of one group by {column} ({names.pop()}): there is no gap to measure.")
    if gaps.clear:
        several = len({row.label for row in rows}) > 1
        spelled = "; ".join(_gap(gap, several) for gap in gaps.clear[:SHOWN])
        more = f"; and {len(gaps.clear) - SHOWN} more" if len(gaps.clear) > SHOWN else ""
        said.append(f"Clear gaps to all other images: {spelled}{more}.")
        said.append(
            f"They are significant after Holm's correction for the {gaps.examined} gaps examined; each interval stands on its own. "
            "A gap is a question to follow up, not a finding."
        )
    means = [row for row in rows if row.label == MACRO]
    if small := [f"{row.column} {row.name}" for row in means or rows if row.small]:
        said.append(f"Too few images for a conclusion (fewer than {FEW_IMAGES} of a class, {people}): {listed(small)}.")
    few = sum(row.small for row in rows if row.label != MACRO)
    if means and few:
        said.append(
            f"Label by label, {few} of {len(rows) - len(means)} groups have fewer than {FEW_IMAGES} images of a class "
            f"{people}: read those with care."
        )
    return said


def _gap(gap: Gap, several: bool) -> str:
    name = f" for {gap.label}" if several and gap.label != MACRO else ""
    mean = "macro " if gap.label == MACRO else ""
    sign = "+" if gap.difference.value > 0 else ""
    return f"{gap.column} {gap.name}, {mean}{METRICS[gap.metric]}{name} {sign}{gap.difference}"


def references(found: ReferenceComparison) -> list[str]:
    """How the two references differ, in the classifier's score and in their labels."""
    own, kappas = found.own, found.kappas
    several = own.task.outputs > 1
    over = f", over {listed(found.labels, 14)}," if several and len(found.labels) < own.task.outputs else ""
    said = [
        f"On the {of_patients(count_of(found.images, f'{own.split} image'), found.patients, own.patients_known)} labelled in "
        f"{found.source}, {headline_name(own.task)}{over} is {shown(found.other_mean)} against its labels and "
        f"{shown(found.own_mean)} against the run's own."
    ]
    agreement = {label: each for label, each in found.agreement.items() if each["images"]}
    if len(agreement) == 1:
        label, each = next(iter(agreement.items()))
        said.append(
            f"Both references agree on {label} on {each['agree']:.0%} of {each['images']:.0f} images (kappa "
            f"{short(each['kappa'])}): {each['own_positive']:.0f} images are positive by the run's labels, "
            f"{each['other_positive']:.0f} by {found.source}, {each['both']:.0f} by both."
        )
    elif kappas:
        best, worst = max(kappas, key=kappas.__getitem__), min(kappas, key=kappas.__getitem__)
        said.append(
            f"The references agree with a mean kappa of {short(float(np.mean(list(kappas.values()))))} over "
            f"{len(kappas)} labels, from {short(kappas[worst])} ({worst}) to {short(kappas[best])} ({best})."
        )
    if poor := [label for label, kappa in kappas.items() if kappa <= FAIR]:
        said.append(
            f"Agreement is at most fair (kappa up to {short(FAIR)}, Landis & Koch 1977) for {', '.join(poor)}: a score "
            "against one reference says little about the other there."
        )
    if found.absent:
        said.append(f"{found.source} has no column for {', '.join(found.absent)}.")
    if found.left_out:
        said.append(f"{found.left_out} images are left out: {found.source} does not name exactly one class for them.")
    if found.without:
        said.append(f"{found.without} of the run's {own.split} images are not in {found.source}.")
    return said


def binning(found: CalibrationResult) -> str:
    """What a bin of the reliability diagram is."""
    return (
        f"Up to {found.most_bins} bins of about equally many images along the probability, placed anew before and after "
        "calibration; images of equal probability stay together. A bin's interval is Wilson's, which counts images, not "
        "patients."
    )


def calibration(found: CalibrationResult) -> list[str]:
    """What was left uncalibrated and why, the temperatures, and what calibration changed on the images measured."""
    said = [*_uncalibrated(found.calibration), *_temperatures(found.calibration)]
    if not found.brier_change:
        return said
    known = [label for label, each in found.before.items() if each.bins]
    if not known:
        return [*said, "The label is unknown on every test image, so calibration is not measured."]
    stages = (found.before, found.after)
    ece = [short(float(np.mean([stage[label].ece.value for label in known]))) for stage in stages]
    brier = [short(float(np.mean([stage[label].brier.value.value for label in known]))) for stage in stages]
    mean = "mean " if len(found.before) > 1 else ""
    said.append(
        f"On the test images the {mean}ECE is {ece[0]} before and {ece[1]} after calibration, the {mean}Brier score "
        f"{brier[0]} before and {brier[1]} after."
    )
    if worse := ", ".join(f"{label} by {shown(found.brier_change[label])}" for label in found.worsened):
        said.append(f"Calibration made the Brier score worse on the test images: {worse}.")
    if off := ", ".join(_bias(label, found.after[label], found.mean_excess[label].value) for label in found.biased):
        said.append(
            f"After calibration the mean probability still differs from the share of positive test images: {off}."
        )
    if found.shared:
        said.append(
            f"{found.shared} of the {found.images} images measured are among those the calibration was fitted on: the gain there "
            "is too good."
        )
    return said


def _bias(label: str, after: Reliability, excess: float) -> str:
    observed = sum(each.observed * each.images for each in after.bins) / sum(each.images for each in after.bins)
    return f"{label} {short(observed + excess)} for {short(observed)}"


def _uncalibrated(found: Calibration) -> list[str]:
    said = []
    reasons = {label: _reason(note) for label, note in found.uncalibrated.items()}
    if reasons and found.task.exclusive:
        said.append(f"The outputs are left uncalibrated: {next(iter(reasons.values()))}.")
    elif reasons:
        listed = "; ".join(f"{label} ({reason})" for label, reason in reasons.items())
        said.append(f"Left uncalibrated: {listed}.")
    if found.at_range_end:
        whose = "" if found.task.exclusive else f" of {', '.join(found.at_range_end)}"
        said.append(f"The temperature{whose} is at the end of its range of {_range()}: do not rely on it.")
    return said


def _reason(note: Note) -> str:
    first, second = note.counts or (0, 0)
    return {
        "few_images": f"{count_of(first, 'positive validation image')}, {second} negative",
        "few_outside_one_class": f"all but {first} of {second} validation images are of one class",
        "constant_output": "the outputs are all equal",
        "separated": "the outputs separate the validation images perfectly, so they determine no temperature",
        "no_temperature": f"no temperature from {_range()} fits, the outputs are shifted or inverted",
        "inverted": "the outputs rank the validation images in reverse",
        "not_increasing": "no increasing map fits the outputs, all would become one probability",
    }[note.kind]


def _range() -> str:
    return f"{TEMPERATURES[0]:g} to {TEMPERATURES[1]:g}"


def _temperatures(calibration: Calibration) -> list[str]:
    found = {label: v["temperature"] for label, v in calibration.parameters.items() if "temperature" in v}
    if not found:
        return []
    if calibration.task.outputs == 1 or calibration.task.exclusive:
        t = next(iter(found.values()))
        return [f"Temperature {_two(t)}: on the validation images the outputs were {_confidence(t)}."]
    said: dict[str, list[str]] = {"overconfident": [], "underconfident": [], "neither over- nor underconfident": []}
    for label, t in found.items():
        said[_confidence(t)].append(f"{label} {_two(t)}")
    parts = "; ".join(f"{word} for {', '.join(labels)}" for word, labels in said.items() if labels)
    return [f"Temperatures: on the validation images the outputs were {parts}."]


def _confidence(temperature: float) -> str:
    if temperature > 1 + NOTICEABLE:
        return "overconfident"
    return "underconfident" if temperature < 1 - NOTICEABLE else "neither over- nor underconfident"


def _two(temperature: float) -> str:
    return f"{temperature:.2f}".removeprefix("0")
