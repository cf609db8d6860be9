"""The sections of a report on what was done: summary, data, training, and how to repeat it."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.core.text import count_of, duration, listed
from zoo.report import sentences
from zoo.report.blocks import Block, Code, Figure, Intervals, Lead, Panels, Points, Section, Table, Text, section
from zoo.report.material import Material
from zoo.report.sentences import SPLITS, split_name

if TYPE_CHECKING:
    import pandas as pd

    from zoo.runs.results import Results

_SHOWN = 5  # statements that stand on top
_REASONS = 12  # different reasons for setting images aside that are listed


def summary(material: Material) -> Section | None:
    """The worst statement and those after it, one figure of what was measured, and what was trained on what."""
    results = material.results
    (first, text), *said = sentences.summary(results)
    shown, rest = said[: _SHOWN - 1], said[_SHOWN - 1 :]
    more = f"{count_of(len(rest), 'more statement')} on how far the figures can be trusted"
    return section(
        "summary",
        "Summary",
        Lead(first.severity, text, tuple((each.severity, line) for each, line in shown)),
        Points(tuple(line for _, line in rest), folded=more) if rest else None,
        headline(results),
        Text(sentences.trained(material.info, material.data, results.evaluation.task)),
    )


def headline(results: Results) -> Intervals:
    """The headline AUROC beside that on validation, of the baselines, and of each label."""
    found, drop = results.evaluation, results.drop
    name, here = sentences.headline_name(found.task), split_name(results.split)
    rows = [(f"{name}, {here}", found.headline, "strong")]
    if drop is not None:
        over = f" ({len(drop.labels)} labels)" if drop.left_out else ""
        if drop.left_out:
            rows.append((f"{name}, {here}{over}", drop.test, "strong"))
        rows.append((f"{name}, validation{over}", drop.validation, ""))
    for baseline in results.baselines:
        if baseline.features:
            rows.append((f"{listed(sentences.feature_names(baseline.features))} alone", baseline.auroc, ""))
    several = found.task.outputs > 1
    if several:
        rows += [(label, values["auroc"], "") for label, values in found.per_label.items()]
    lowest = min([0.5, *(v for _, i, _ in rows for v in (i.value, i.low) if not math.isnan(v))])
    means = f"{name[0].upper()}{name[1:]}" + (
        " (a mean over the labels) and the AUROC of each label" if several else ""
    )
    over = sentences.unit(found.patients_known)
    caption = (
        f"{means} on {sentences.size(found)} ({here}), with {100 * found.level:.0f}% intervals over {over}. The dashed "
        "line at .5 is chance; “alone” is a model of the metadata, which sees no pixels."
    )
    if sentences.alarms(results):
        caption = f"None of these figures stands, see above. {caption}"
    return Intervals(caption, tuple(rows), 0.5, (math.floor(10 * lowest - 0.2) / 10, 1.0))


def data(material: Material) -> Section | None:
    """Images and patients of every split, positives per label, who the patients are, and what was set aside."""
    counts = material.data
    blocks: list[Block] = []
    if sentence := sentences.split_origin(counts, bool(material.results.leaks)):
        blocks.append(Text(sentence))
    images, patients = counts.get("images", {}), counts.get("patients", {})
    splits = [name for name in SPLITS if name in images]
    if splits:
        blocks.append(_parts(images, None if counts.get("patients_known") is False else patients, splits))
        blocks.append(_positives(material, splits))
    if people := _people(material.images):
        blocks.append(people)
    blocks += _aside(material)
    if counts.get("notes"):
        blocks.append(Points(tuple(str(note) for note in counts["notes"])))
    return section("data", "Data and split", blocks)


def _parts(images: Mapping[str, int], patients: Mapping[str, int] | None, splits: Sequence[str]) -> Table:
    """Images and patients of each split; `patients` is None where they are unknown."""
    names = ("images",) if patients is None else ("images", "patients")
    counts = (images,) if patients is None else (images, patients)
    rows = tuple((SPLITS[s], *(f"{each[s]:,}" if s in each else "–" for each in counts)) for s in splits)
    return Table(f"{' and '.join(names).capitalize()} in each part of the data.", ("part", *names), rows)


def _positives(material: Material, splits: list[str]) -> Table:
    """Positive images per label and split, with their share of the images where the label is known."""
    positive, images = material.data.get("positive", {}), material.images
    rows, shares = [], ""
    for label in material.results.evaluation.task.labels:
        cells = []
        for split in splits:
            known = 0
            if images is not None and f"label:{label}" in images:
                shares = "; in brackets their share of the images where it is known"
                known = int(images.loc[images["split"] == split, f"label:{label}"].notna().sum())
            count = positive.get(split, {}).get(label)
            cells.append("–" if count is None else sentences.share(count, known))
        rows.append((label, *cells))
    return Table(f"Images with each label{shares}.", ("label", *(SPLITS[s] for s in splits)), tuple(rows))


def _people(images: pd.DataFrame | None) -> Table | None:
    """Age, sex and view of the images in every split, as far as they are known."""
    if images is None:
        return None
    splits = [name for name in SPLITS if (images["split"] == name).any()]
    parts = {name: images[images["split"] == name] for name in splits}
    rows: list[tuple[str, ...]] = []
    if "age" in images and images["age"].notna().any():
        rows.append(("age, median (quartiles)", *(_quartiles(part["age"]) for part in parts.values())))
    for column in ("sex", "view"):
        if column not in images:
            continue
        for value in sorted(images[column].dropna().unique())[:8]:
            cells = (sentences.share(float((part[column] == value).sum()), len(part)) for part in parts.values())
            rows.append((f"{column} {value}", *cells))
    if not rows:
        return None
    caption = "Age (years), sex and view of the images; in brackets the share of all images of that part."
    return Table(caption, ("", *(SPLITS[s] for s in splits)), tuple(rows))


def _quartiles(ages: pd.Series) -> str:
    known = ages.dropna()
    if not len(known):
        return "–"
    low, middle, high = known.quantile([0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def _aside(material: Material) -> list[Block]:
    table = material.set_aside
    if table is None or "reason" not in table:
        number = material.data.get("set_aside")
        return [Text("No image was set aside.")] if number == 0 else []
    reasons = Counter(table["reason"].astype(str)).most_common()
    rows = [(reason, f"{count:,}") for reason, count in reasons[:_REASONS]]
    if len(reasons) > _REASONS:
        rows.append((f"{len(reasons) - _REASONS} other reasons", f"{sum(n for _, n in reasons[_REASONS:]):,}"))
    caption = f"{count_of(len(table), 'image')} set aside, by reason; set_aside.csv of the run names each."
    return [Table(caption, ("reason", "images"), tuple(rows))]


def training(material: Material) -> Section | None:
    """The course of the training, epoch by epoch."""
    history, info = material.history, material.info
    if history is None or "epoch" not in history:
        return None
    from zoo.report.figures import training_figures

    best = info.get("best_epoch")
    sentence = count_of(len(history), "epoch")
    if best is not None:
        monitor = info.get("monitor", "")
        row = history[history["epoch"] == best]
        value = f" ({float(row[monitor].iloc[0]):.4g})" if monitor in history and len(row) else ""
        sentence += f"; the weights kept are those of epoch {best}, the best by {monitor}{value}"
    phases = list(dict.fromkeys(history["phase"].astype(str))) if "phase" in history else []
    if len(phases) > 1:
        sentence += f". Phases: {', '.join(phases)} (head: the backbone is frozen)"
    figures = tuple(
        Figure(svg, f"Line chart of {what} over {len(history)} epochs. {_ends(history, what)}")
        for what, svg in training_figures(history, best)
    )
    caption = "Training by epoch. The dotted line marks the epoch whose weights were kept."
    return section("training", "Training", Text(f"{sentence}."), Panels(caption, figures) if figures else None)


def _ends(history: pd.DataFrame, what: str) -> str:
    """First and last value, for readers who cannot see the line."""
    columns = {"loss": ("loss", "val_loss"), "learning rate": ("lr",)}.get(what, ("val_auroc", "val_auprc"))
    said = []
    for column in columns:
        if column in history and history[column].notna().any():
            known = history[column].dropna()
            said.append(f"{column} from {known.iloc[0]:.4g} to {known.iloc[-1]:.4g}")
    return "; ".join(said) + ("." if said else "")


def repeat(material: Material) -> Section | None:
    """The configuration, the environment, and the command that repeats the run."""
    info = material.info
    facts: dict[str, Any] = {}
    if "started" in info:
        facts["started"] = info["started"]
    if "seconds" in info:
        facts["time"] = duration(float(info["seconds"]))
    facts |= {name: info[name] for name in ("device", "devices", "precision", "backend") if info.get(name)}
    if material.data.get("fingerprint"):
        facts["data fingerprint"] = material.data["fingerprint"]
    facts |= dict(info.get("versions", {}))
    rows = tuple((str(name), _plain(value)) for name, value in facts.items())
    blocks: list[Block] = []
    if info.get("command"):
        blocks.append(Code("The command that made this run.", str(info["command"])))
    again = shlex.join(["zoo", "train", "--config", str(material.run.path / "config.yaml")])
    blocks.append(Code("The same again, from the resolved configuration.", again))
    blocks.append(Code("Configuration with every default filled in (config.yaml).", material.config.strip()))
    if rows:
        blocks.append(Table("Environment.", ("", "value"), rows))
    return section("repeat", "Configuration and environment", blocks)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each}" for name, each in value.items())
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)
