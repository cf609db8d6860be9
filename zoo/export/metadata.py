"""The metadata of an exported file: labels, thresholds, data, licences, input and output."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

from zoo.core.errors import ZooError
from zoo.core.registry import Registry
from zoo.core.text import RESEARCH_ONLY
from zoo.inference.operating_point import OperatingPoint
from zoo.runs.run import Run

DISTRIBUTION = "cxr-zoo"


def describe(run: Run, registry: Registry, point: OperatingPoint, images: str, quantize: str | None) -> dict[str, Any]:
    """The metadata of an exported file, ready for JSON.

    Args:
        run: the run that is exported.
        registry: knows the licences of model and dataset.
        point: the run's thresholds and calibration.
        images: the input in words.
        quantize: float16, int8 or None.
    """
    info, task, calibration = run.info(), point.task, point.calibration
    data = run.data()
    return {
        "name": run.name,
        "model": info["model"],
        "task": task.kind,
        "labels": list(task.labels),
        "thresholds": None if task.exclusive else point.thresholds,
        "decision": "the most probable class" if task.exclusive else "positive at or above the label's threshold",
        "threshold_rule": info.get("threshold_rule"),
        "calibration": None if calibration is None else calibration.method,
        "input": images,
        "output": "probabilities (N, K) float32, one column per label in the order of `labels`",
        "image_size": int(info["image_size"]),
        "precision": quantize or "float32",
        "data": {key: data.get(key) for key in ("dataset", "fingerprint", "split")},
        "trained": info.get("started"),
        "zoo_version": _version(),
        "licences": _licences(registry, str(info["model"]), str(data.get("dataset"))),
        "licence_text": _licence_text(),
        "research_only": RESEARCH_ONLY,
    }


def _version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _licences(registry: Registry, model: str, dataset: str) -> dict[str, str]:
    found = {}
    for kind, name in (("model", model), ("dataset", dataset)):
        try:
            found[kind] = str(registry.get(kind, name).info.licence)
        except ZooError:  # the plugin is not installed here
            found[kind] = ""
    return found


def _licence_text() -> str:
    """The text of zoo's own licence, from the installed distribution or the source tree."""
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
        texts = [file.read_text(encoding="utf-8") for file in files if file.name == "LICENSE"]
    except (importlib.metadata.PackageNotFoundError, OSError):
        texts = []
    source = Path(__file__).parents[2] / "LICENSE"
    if not texts and source.is_file():
        texts = [source.read_text(encoding="utf-8")]
    return texts[0] if texts else "Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0"
