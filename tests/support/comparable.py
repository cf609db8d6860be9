"""Finished runs made of numbers alone, for the tests of comparisons: each with a skill of its own on the same images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from zoo.core.tasks import Task
from zoo.evaluation import Predictions, ThresholdRule, evaluate
from zoo.runs.run import Run

BINARY = Task("binary", ("Abnormal",))
SEVERAL = Task("multilabel", ("Mass", "Nodule", "Hernia"))
TEST = range(100, 220)


def make_run(
    name: str,
    skill: float = 1.0,
    seed: int = 0,
    task: Task = BINARY,
    protocol: str = "published",
    test: range = TEST,
    per_patient: int = 2,
    model: str = "tiny-cnn",
    status: str = "complete",
    flipped: int = 0,
    folder: str = "runs",
) -> Path:
    """A run folder as training leaves it, without the network; the patients are unknown where `per_patient` is 0."""
    path = Path(folder, name)
    path.mkdir(parents=True)
    thresholds, rule = dict.fromkeys(task.labels, 0.5), ThresholdRule("fixed")
    info = {"status": status, "task": task.kind, "labels": list(task.labels), "model": model, "image_size": 32}
    Run(path).write_json("run.json", info | {"thresholds": thresholds, "threshold_rule": vars(rule), "seconds": 1.5})
    (path / "data.json").write_text(json.dumps({"dataset": "phantom", "split": protocol}))
    config = {"loss": {"name": "bce"}, "augment": {"name": "none"}, "seed": seed, "epochs": 3, "recipe": None}
    (path / "config.yaml").write_text(yaml.safe_dump(config))
    if status != "complete":
        return path
    images = []
    for split, numbers in (("val", range(60)), ("test", test)):
        rows = np.array(numbers)
        labels = (np.random.default_rng(0).random((1000, task.outputs))[rows] < 0.4).astype(float)
        signal = skill * labels
        labels[:flipped] = 1 - labels[:flipped]
        noise = np.random.default_rng(10 + seed).normal(size=(1000, task.outputs))[rows]
        table = {
            "image": [f"{i:04d}.png" for i in rows],
            "patient": [f"p{i // per_patient}" if per_patient else "" for i in rows],
        }
        predictions = Predictions(task, pd.DataFrame(table), labels, signal + noise)
        Run(path).save_predictions(split, predictions)
        evaluate(predictions, thresholds, split=split, rule=rule, seed=seed, replicates=100).save(path)
        images.append(predictions.table.assign(split=split, digest=[f"d{i}" for i in rows]))
    pd.concat(images).to_csv(path / "images.csv", index=False)
    return path
