"""The checklists of reporting standards, filled in from a run as far as it knows the value."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo.core.files import write_text
from zoo.core.text import count_of, listed
from zoo.evaluation.interval import Interval, short
from zoo.evaluation.serialise import to_csv, to_plain
from zoo.report import fairness, flow, run_sentences, sections, sentences
from zoo.report.blocks import Checklist, Section, Table, Text
from zoo.report.checklists import STANDARDS, Standard
from zoo.report.material import Material
from zoo.report.sentences import SPLITS, split_name

OPEN = "to be written by the authors"
KEY, TITLE = "checklists", "Checklists: TRIPOD+AI, CLAIM, STARD-AI"


@dataclass(frozen=True)
class FilledItem:
    """An item of a standard with its value; `value` is None where the authors have to write it. `section` is the part of
    the report with more."""

    standard: str
    number: str
    name: str
    value: str | None
    section: str | None


def filled(material: Material) -> tuple[FilledItem, ...]:
    """Every item of every standard, in order."""
    known = run_values(material)
    return tuple(
        FilledItem(standard.key, item.number, item.name, *known.get(item.key, (None, None)))
        for standard in STANDARDS
        for item in standard.items
    )


def checklists(material: Material, headings: Mapping[str, str]) -> Section:
    """The section of a report. `headings` are the keys and headings of the other sections, to which values link."""
    found = filled(material)
    done = sum(each.value is not None for each in found)
    text = (
        f"{done} of {len(found)} items are filled in from the run; the authors have to check these and to write the others. The "
        "numbers are the standards', the names ours: what an item asks for stands in the standard. checklists.csv and "
        "checklists.json hold the same."
    )
    return Section(KEY, TITLE, (Text(text), *(_block(standard, found, headings) for standard in STANDARDS)))


def _block(standard: Standard, found: Iterable[FilledItem], headings: Mapping[str, str]) -> Checklist:
    own = [each for each in found if each.standard == standard.key]
    done = sum(each.value is not None for each in own)
    rows = []
    for each in own:
        section = each.section if each.section in headings else ""
        heading = headings.get(each.section or "", "")
        rows.append((each.number, each.name, each.value or OPEN, section or "", heading, each.value is None))
    return Checklist(f"{standard.title}, {standard.source}: {done} of {len(own)} filled in", tuple(rows))


def write(material: Material, target: Path) -> None:
    """Write `checklists.json` and `checklists.csv` into a folder."""
    found = filled(material)
    results = material.results
    titles = {each.key: {"title": each.title, "source": each.source} for each in STANDARDS}
    plain = {"run": results.run, "split": results.split, "standards": titles, "open": OPEN, "items": to_plain(found)}
    write_text(target / "checklists.json", json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    write_text(target / "checklists.csv", to_csv({**vars(each), "value": each.value or OPEN} for each in found))


def run_values(material: Material) -> dict[str, tuple[str, str | None]]:
    """What the run knows, by the keys of the items: a text, and the section of the report with more."""
    found: dict[str, tuple[str | None, str | None]] = {**_data(material), **_model(material), **_measured(material)}
    return {key: (text, section) for key, (text, section) in found.items() if text}


def _data(material: Material) -> dict[str, tuple[str | None, str | None]]:
    results, data, settings = material.results, material.data, material.settings
    steps = results.flow
    summary = run_sentences.catalogue(material)["dataset_summary"]
    dataset = f"The dataset {data.get('dataset')}{f': {summary}' if summary else ''}".rstrip(".") + "."
    size = material.info.get("image_size")
    notes = " ".join(str(note) for note in data.get("notes", ()))
    chosen = settings.get("findings")
    return {
        "data": (dataset if data.get("dataset") else None, "data"),
        "eligibility": (
            f"Of {flow.number(steps.listed, 'image')} listed: {flow.left_out(steps)}." if steps else None,
            "flow",
        ),
        "subsets": (
            (f"Labels chosen: {', '.join(chosen)}. " if chosen else "All labels of the task were used. ")
            + (f"Left out: {flow.left_out(steps)}." if steps else ""),
            "flow",
        ),
        "preparation": (f"Images are resized to {size}×{size} gray pixels. {notes}".strip() if size else None, "data"),
        "inputs": ("The network is given the pixels of one image, and nothing else of the patient.", "repeat"),
        "missing": (_missing(material) if steps else None, "flow"),
        "split": (
            " ".join(
                filter(
                    None,
                    [
                        sentences.split_origin(data, bool(results.leaks)),
                        f"Parts: {flow.parts(steps)}." if steps else None,
                    ],
                )
            ),
            "data",
        ),
        "disjoint": (_disjoint(material), "data"),
        "flow": (flow.sentence(steps) if steps else None, "flow"),
        "people": (_people(material), "data"),
        "numbers": (_numbers(material) if steps else None, "flow"),
        "differences": (_differences(material), "data"),
        "indeterminate": (
            f"Every image that can be read gets a prediction. {flow.left_out(steps)[0].upper()}{flow.left_out(steps)[1:]}."
            if steps
            else None,
            "flow",
        ),
    }


def _model(material: Material) -> dict[str, tuple[str | None, str | None]]:
    info, settings, results = material.info, material.settings, material.results
    versions = ", ".join(f"{name} {value}" for name, value in info.get("versions", {}).items())
    members = run_sentences.members(settings)
    model = f"{run_sentences.catalogue(material)['model_sentence']} {run_sentences.outputs(material)}."
    best = info.get("best_epoch")
    loss = (settings.get("loss") or {}).get("name")
    thresholds = run_sentences.threshold_sentence(material)
    calibrated = results.calibration
    return {
        "model": (model, "repeat"),
        "specification": (f"{model} model.keras is the network, config.yaml repeats its training.", "repeat"),
        "software": (versions, "repeat"),
        "weights": (run_sentences.initial_weights(settings), "repeat"),
        "training": (run_sentences.training_sentence(material), "training"),
        "selection": (
            best and f"The weights kept are those of epoch {best}, the best by {info.get('monitor')}.",
            "training",
        ),
        "ensemble": (f"The networks of {', '.join(members)}." if members else "One network; no ensemble.", "repeat"),
        "inference": ("The logits of the network for each image are kept in predictions/*.csv.", "repeat"),
        "audit": ("predictions/*.csv holds every output; run.json keeps its digest.", "repeat"),
        "imbalance": (
            loss and f"Loss {loss}; balance of the training images: {settings.get('balance', 'none')}.",
            "training",
        ),
        "output": (f"{run_sentences.outputs(material)}, as probabilities. {thresholds}", "operating"),
        "thresholds": (thresholds, "operating"),
        "updating": (
            f"Probabilities are calibrated on validation images ({calibrated.method})." if calibrated else None,
            "calibration",
        ),
        "poor_input": (
            "zoo predict says which images cannot be read, and its out-of-distribution detector flags those unlike the "
            "validation images."
            if (material.run.path / "ood.npz").exists()
            else None,
            None,
        ),
    }


def _measured(material: Material) -> dict[str, tuple[str | None, str | None]]:
    results, found = material.results, material.results.evaluation
    headline = f"{sentences.headline_name(found.task)} {_shown(found.headline)}"
    level = f"{100 * found.level:.0f}%"
    examined = list(dict.fromkeys(each.column for each in results.groups))
    outside = sorted(path.parent.name for path in material.run.path.glob("evaluations/*/results-test.json"))
    unfair = results.sheet.fairness
    return {
        "metrics": (
            "AUROC, AUPRC, sensitivity, specificity, precision and F1; ROC and precision-recall curves; calibration (slope, "
            "intercept, ICI, Brier score) and net benefit.",
            "results",
        ),
        "uncertainty": (
            f"{level} intervals over {sentences.unit(found.patients_known)}: Wilson's for shares, t intervals on the logit "
            "scale for AUROC, AUPRC and means. Gaps between groups are corrected by the method of Holm.",
            "results",
        ),
        "groups": (f"By {listed(examined)}." if examined else None, "subgroups"),
        "fairness": (fairness.sentence(unfair) if unfair else None, "fairness"),
        "explanations": (
            f"Heat maps ({material.explanations.get('method')})." if material.explanations else None,
            "explanations",
        ),
        "internal": (f"{headline} on the {split_name(results.split)} images of the same dataset.", "results"),
        "external": (f"Also evaluated on {listed(outside)} (evaluations/ of the run)." if outside else None, None),
        "performance": (f"{headline}, {sentences.size(found)}.{_fit(material)}", "results"),
        "accuracy": (_accuracy(material), "results"),
        "crosstab": (_crosstab(material), "confusion"),
        "failures": ("The mistakes farthest beyond the threshold are shown label by label.", "mistakes"),
    }


def _shown(value: Interval) -> str:
    return "undefined" if math.isnan(value.value) else str(value)


def _missing(material: Material) -> str:
    steps, policy = material.results.flow, material.settings.get("uncertain", "ignore")
    rows = [each for each in steps.missing if each.kind == "label"] if steps else []
    unknown = ", ".join(
        f"{SPLITS[split]} {sum(r.unknown for r in rows if r.split == split):,} of "
        f"{sum(r.images for r in rows if r.split == split):,}"
        for split in dict.fromkeys(r.split for r in rows)
    )
    text = "Unknown labels are left out of training and of every measure, label by label"
    if policy != "ignore":
        text = f"Unknown labels count as {policy} in training, and are left out of every measure"
    return f"{text}. Unknown: {unknown}." if unknown else f"{text}."


def _disjoint(material: Material) -> str | None:
    if material.results.leaks:
        return " ".join(sentences.alarms(material.results))
    if material.images is None:
        return None
    split, known = split_name(material.results.split), material.results.evaluation.patients_known
    checked = ["patient"] if known else []
    checked += ["file name", *(["identical pixels"] if "digest" in material.images else [])]
    said = f"no {', '.join(checked[:-1])}{' or ' if len(checked) > 1 else ''}{checked[-1]}"
    level, but = ("Patient", "") if known else ("Image", " Whether a patient is cannot be told: patients are unknown.")
    return f"{level}: {said} of the {split} images are also in an earlier part.{but}"


def _people(material: Material) -> str | None:
    """Age, sex and view of the images that were analysed, as the report's table has them."""
    section = sections.data(material)
    tables = [block for block in section.blocks if isinstance(block, Table)] if section else []
    table = next((each for each in tables if each.columns[0] == ""), None)
    place = SPLITS[material.results.split]
    if table is None or place not in table.columns:
        return None
    column = table.columns.index(place)
    return f"{place}: " + "; ".join(f"{row[0]} {row[column]}" for row in table.rows) + "."


def _numbers(material: Material) -> str:
    found = material.results.evaluation
    events = ", ".join(f"{label} {number:,} of {found.known[label]:,}" for label, number in found.positives.items())
    steps = material.results.flow
    return f"Parts: {flow.parts(steps)}. Positive images analysed: {events}." if steps else ""


def _differences(material: Material) -> str | None:
    """The share of positive images in training and in what was analysed."""
    steps = material.results.flow
    if steps is None or material.results.split == "train":
        return None
    rows = {(each.name, each.split): each for each in steps.missing if each.kind == "label" and each.known}
    said = []
    for label in material.results.evaluation.task.labels:
        both = [rows.get((label, split)) for split in ("train", material.results.split)]
        shares = [f"{100 * (row.positive or 0) / row.known:.1f}%" for row in both if row]
        if len(shares) == 2:
            said.append(f"{label} {shares[0]} and {shares[1]}")
    place = SPLITS[material.results.split]
    return f"Same dataset. Positive in training and {place}: {', '.join(said)}." if said else None


def _accuracy(material: Material) -> str:
    found = material.results.evaluation
    single = found.task.kind == "binary"
    values = found.per_label[found.task.labels[0]] if single else found.averages["macro"]
    shown = ", ".join(f"{name} {_shown(values[name])}" for name in ("sensitivity", "specificity") if name in values)
    return f"{shown[0].upper()}{shown[1:]}{'' if single else ' (means over the labels)'}."


def _crosstab(material: Material) -> str | None:
    from zoo.evaluation import metrics as exact

    predictions, found = material.predictions, material.results.evaluation
    if predictions.task.exclusive:
        return "Reference by predicted class."
    positive = exact.decisions(predictions.task, predictions.logits, found.thresholds)
    table = exact.confusion(predictions.labels, positive)
    if predictions.task.outputs > 1:
        return f"One table of {count_of(predictions.task.outputs, 'label')}."
    parts = {
        "true positive": table.tp,
        "false negative": table.fn,
        "false positive": table.fp,
        "true negative": table.tn,
    }
    return ", ".join(f"{name} {int(values[0]):,}" for name, values in parts.items()) + "."


def _fit(material: Material) -> str:
    rows = [each for each in material.results.sheet.calibration if each.stage == "as_trained"]
    slopes = [each.slope for each in rows if not math.isnan(each.slope.value)]
    if not slopes:
        return ""
    if len(slopes) == 1:
        return f" Calibration slope {slopes[0]}."
    low, high = min(each.value for each in slopes), max(each.value for each in slopes)
    return f" Calibration slopes from {short(low)} to {short(high)}."
