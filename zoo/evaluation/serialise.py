"""Results as plain values for JSON, with undefined as null, and as CSV."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.cells import guarded, rows_text
from zoo.core.tasks import Task


class Serialisable:
    """Gives a dataclass `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON, NaN as None."""
        return dict(to_plain(self))


def to_plain(value: Any) -> Any:
    """Turn results into values ready for JSON, all the way down: dataclasses into mappings, arrays and tuples into lists,
    NumPy numbers into Python's, NaN into None.

    Raises:
        TypeError: there is something else inside.
    """
    if isinstance(value, Task):
        return {"kind": value.kind, "labels": list(value.labels)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no plain form")


def to_csv(rows: Iterable[Any]) -> str:
    """Mappings or dataclasses as CSV for people, one row each; undefined is an empty cell, what would be a formula is guarded.

    What is nested stands in columns joined by "_": an interval becomes NAME, NAME_low and NAME_high.
    """
    flat = [{guarded(name): guarded(value) for name, value in _flat(to_plain(row)).items()} for row in rows]
    return rows_text(flat, list(dict.fromkeys(k for row in flat for k in row)))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if not isinstance(value, dict):
            found[f"{prefix}{name}"] = value
        elif set(value) == {"value", "low", "high"}:
            found |= {
                f"{prefix}{name}": value["value"],
                **_flat({k: value[k] for k in ("low", "high")}, f"{prefix}{name}_"),
            }
        else:
            found |= _flat(value, f"{prefix}{name}_")
    return found
