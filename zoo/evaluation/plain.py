"""Results as plain values: what JSON can hold, with undefined as null."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.core.tasks import Task


def plain(value: Any) -> Any:
    """Turn results into values ready for JSON, all the way down: dataclasses into mappings, arrays and tuples into lists,
    NumPy numbers into Python's, NaN into None.

    Raises:
        TypeError: there is something else inside.
    """
    if isinstance(value, Task):
        return {"kind": value.kind, "labels": list(value.labels)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no plain form")
