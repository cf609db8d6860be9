"""A run's model card: what CLAIM 2024 and TRIPOD+AI ask for, filled from the run, with what a human must add left open.

CLAIM 2024: Tejani et al. 2024, Radiology: Artificial Intelligence 6(4):e240300. TRIPOD+AI: Collins et al. 2024,
BMJ 385:e078378.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.core.files import write_text
from zoo.core.text import RESEARCH_ONLY, listed, printable
from zoo.report import cases, sections, sentences, tables
from zoo.report import results as measured
from zoo.report.blocks import Section, Table
from zoo.report.detail_sentences import calibration
from zoo.report.material import Material
from zoo.report.run_sentences import catalogue, initial_weights, outputs, threshold_sentence, training_sentence

if TYPE_CHECKING:
    from zoo.runs.results import Results
    from zoo.runs.run import Run

CARD = "model-card.md"
NOTES = ("data_note", "threshold_note", "note", "most_probable_class")  # which stand among the limitations
OPEN = "**To be completed by the authors:**"
# a bracket before a number is left alone, for intervals are everywhere; without its partner it makes no link
_MARKUP = re.compile(r"[\\`*|]|\[(?![-–.\d])|\](?=[(\[])|(?<!\w)_|_(?!\w)|^[#\[]")


def write_card(run: Run, results: Results, target: Path) -> Path:
    """Write `model-card.md` of a run into the folder `target`, whole or not at all, and return its path.

    Raises:
        ZooError: run.json or the predictions cannot be read.
    """
    path = target / CARD
    write_text(path, render(Material.of(run, results, pictures=False)))
    return path


def render(material: Material) -> str:
    """The card as Markdown. The first lines say how many items are still open."""
    from zoo.report.page import environment

    jinja = environment(finalize=_escaped)
    jinja.filters |= {"cells": _cells, "rule": _rule}
    body = jinja.get_template("card.md.j2").render(**_values(material))
    body = re.sub(r"\n{3,}", "\n\n", str(body)).strip() + "\n"
    number = body.count(OPEN)
    head = [
        f"# Model card: {escape(material.results.run)}",
        f"{escape(RESEARCH_ONLY)}",
        f"{number} item{'s are' if number != 1 else ' is'} still open, marked “{OPEN.strip('*')}”. The rest was filled in "
        "from the run. Topics follow CLAIM 2024 (Tejani et al., doi:10.1148/ryai.240300) and TRIPOD+AI (Collins et al., "
        "doi:10.1136/bmj-2023-078378); the numbers below each heading are the items it answers.",
    ]
    return "\n\n".join(head) + f"\n\n{body}\n{escape(RESEARCH_ONLY)}\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: nothing in it becomes markup, a table's border or HTML."""
    plain = printable(" ".join(str(text).split()))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", plain)


def _escaped(value: Any) -> Any:
    """What jinja2 puts where a value goes: escaped for Markdown, unless a macro made it."""
    from markupsafe import Markup

    return value if isinstance(value, Markup) else Markup(escape(value))


def _cells(values: Iterable[str]) -> Any:
    from markupsafe import Markup

    return Markup(" | ".join(escape(value) or " " for value in values))


def _rule(values: Iterable[str]) -> Any:
    from markupsafe import Markup

    return Markup("|".join("---" for _ in values))


def tables_of(found: Section | None) -> list[Table]:
    return [block for block in found.blocks if isinstance(block, Table)] if found is not None else []


def _first(found: Section | None) -> Table | None:
    return next((table for table in tables_of(found) if not table.folded), None)


def _values(material: Material) -> dict[str, Any]:
    """Everything the template names."""
    results, data, info = material.results, material.data, material.info
    evaluation = results.evaluation
    settings = material.settings
    parts = {each.columns[0]: each for each in tables_of(sections.data(material))}
    operating = tables_of(measured.operating(material))
    command = shlex.join(["zoo", "train", "--config", str(material.run.path / "config.yaml")])
    return {
        "data": {"dataset": data.get("dataset"), "fingerprint": data.get("fingerprint")},
        "predicts": sentences.predicts(evaluation.task),
        "labels": ", ".join(evaluation.task.labels),
        "aside": parts.get("reason"),
        "parts": parts.get("part") or Table("", ("part",), ()),
        "positives": parts.get("label"),
        "people": parts.get(""),
        "image_size": info.get("image_size", settings.get("image_size", "?")),
        "limit": settings.get("limit"),
        "patients_known": evaluation.patients_known,
        "unknown": _unknown(material),
        "reference": _first(measured.reference(material)),
        "split_origin": sentences.split_origin(data, bool(results.leaks)),
        "leaks": sentences.alarms(results),
        "outputs": outputs(material),
        "versions": ", ".join(f"{name} {value}" for name, value in info.get("versions", {}).items()) or "unknown",
        "weights_sentence": initial_weights(settings),
        "training_sentence": training_sentence(material),
        "rule": threshold_sentence(material),
        "level": f"{100 * evaluation.level:.0f}%",
        "replicates": f"{evaluation.replicates:,}",
        "statements": [text for each, text in sentences.summary(results) if each.kind not in NOTES],
        "results": _first(measured.metrics(material)),
        "operating": operating[0] if operating else None,
        "predictive": operating[1] if len(operating) > 1 else None,
        "baselines": list(dict.fromkeys(sentences.baselines(results))),
        "calibration": tables.calibration_table(results.calibration) if results.calibration else None,
        "calibration_notes": calibration(results.calibration) if results.calibration else (),
        "groups": tables.groups_table(results.groups, patients=evaluation.patients_known) if results.groups else None,
        "localisation": cases.localisation_table(material),
        "explained": str(material.explanations.get("method", "")) if material.explanations else "",
        "mistakes": cases.mistakes_table(material),
        "limitations": sentences.limitations(results, data),
        "zoo_version": info.get("versions", {}).get("cxr-zoo", ""),
        "command": info.get("command") or command,
        **catalogue(material),
    }


def _unknown(material: Material) -> str:
    """Where labels of the measured images are unknown, counted."""
    evaluation = material.results.evaluation
    missing = {label: evaluation.images - known for label, known in evaluation.known.items()}
    return listed([f"{label} {count:,}" for label, count in missing.items() if count], 14)
