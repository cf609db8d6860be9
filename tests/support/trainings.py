"""Small trainings through the engine, and what counts when two of them are compared."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from zoo.config.resolve import resolve
from zoo.config.run_config import RunConfig
from zoo.core.registry import registry
from zoo.inference.training import Outcome, resume, train
from zoo.runs.run import Run

LAYER: dict[str, Any] = {
    "task": "binary",
    "model": {"name": "tiny-cnn", "width": 4, "depth": 1, "dropout": 0.3},
    "image_size": 16,
    "data": {"name": "phantom", "patients": 30},
    "augment": "mixup",
    "schedule": {"name": "plateau", "patience": 0},
    "epochs": 3,
    "batch_size": 8,
}


class Killed(BaseException):
    """What a test raises where a process would die."""


def die_at(patch: pytest.MonkeyPatch, owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """Raise Killed at the call number `call` (from 1) of a function, before or after its work."""
    inner, calls = getattr(owner, name), iter(range(1, 10_000))

    def dying(*arguments: Any, **keywords: Any) -> Any:
        last = next(calls) == call
        if last and not after:
            raise Killed
        value = inner(*arguments, **keywords)
        if last:
            raise Killed
        return value

    patch.setattr(owner, name, dying)


def configuration(**changes: Any) -> RunConfig:
    return resolve([LAYER, changes], registry())


def start(name: str, every: int | None = None, **changes: Any) -> Outcome:
    """Train into runs/NAME."""
    return train(configuration(**changes), registry(), Path("runs"), name, checkpoint_every=every)


def go_on(name: str, **options: Any) -> Outcome:
    """Resume runs/NAME."""
    return resume(Run(Path("runs", name)), registry(), **options)


def weights(path: Path) -> list[np.ndarray]:
    """The weights of a run's final network."""
    return list(keras.saving.load_model(path / "model.keras", compile=False).get_weights())


def result(name: str, runs: Path = Path("runs")) -> dict[str, Any]:
    """Everything two equal runs share: weights and random states, metrics without times, predictions, thresholds."""
    run = runs / name
    rows: list[dict[str, str]] = []
    if (run / "metrics.csv").exists():  # else nothing was trained
        with (run / "metrics.csv").open() as file:
            rows = [
                {k: v for k, v in r.items() if k not in ("seconds", "images_per_second")} for r in csv.DictReader(file)
            ]
    state: dict[str, bytes] = {}
    for newest in sorted((run / "checkpoints").glob("checkpoint-*.npz"))[-1:]:
        with np.load(newest) as file:
            state = {name: file[name].tobytes() for name in file.files if name != "header"}
    info = Run(run).info()
    return {
        "weights": [w.tobytes() for w in weights(run)],
        "rows": rows,
        "state": state,
        "predictions": [(run / "predictions" / f"{split}.csv").read_bytes() for split in ("val", "test")],
        "info": {k: info[k] for k in ("best_epoch", "status", "thresholds") if k in info},
    }
