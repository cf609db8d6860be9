"""Registered entries as records: what `zoo list` and `zoo info` print and what --json holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zoo.core.calls import PluginError
from zoo.core.contracts import ALL_TASKS, DatasetInfo, ModelInfo
from zoo.core.manager import Failure
from zoo.core.options import OptionInfo
from zoo.core.registry import Entry


def tasks_text(tasks: Iterable[str]) -> str:
    """The task kinds in a few letters: 'all' where there is no limit."""
    given = tuple(tasks)
    return "all" if set(given) == set(ALL_TASKS) else ", ".join(given)


def count_text(number: int) -> str:
    """A number of parameters as people say it: 940, 1.5k, 1.5M, 54M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            scaled = number / size
            return f"{scaled:.1f}{unit}" if scaled < 10 else f"{scaled:.0f}{unit}"
    return str(number)


def origin_text(entry: Entry) -> str:
    """The distribution an entry comes from and its version."""
    return f"{entry.origin.distribution} {entry.origin.version}"


def record(entry: Entry) -> dict[str, Any]:
    """Everything known about an entry, in plain values ready for JSON."""
    info = entry.strategy.info
    plain: dict[str, Any] = {
        "kind": entry.kind,
        "name": entry.name,
        "summary": info.summary,
        "tasks": list(info.tasks),
        "licence": info.licence,
        "paper": info.paper,
        "plugin": entry.origin.plugin,
        "distribution": entry.origin.distribution,
        "version": entry.origin.version,
    }
    if isinstance(info, ModelInfo):
        plain |= {
            "parameters": info.parameters,
            "image_size": info.image_size,
            "min_image_size": info.min_image_size,
            "pretrained": list(info.pretrained),
        }
    if isinstance(info, DatasetInfo):
        plain |= {
            "needs_root": info.needs_root,
            "layout": info.layout,
            "image_size": info.image_size,
            "default_weights": info.default_weights,
            "downloads": [each.name for each in info.downloads],
        }
    if entry.kind == "recipe":
        return plain | {"config": _plain(entry.strategy.config)}
    return plain | {"options": [option_record(each) for each in entry.options()]}


def readable(entries: Iterable[Entry]) -> tuple[list[dict[str, Any]], list[Failure]]:
    """The records of the entries, and a failure for each whose options cannot be read."""
    records, failures = [], []
    for entry in entries:
        try:
            records.append(record(entry))
        except PluginError as error:
            failures.append(Failure(entry.origin, str(error)))
    return records, failures


def option_record(option: OptionInfo) -> dict[str, Any]:
    """An option with its type, default and meaning; `none` says what a default of null stands for."""
    return {
        "name": option.name,
        "type": option.type,
        "default": _plain(option.default),
        "none": option.metadata.get("none", ""),
        "help": option.help,
    }


def failure_record(failure: Failure) -> dict[str, str]:
    """A plugin that could not be used, in plain values."""
    origin = failure.origin
    return {
        "plugin": origin.plugin,
        "distribution": origin.distribution,
        "version": origin.version,
        "cause": failure.cause,
    }


def _plain(value: Any) -> Any:
    """Tuples as lists and mappings as dictionaries, all the way down: what JSON and YAML know."""
    if hasattr(value, "items"):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
