"""A resolved configuration: the settings, and for every section the strategy chosen with its options."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import yaml

from zoo.config.optimizers import OPTIMIZERS, SCHEDULES
from zoo.config.settings import Settings
from zoo.core.contracts import NoOptions
from zoo.core.options import as_dict

# section -> registry kind; the others are the engine's own
REGISTERED = {"data": "dataset", "model": "model", "loss": "loss", "augment": "augmenter"}
ENGINE = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES}
SECTIONS = (*REGISTERED, *ENGINE)
# what decides which images a run has and on which side each stands
OF_THE_IMAGES = [
    *("task", "data", "where", "findings", "uncertain"),
    *("limit", "seed", "val_fraction", "test_fraction", "drop_leaks"),
]


@dataclass(frozen=True)
class Choice:
    """A strategy chosen by name with its validated options."""

    name: str
    options: Any = NoOptions()

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, **as_dict(self.options)}


@dataclass(frozen=True)
class RunConfig:
    """A complete configuration: every section chosen, every option validated, every default filled in."""

    settings: Settings
    data: Choice
    root: str | None
    model: Choice
    loss: Choice
    augment: Choice
    optimizer: Choice
    schedule: Choice

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the shape of config.yaml."""
        values: dict[str, Any] = {"task": self.settings.task}
        for name in SECTIONS:
            values[name] = getattr(self, name).to_dict()
        if self.root is not None:
            values["data"] = {"name": self.data.name, "root": self.root, **as_dict(self.data.options)}
        for each in fields(Settings):
            if each.name != "task":
                value = getattr(self.settings, each.name)
                values[each.name] = list(value) if isinstance(value, tuple) else value
        values["threshold"] = as_dict(self.settings.threshold)
        return values

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
