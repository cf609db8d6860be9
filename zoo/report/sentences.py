"""The facts of a run's results in sentences: conclusion, drop from validation, leaks, notes, baselines, limitations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.core.text import count_of, listed
from zoo.evaluation import Drop, Note, conclude
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.notes import CHANGED, DOUBTS, FEW

if TYPE_CHECKING:
    from zoo.core.tasks import Task
    from zoo.evaluation import Evaluation, ThresholdRule
    from zoo.evaluation.baselines import Baseline
    from zoo.evaluation.subgroups import Group
    from zoo.runs.leaks import Leak
    from zoo.runs.results import Results
    from zoo.runs.statements import Statement

SPLITS = {"train": "training", "val": "validation", "test": "test"}
METRICS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "npv": "NPV",
    "f1": "F1",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "Matthews’ correlation",
    "prevalence": "prevalence",
    "false_negative_rate": "false-negative rate",
}


def shown(interval: Interval | None) -> str:
    """An interval as tables show it: a value without bounds stands alone, what is undefined is a dash."""
    if interval is None:
        return "–"
    return short(interval.value) if math.isnan(interval.low) else str(interval)


def p_text(p: float) -> str:
    """A p value as tables show it: ".012", "<.001", "–"."""
    return "<.001" if p < 0.0005 else short(p)


def share(part: float, whole: float) -> str:
    """A part of a whole as a count and a percentage: `42 (5.3%)`."""
    return f"{part:,.0f} ({100 * part / whole:.1f}%)" if whole else f"{part:,.0f}"


def split_name(split: str) -> str:
    return SPLITS.get(split, split)


def headline_name(task: Task) -> str:
    """The name of the headline metric."""
    return "AUROC" if task.kind == "binary" else "macro AUROC"


def size(evaluation: Evaluation) -> str:
    """How many images and patients were measured."""
    patients = count_of(evaluation.patients, "patient") if evaluation.patients_known else "patients unknown"
    return f"{count_of(evaluation.images, 'image')}, {patients}"


def unit(patients_known: bool) -> str:
    """What intervals are over."""
    return "patients" if patients_known else "images"


def of_patients(images: str, patients: int, known: bool) -> str:
    """Images with how many patients they are of: "9 test images of 4 patients", "9 test images (patients unknown)"."""
    return f"{images} of {count_of(patients, 'patient')}" if known else f"{images} (patients unknown)"


def feature_names(names: Sequence[str]) -> list[str]:
    """Columns of metadata as words."""
    return [name.replace("_", "-") for name in names]


def conclusion(evaluation: Evaluation) -> str:
    """Whether the outputs carry information, with the headline AUROC."""
    found, value = conclude(evaluation), evaluation.headline
    name = f"{_capital(headline_name(evaluation.task))} on the {split_name(evaluation.split)} images"
    few = _rarer(evaluation.task, found.rarer) if found.rarer is not None else ""
    if found.kind == "undefined":
        return f"{name} is undefined: {_why_undefined(evaluation)}."
    said = {
        "constant": "the network gives every image the same output, so it carries no information",
        "few_patients": f"too few {unit(evaluation.patients_known)} ({evaluation.patients}) for a conclusion",
        "near_perfect": "near-perfect, so check for leakage between training and these images"
        + (f"; with {few} it may also be chance" if few else ""),
        "no_interval": "without an interval it is unknown whether that is better than chance",
        "worse_than_chance": "worse than chance, labels or outputs may be swapped",
        "chance": "no better than chance, the interval includes .5",
        "better_than_chance": "better than chance",
    }[found.kind]
    if few and found.kind in ("worse_than_chance", "chance", "better_than_chance"):
        said += f"; there are {few}"
    if evaluation.constant and found.kind != "constant":
        said += f"; the output is the same on every image for {listed(evaluation.constant)}"
    return f"{name} is {shown(value)}: {said}."


def _rarer(task: Task, images: int) -> str:
    counted = f"{count_of(images, 'image')} of the rarer class"
    return f"only {counted}" if task.kind == "binary" else f"at most {counted} per label"


def _why_undefined(evaluation: Evaluation) -> str:
    if not any(evaluation.known.values()):
        return "the labels are unknown on every image"
    return "only one class is present" if evaluation.task.kind == "binary" else "no label has images of both classes"


def summary(results: Results) -> list[tuple[Statement, str]]:
    """Every statement about the results with its sentence, the worst first, those that read alike once."""
    said: dict[str, Statement] = {}
    for each in results.statements:
        said.setdefault(sentence(each, results), each)
    return [(each, text) for text, each in said.items()]


def alarms(results: Results) -> list[str]:
    """What makes every figure worthless: predictions that were changed, and leaks."""
    return [text for each, text in summary(results) if each.severity == "alarm"]


def sentence(each: Statement, results: Results) -> str:
    """A statement in words."""
    if each.kind == "leak":
        return leak(results.leaks[each.place])
    if each.kind == "headline":
        return conclusion(results.evaluation)
    if each.kind == "baseline":
        return baselines(results)[each.place]
    if each.kind == "data_note":
        return _of_other_data(results.notes[each.place], results.evaluation.task)
    if each.kind == "threshold_note":
        return _of_thresholds(results.threshold_notes[each.place], results.rule)
    if each.kind == "note":
        return _of_evaluation(results.evaluation.notes[each.place], results.evaluation)
    if each.kind == "most_probable_class":
        return "Sensitivity, specificity, precision and F1 are of the most probable class, not at a threshold."
    if results.drop is None:
        raise ValueError(f"a statement of the kind {each.kind} about results without a drop")
    return drop(results.drop, results) if each.kind == "drop" else left_out(results.drop, results)


def drop(found: Drop, results: Results) -> str:
    """How the result compares with validation: below it, or not clearly."""
    test = split_name(results.split)
    over = f" over {_counted(found, results)}" if found.left_out else ""
    after, before = shown(found.test), shown(found.validation)
    name = headline_name(results.evaluation.task)
    if found.clear:
        return (
            f"{_capital(test)} {name}{over} ({after}) is {found.difference} below validation ({before}): the validation "
            f"figure does not carry over to the {test} images."
        )
    start = f"On the validation images {name}{over} is {before}"
    if math.isnan(found.difference.low):
        return f"{start}; without an interval it is unknown whether {test} is lower."
    lower = f"the {test} result{f' ({after})' if found.left_out else ''} is not clearly lower"
    return f"{start}: {lower} (validation minus test: {found.difference})."


def _counted(found: Drop, results: Results) -> str:
    return f"the {len(found.labels)} of {results.evaluation.task.outputs} labels defined on both"


def left_out(found: Drop, results: Results) -> str:
    """Which labels a comparison of validation with test leaves out."""
    return (
        f"Validation and {split_name(results.split)} are compared over {_counted(found, results)}: without "
        f"{listed(found.left_out)}, defined on one of them only."
    )


def leak(found: Leak) -> str:
    """A leak, with the number of images and an example."""
    what = {
        "patient": "belong to patients",
        "pixels": "are, pixel for pixel, images",
        "name": "have the names of images",
        "near": "are near-duplicates of images",
    }[found.shared]
    return (
        f"Leak: {found.images:,} of the {found.of:,} {found.split} images {what} that the network was trained or chosen on "
        f"(for example {found.example}): the result is too good."
    )


def doubt(note: Note) -> str:
    """A note of `DOUBTS`, on the file that the predictions were read from."""
    what = f"the predictions on {split_name(note.labels[0])} images"
    if note.kind != CHANGED:
        return f"The run keeps no digest of {what} (an older zoo made it), so a change of the file would not be seen."
    whats = ("without a prediction", "not in images.csv", "under another patient there")
    parts = [f"{count_of(count, 'image')} {each}" for count, each in zip(note.counts, whats, strict=True) if count]
    return (
        f"Changed: {what} are not those that the run was finished with"
        f"{f' ({listed(parts)})' if parts else ''}; no figure here is a result of its network."
    )


def _of_other_data(note: Note, task: Task) -> str:
    if note.kind == "near_duplicates_unchecked":
        return (
            "The images that the network was trained on could not be read: near-duplicates of them may be among these."
        )
    (label,) = task.labels
    return f"The dataset has no label {label}: an image with any of {', '.join(note.labels)} counts as {label}."


def _of_thresholds(note: Note, rule: ThresholdRule) -> str:
    names, sensitive = ", ".join(note.labels), rule.rule == "sensitivity"
    target = f"the target {rule.rule} {rule.value:g}".replace(" 0.", " .")
    if note.kind == "undetermined_threshold":
        return f"The validation images do not determine a threshold for {names}: .5 is used."
    if note.kind == "target_by_one_decision":
        every = "every image" if sensitive else "no image"
        return f"On validation {target} is only reached by predicting {every} positive: {names}."
    if note.kind == "logit_threshold":
        return f"The threshold of {names} is a logit: the probabilities of the images that it parts round to 1."
    counted = ", ".join(f"{label} ({count})" for label, count in zip(note.labels, note.counts, strict=True))
    if note.kind == "threshold_on_few_images":
        return f"The threshold rests on fewer than {FEW} validation images of a class: {counted}."
    kind = "positive" if sensitive else "negative"
    return f"{_capital(target)} rests on fewer than {FEW} {kind} validation images: {counted}."


def _of_evaluation(note: Note, found: Evaluation) -> str:
    if note.kind in DOUBTS:
        return doubt(note)
    names, several = ", ".join(note.labels), found.task.kind != "binary"
    counts = {label: (found.positives[label], found.known[label] - found.positives[label]) for label in note.labels}
    if note.kind == "undefined_auroc":
        why = ", ".join(f"{label} ({_one_class(*pair)})" for label, pair in counts.items())
        left_out = ", which its means leave out" if several and len(counts) < found.task.outputs else ""
        return f"AUROC is undefined for these labels{left_out}: {why}." if several else f"AUROC is undefined: {why}."
    if note.kind == "few_images":
        each = ", ".join(f"{label} ({yes} positive, {no} negative)" for label, (yes, no) in counts.items())
        return f"Fewer than {FEW} images of a class, so read these with care: {each}."
    if note.kind == "no_predicted_positives":
        left_out = " and left out of its means" if several else ""
        return f"No image is predicted positive for {names}: precision is undefined there{left_out}."
    count = note.counts[0] if note.counts else 0
    return {
        "constant_output": f"The output is the same on every image for {names}: it carries no information there.",
        "worse_than_chance": f"Worse than chance, so labels or outputs may be swapped: {names}.",
        "contradictory_predictions": f"On {count_of(count, 'image')} {names} is predicted beside a finding, since the outputs do "
        "not know of each other.",
        "no_interval": f"Too few {unit(found.patients_known)} to say how uncertain the results for {names} are, so they have no "
        "interval.",
        "unknown_patients": (
            f"The patient of {count:,} of {count_of(found.images, 'image')} is unknown, so each counts as a patient of its own: "
            "where such images share a patient, the intervals are too narrow."
            if found.patients_known
            else "The patients are unknown: intervals treat the images as independent, and may be too narrow."
        ),
        "duplicate_images": f"{count:,} images have the same pixels as another one under another name{_moved(note)}; each is "
        "counted.",
        "one_patient": "All images are of one patient, so there are no intervals.",
        "few_patients": f"There are only {count} {unit(found.patients_known)}, so the intervals are not reliable.",
    }[note.kind]


def _moved(note: Note) -> str:
    moved = note.counts[1] if len(note.counts) > 1 else 0
    return f" ({moved:,} of them under different patients, so the intervals are too narrow)" if moved else ""


def _one_class(positives: int, negatives: int) -> str:
    if not positives + negatives:
        return "unknown on every image"
    images, which = positives + negatives, "positive" if positives else "negative"
    return f"the only image is {which}" if images == 1 else f"all {count_of(images, 'image')} are {which}"


def baseline(found: Baseline, task: Task) -> str:
    """What the metadata or the prevalence reach, and whether the network is better."""
    macro = "macro " if task.outputs > 1 else ""
    if found.features:
        names = feature_names(found.features)
        start = f"{_capital(listed(names))} alone reach{'' if len(names) > 1 else 'es'} {macro}AUROC {found.auroc}"
    else:
        start = (
            f"The training prevalence as the prediction for every image has AUROC {short(found.auroc.value)}, "
            f"{macro}AUPRC {short(found.auprc.value)} and {macro}Brier score {short(found.brier.value)}"
        )
    lead = found.difference
    if lead is None:
        return "AUROC is undefined on these images, so the network cannot be compared with a baseline."
    if math.isnan(lead.low):
        return f"{start}: the network differs by {short(lead.value)}, without an interval."
    if lead.low > 0:
        said = f"the network is better by {lead}"
    else:
        said = f"the network is {'worse' if lead.high < 0 else 'not clearly better'}, its difference is {lead}"
    return f"{start}: {said}{_brier(found)}."


def _brier(found: Baseline) -> str:
    """That the Brier score says otherwise, of the probabilities as trained or of the calibrated ones."""
    worse, after = found.brier_difference, found.calibrated_brier_difference
    if not found.worse_brier and not worse.low > 0:
        return ""
    but = ", but" if found.beaten else ", and"
    if not worse.low > 0:
        return f"{but} its Brier score is worse by {after} after calibration"
    if after is None:
        return f"{but} its Brier score is worse by {worse}"
    if found.worse_brier:
        return f"{but} its Brier score is worse by {worse}, after calibration by {after}"
    return f"{but} its Brier score is worse by {worse} as trained; after calibration it is not ({after})"


def baselines(results: Results) -> list[str]:
    """A sentence for each baseline; the first says so where there is no metadata."""
    said = [baseline(each, results.evaluation.task) for each in results.baselines]
    if said and not any(each.features for each in results.baselines):
        said[0] = (
            "Age, sex, view and follow-up are not known or do not vary, so there is no baseline of the metadata alone. "
            f"{said[0]}"
        )
    return said


def predicts(task: Task) -> str:
    """What the network predicts."""
    if task.kind == "binary":
        label = task.labels[0]
        return "whether an image is abnormal" if label.lower() == "abnormal" else f"whether an image shows {label}"
    if task.exclusive:
        return f"which one of {len(task.labels)} classes an image shows ({listed(task.labels)})"
    return f"which of {len(task.labels)} findings an image shows ({listed(task.labels)})"


def trained(info: Mapping[str, Any], data: Mapping[str, Any], task: Task) -> str:
    """One sentence: what was trained on what, for what."""
    text = f"{info.get('model', 'A network')} was trained to predict {predicts(task)}"
    counts, people = data.get("images", {}), data.get("patients", {})
    if "train" in counts:
        text += f", on {count_of(counts['train'], 'image')}"
        if people.get("train") is not None:
            text += f" of {count_of(people['train'], 'patient')}"
        text += f" of the dataset {data.get('dataset', 'unknown')}"
    return f"{text}."


def split_origin(data: Mapping[str, Any], leaky: bool = False) -> str:
    """Where the split comes from, and that it keeps patients together unless it is known to leak."""
    known = data.get("patients_known", True)
    apart = "" if leaky else " No patient is in two parts."
    if not known:
        apart = " The patients are unknown, so one may be in two parts, which would make the results too good."
    if data.get("split") == "published":
        return f"The split into training and test images is the one published with the dataset.{apart}"
    if data.get("split") == "drawn":
        return (
            f"The split was drawn at random by {'patient' if known else 'image'}, because the dataset publishes none.{apart} "
            "The figures cannot be compared with those on a published split."
        )
    return ""


def limitations(results: Results, data: Mapping[str, Any]) -> tuple[str, ...]:
    """The weaknesses that the run itself shows."""
    said = summary(results)
    found = [text for each, text in said if each.severity in ("alarm", "bad")]
    if data.get("split") in ("drawn", "published"):
        drawn = f", by a random draw of {unit(data.get('patients_known', True))}" if data["split"] == "drawn" else ""
        found.append(f"The test images come from the same collection as the training images{drawn}.")
    if results.reference is None:
        found.append("The labels are those of the dataset; they were not compared with other reference labels.")
    missed = [point.label for point in results.operating if point.shortfall is not None]
    if missed:
        found.append(f"The target of the threshold was missed on these images for {listed(missed)}.")
    small = [f"{group.column} {group.name}" for group in overall(results.groups) if group.small]
    if small:
        found.append(f"Groups too small for a conclusion: {listed(small)}.")
    return (*found, *(text for each, text in said if each.severity in ("caution", "note") and each.kind != "drop"))


def overall(groups: Sequence[Group]) -> list[Group]:
    """The rows of means over the labels where there are several labels, else all rows."""
    return [group for group in groups if group.label == "macro"] or list(groups)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
