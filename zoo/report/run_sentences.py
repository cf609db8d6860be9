"""Sentences on what was trained and how, for the model card and the checklists."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.core.text import count_of, duration
from zoo.evaluation.interval import short
from zoo.report.material import Material
from zoo.report.tables import RULES


def outputs(material: Material) -> str:
    """The logits of the network."""
    task = material.results.evaluation.task
    kind = "softmax over the classes" if task.exclusive else "sigmoid each" if task.outputs > 1 else "sigmoid"
    return f"{count_of(task.outputs, 'logit')} ({kind})"


def initial_weights(settings: dict[str, Any]) -> str:
    """What the network started from."""
    weights = settings.get("weights")
    joined = members(settings)
    if joined:
        return f"The networks of {len(joined)} finished runs were joined: {', '.join(joined)}."
    if weights in (None, "none"):
        return "The network started from random weights."
    return f"The network started from the weights {Path(str(weights)).name}."


def members(settings: dict[str, Any]) -> list[str]:
    """The names of the runs that an ensemble was made of; none for any other run."""
    return [Path(str(each)).name for each in (settings.get("model") or {}).get("members", ())]


def _joining(model: dict[str, Any]) -> str:
    """What an ensemble does with its runs, where nothing was trained for it."""
    weights = ", ".join(short(float(weight)) for weight in model.get("weights", ()))
    how = "fitted to the validation images, whose figures are too good for that" if model.get("fitted") else "given"
    return f"Nothing was trained: the probabilities of the runs are averaged with the weights {weights} ({how})."


def training_sentence(material: Material) -> str:
    """Loss, augmentation, optimiser, schedule, length and which epoch was kept."""
    settings, info = material.settings, material.info
    if members(settings) and not settings.get("epochs") and not settings.get("freeze"):
        return _joining(settings["model"])

    def said(name: str) -> str:
        part = dict(settings.get(name) or {})
        chosen = part.pop("name", "none")
        nested = [(key, value if isinstance(value, dict) else {"": value}) for key, value in part.items()]
        given = {f"{key}.{name}".rstrip("."): value for key, values in nested for name, value in values.items()}
        options = ", ".join(f"{key} {value}" for key, value in given.items() if value is not None)
        return f"{chosen} ({options})" if options else str(chosen)

    text = (
        f"Loss {said('loss')}; augmentation {said('augment')}; optimiser {said('optimizer')}; schedule "
        f"{said('schedule')}; {settings.get('epochs')} epochs in batches of {settings.get('batch_size')}; seed "
        f"{settings.get('seed')}; arithmetic {settings.get('precision', 'float32')}."
    )
    if settings.get("freeze"):
        first = settings.get("freeze_epochs")
        text += f" The backbone was frozen for the first {'epoch' if first == 1 else f'{first} epochs'}."
    if info.get("best_epoch") is not None:
        text += f" The weights kept are those of epoch {info['best_epoch']}, the best by {info.get('monitor')}."
    if info.get("seconds"):
        text += f" It took {duration(float(info['seconds']))}."
    return text


def threshold_sentence(material: Material) -> str:
    """When an image is predicted positive."""
    rule = material.results.rule
    if material.results.evaluation.task.exclusive:
        return "The most probable class is taken; there is no threshold."
    if rule.rule == "fixed":
        return f"An image is predicted positive at a probability of {short(rule.value)} or above."
    said = RULES[rule.rule].format(short(rule.value))
    return f"Decision thresholds are chosen on the validation images: {said.removesuffix(' on validation')}."


def catalogue(material: Material) -> dict[str, str]:
    """What the plugins record about the model and the dataset, where they are installed."""
    from zoo.core.errors import ZooError
    from zoo.core.registry import registry

    name, dataset = str(material.info.get("model", "")), str(material.data.get("dataset", ""))
    found: dict[str, Any] = {}
    for kind, each in (("model", name), ("dataset", dataset)):
        try:
            found[kind] = registry().get(kind, each).info
        except ZooError:
            found[kind] = None
    model, data = found["model"], found["dataset"]
    sentence = f"{name}."
    licence = ""
    if model is not None:
        sentence = f"{name} ({model.summary}), about {model.parameters / 1e6:.1f} million parameters."
        sentence += f" Described in: {model.paper}." if model.paper else ""
        licence = f"Model code: {model.licence}. " if model.licence else ""
    if data is not None and data.licence:
        licence += f"Dataset: {data.licence}."
    return {
        "model_sentence": sentence,
        "licence_sentence": licence.strip(),
        "dataset_summary": data.summary if data is not None else "",
        "dataset_paper": (data.paper or "") if data is not None else "",
    }
