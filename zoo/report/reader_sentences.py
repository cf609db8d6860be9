"""Results of several readers in sentences: what differs, for whom it holds, and what limits it."""

from __future__ import annotations

import math
from collections.abc import Iterator

from zoo.core.text import count_of, listed
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.p_values import ALPHA, holm
from zoo.evaluation.readers import LabelResult, ModalityResult, ReaderResults
from zoo.evaluation.readings import ONE, UNNAMED
from zoo.report.sentences import of_patients, p_text, shown

FIGURES = {"auroc": "AUROC", "afroc": "AFROC"}


def heading(results: ReaderResults) -> str:
    """What was read, by how many, and against which labels."""
    if results.froc:
        first = results.froc[0]
        lesions = sum({each.label: each.lesions for each in results.froc}.values())
        seen = f"{count_of(first.images, 'image')}, {count_of(lesions, 'lesion')}, {count_of(len(results.readers), 'reader')}"
        return f"{results.source}: {seen}; boxes: {results.reference}"
    images = max(each.images for each in results.labels)
    patients = max(each.patients for each in results.labels)
    parts = [
        f"{results.source}: {of_patients(count_of(images, 'image'), patients, patients_known(results))}",
        count_of(len(results.readers), "reader"),
    ]
    if len(results.modalities) > 1:
        parts.append(f"{len(results.modalities)} modalities")
    if len(results.labels) > 1 or results.labels[0].label != UNNAMED:
        parts.append(results.labels[0].label if len(results.labels) == 1 else f"{len(results.labels)} labels")
    return f"{', '.join(parts)}; reference labels: {results.reference or 'none'}"


def patients_known(results: ReaderResults) -> bool:
    """Whether any image's patient is known."""
    images = results.froc[0].images if results.froc else max(each.images for each in results.labels)
    return results.unknown_patients < images


def in_modality(each: ModalityResult) -> str:
    return "" if each.modality == ONE else f" in {each.modality}"


def sentences(results: ReaderResults) -> list[str]:
    """What the tables mean, and what limits them."""
    parts = (_modality_sentences, _model_sentences, _order_sentences, _agreement_sentences, _caveats)
    return [" ".join(lines) for part in parts if (lines := list(part(results)))]


def _caveats(results: ReaderResults) -> Iterator[str]:
    if results.froc:
        yield "AFROC is the chance that a lesion is marked higher than anything on an image without lesions."
    elif results.reference is None:
        yield "There are no reference labels: only agreement can be measured. Give them with --labels FILE."
    elif any(each.yes_or_no for each in results.labels):
        yield "Readings of yes or no have one operating point: their AUROC is the mean of sensitivity and specificity."
    if results.reference is not None and not all(each.crossed for each in results.labels):
        yield "Not every reader read every image; each is measured on the images that he read."
    if results.unknown_patients:
        narrow = "" if patients_known(results) else ", and intervals may be too narrow"
        yield f"The patient of {count_of(results.unknown_patients, 'image')} is not known: each counts as one{narrow}."


def _modality_sentences(results: ReaderResults) -> Iterator[str]:
    if len(results.modalities) < 2 or results.reference is None:
        return
    known = [each for each in results.labels if each.mrmc is not None and not math.isnan(each.mrmc.p)]
    for each in known if len(known) == 1 else ():
        yield _modalities_of_one(each, FIGURES[results.figure])
    if len(known) > 1:
        different = [f"{each.label} (p {p_text(each.p_holm)})" for each in known if each.p_holm < ALPHA]
        which = f"on {listed(different)}" if different else "on no label"
        yield f"The modalities differ significantly {which} (p by the method of Holm for {len(known)} labels)."
    if not known:
        yield "The modalities cannot be compared for readers like these: that takes two readers who used all of them."
        alone = [each.mrmc for each in results.labels if each.mrmc is not None and len(each.mrmc.readers) == 1]
        if len(alone) == 1 == len(alone[0].pairs):
            fixed = alone[0].pairs[0].fixed
            yield f"For {alone[0].readers[0]} alone the difference is {shown(fixed.value)}, p {p_text(fixed.p)}."


def _modalities_of_one(label: LabelResult, figure: str) -> str:
    found = label.mrmc
    if found is None or len(found.pairs) > 1:
        p = math.nan if found is None else found.p
        differ = "differ" if p < ALPHA else "do not differ significantly"
        return f"The {0 if found is None else len(found.modalities)} modalities {differ} (p {p_text(p)})."
    pair = found.pairs[0]
    first, second, value = pair.first, pair.second, pair.random.value
    if not found.p < ALPHA:
        return (
            f"{first} and {second} do not differ significantly: mean {figure} difference {value}, p {p_text(found.p)}, for readers "
            "and images like these."
        )
    if value.value < 0:
        first, second, value = second, first, Interval(-value.value, -value.high, -value.low)
    better = f"{first} is better than {second}: mean {figure} difference {value}, p {p_text(found.p)}"
    return f"{better}, for readers and images like these."


def _model_sentences(results: ReaderResults) -> Iterator[str]:
    if results.model is None or results.reference is None:
        return
    compared = [(label, each, each.model) for label in results.labels for each in label.modalities]
    if len(compared) > 1:
        adjusted = holm([math.nan if found is None else found.p for *_, found in compared])
        significant: dict[int, list[str]] = {1: [], -1: []}
        for (label, each, found), p in zip(compared, adjusted, strict=True):
            if found is not None and p < ALPHA:
                significant[1 if found.value.value > 0 else -1].append(f"{label.label}{in_modality(each)}")
        better, worse = (listed(names) if names else "nothing" for names in significant.values())
        how = f"(p by the method of Holm for {len(compared)} comparisons)"
        yield f"{results.model} is better than the mean reader on {better}, worse on {worse} {how}."
        return
    label, each, found = compared[0]
    if found is None or math.isnan(found.p):
        yield f"{results.model} cannot be compared with the mean reader: too few readers or images."
        return
    sign = (
        "does not differ significantly from"
        if not found.p < ALPHA
        else "is better than"
        if found.value.value > 0
        else ""
    )
    figure = "mean of sensitivity and specificity" if label.yes_or_no else "AUROC"
    yield (
        f"{results.model} {sign or 'is worse than'} the mean reader: {figure} difference {shown(found.value)}, p "
        f"{p_text(found.p)}, for readers and images like these."
    )


def _order_sentences(results: ReaderResults) -> Iterator[str]:
    if len(results.labels) > 1 or len(results.modalities) > 1 or results.reference is None:
        return
    (found,) = results.labels[0].modalities
    known = sorted((r for r in found.readers if not math.isnan(r.auroc.value)), key=lambda r: -r.auroc.value)
    if len(known) < 2:
        return
    order = [r.reader for r in known]
    worse: dict[str, list[str]] = {name: [] for name in order}
    for pair in found.pairs:
        if pair.p_holm < ALPHA:
            better, other = (pair.first, pair.second) if pair.minus.value.value > 0 else (pair.second, pair.first)
            worse[better].append(other)
    clear = [f"{name} than {listed(sorted(those, key=order.index))}" for name, those in worse.items() if those]
    differ = f"significantly better is {'; '.join(clear)}" if clear else "no two differ significantly"
    listing = ", ".join(f"{r.reader} {short(r.auroc.value)}" for r in known)
    yield f"Readers from the best down: {listing}; {differ} (p by the method of Holm)."


def _agreement_sentences(results: ReaderResults) -> Iterator[str]:
    found = [m for label in results.labels for m in label.modalities if m.agreement is not None]
    if not found:
        if len(results.readers) > 1 and results.cut is None and not results.froc:
            yield "Agreement needs yes or no: say with --positive-from from which score on a reading is positive."
        return
    if len(found) == 1 and found[0].agreement is not None:
        each = found[0].agreement
        yield f"The readers agree with a Fleiss' kappa of {shown(each.fleiss)} and an AC1 of {shown(each.ac1)}."
    gains = [m.panel.difference for m in found if m.panel is not None and m.panel.difference is not None]
    if len(gains) == 1 and not math.isnan(gains[0].low):
        zero = gains[0].low <= 0 <= gains[0].high
        more = "as well as" if zero else "better than" if gains[0].value > 0 else "less well than"
        yield (
            f"{results.model} agrees with the majority of the other readers {more} the reader left out: kappa difference "
            f"{gains[0]}."
        )
