"""The arguments of `zoo.train`, typed for editors, and the configuration that they and the flags of `zoo train` stand for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar, get_type_hints

from zoo.config.settings import (
    Balance,
    Jit,
    Monitor,
    Precision,
    Shortcuts,
    Strategy,
    Uncertain,
    all_settings,
)
from zoo.core.options import as_dict, describe
from zoo.core.tasks import TaskKind

Function = TypeVar("Function", bound=Callable[..., Any])


class TrainingArguments(TypedDict, total=False):
    """The settings that `zoo.train` takes, for type checkers and editors; a test compares them with `zoo.config.settings`."""

    task: TaskKind
    data: Strategy
    model: Strategy
    loss: Strategy | None
    augment: Strategy
    optimizer: Strategy
    schedule: Strategy
    root: str | Path | None
    lr: float | None
    allow_outside: bool | None
    image_size: int | None
    weights: str | Path | None
    freeze: bool
    freeze_epochs: int
    feature_views: int
    freeze_norm: bool
    epochs: int
    batch_size: int
    seed: int
    limit: int | None
    where: str | None
    findings: str | Iterable[str] | None
    uncertain: Uncertain
    balance: Balance
    balance_threshold: float | None
    monitor: Monitor
    patience: int | None
    threshold: Strategy | float
    precision: Precision
    jit: Jit
    device: str
    devices: str | int | None
    deterministic: bool
    val_fraction: float
    test_fraction: float
    drop_leaks: bool
    recipe: str | None


def layers(given: Mapping[str, Any], runs_dir: Path) -> list[dict[str, Any]]:
    """The configuration that flags or arguments stand for, in layers for `zoo.config.resolve.resolve`.

    Args:
        given: settings and shortcuts by name; None means that one was not given.
        runs_dir: the folder of runs; `weights` may name one of them.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if "weights" in given:
        weights = str(given["weights"])
        named = not Path(weights).exists() and (runs_dir / weights / "config.yaml").is_file()
        given["weights"] = str(runs_dir / weights) if named else weights
    if given.get("freeze_epochs"):
        given.setdefault("freeze", True)
    shortcuts = []
    for each in describe(Shortcuts):
        if each.name in given:
            section, _, option = each.metadata["sets"].partition(".")
            value = given.pop(each.name)
            shortcuts.append({section: {option: str(value) if isinstance(value, Path) else value}})
    return [given, *shortcuts]


def with_settings(function: Function) -> Function:
    """Give a function that takes `TrainingArguments` the signature and the docstring with all settings and defaults."""
    hints = get_type_hints(TrainingArguments)
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    settings = [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=as_dict(each.default) if is_dataclass(each.default) else each.default,
            annotation=hints[each.name],
        )
        for each in all_settings()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *settings])  # type: ignore[attr-defined]  # read by `inspect`, unknown to mypy
    lines = (f"    {each.name}: {each.help} [default: {each.default_text}]." for each in all_settings())
    function.__doc__ = f"{inspect.getdoc(function)}\n\nSettings:\n" + "\n".join(lines)
    return function
