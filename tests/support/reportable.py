"""Finished runs made of numbers alone, for the tests of reports: the files of a run, and their results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zoo.core.tasks import Task
from zoo.evaluation.predictions import Predictions
from zoo.runs.results import Results, evaluate_run
from zoo.runs.run import Run

BINARY = Task("binary", ("Abnormal",))
SEVERAL = Task("multilabel", ("Mass", "Effusion", "Pleural_Thickening"))
CLASSES = Task("multiclass", ("normal", "pneumonia", "effusion"))
COUNTS = {"train": 120, "val": 90, "test": 150}


def make_run(folder: Path, task: Task, *, explained: bool = True, pixels: bool = True, patients: bool = True) -> Run:
    """A run of 360 images, about two of a patient, with everything a training leaves but the network; `patients`: known."""
    rng = np.random.default_rng(5)
    run = Run(folder / "run")
    run.path.mkdir(parents=True)
    number = sum(COUNTS.values())
    split = np.repeat(list(COUNTS), list(COUNTS.values()))
    images = pd.DataFrame(
        {
            "image": [f"image-{i}.png" for i in range(number)],
            "patient": [f"{s}-{rng.integers(0, COUNTS[s] // 2)}" for s in split],
            "split": split,
            "view": rng.choice(["PA", "AP"], number),
            "age": rng.integers(5, 90, number).astype(float),
            "sex": rng.choice(["F", "M"], number),
        }
    )
    if not patients:
        images["patient"] = ""
    if task.exclusive:
        labels = np.eye(task.outputs)[rng.integers(0, task.outputs, number)]
    else:
        labels = (rng.random((number, task.outputs)) < 0.4).astype(float)
    logits = 2.2 * labels - 1.2 + rng.normal(size=labels.shape)
    parts = {}
    for name in ("val", "test"):
        chosen = split == name
        part = Predictions(task, images[chosen].reset_index(drop=True), labels[chosen], logits[chosen])
        parts[name] = part
    known = {f"label:{label}": labels[:, k] for k, label in enumerate(task.labels)}
    images.assign(digest=[f"{i:032x}" for i in range(number)], **known).to_csv(run.path / "images.csv", index=False)
    _write_records(run, task, folder, labels, split, patients)
    for name, part in parts.items():
        run.save_predictions(name, part)
    if pixels:
        _write_store(folder / "store", images["image"])
    if explained:
        _write_explanations(run, task, images)
    return run


def _write_records(run: Run, task: Task, folder: Path, labels: np.ndarray, split: np.ndarray, patients: bool) -> None:
    config: dict[str, Any] = {"task": task.kind, "data": {"name": "phantom"}, "model": {"name": "tiny-cnn"}}
    config |= {"loss": {"name": "bce"}, "augment": {"name": "none"}, "optimizer": {"name": "adam", "lr": 0.001}}
    config |= {"schedule": {"name": "cosine"}, "epochs": 3, "batch_size": 16, "seed": 0}
    config |= {"threshold": {"rule": "fixed", "value": 0.5}, "image_size": 32}
    (run.path / "config.yaml").write_text(yaml.safe_dump(config))
    run.write_json(
        "run.json",
        {
            "status": "complete",
            "task": task.kind,
            "labels": list(task.labels),
            "model": "tiny-cnn",
            "image_size": 32,
            "started": "2026-01-02T03:04:05+0000",
            "command": "zoo train --model tiny-cnn",
            "versions": {"python": "3.11.7", "cxr-zoo": "0.1.0"},
            "best_epoch": 2,
            "monitor": "val_auroc",
            "thresholds": dict.fromkeys(task.labels, 0.5),
            "seconds": 225.0,
        },
    )
    positive = {s: dict(zip(task.labels, labels[split == s].sum(axis=0).tolist(), strict=True)) for s in COUNTS}
    data = {"dataset": "phantom", "root": None, "fingerprint": "abc", "store": str(folder / "store"), "split": "drawn"}
    data |= {
        "images": COUNTS,
        "patients": COUNTS if patients else dict.fromkeys(COUNTS),
        "positive": positive,
        "set_aside": 2,
        "notes": [],
    }
    data["patients_known"] = patients
    run.write_json("data.json", data)
    (run.path / "set_aside.csv").write_text("image,reason\na.png,not an image\nb.png,not an image\n")
    (run.path / "metrics.csv").write_text(
        "epoch,phase,loss,lr,val_loss,val_auroc,val_auprc,seconds\n"
        "1,all,0.7,0.001,0.6,0.7,0.6,1.0\n2,all,0.5,0.0005,0.5,0.8,0.7,1.0\n3,all,0.4,0.0,0.6,0.75,0.7,1.0\n"
    )


def _write_store(store: Path, images: pd.Series) -> None:
    store.mkdir(parents=True)
    np.save(store / "images.npy", np.random.default_rng(0).integers(0, 256, (len(images), 32, 32), dtype=np.uint8))
    pd.DataFrame({"image": images, "digest": "", "note": "", "reason": ""}).to_csv(store / "images.csv", index=False)


def _write_explanations(run: Run, task: Task, images: pd.DataFrame) -> None:
    from PIL import Image

    maps = run.path / "explanations" / "maps"
    maps.mkdir(parents=True)
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(maps / "a.png")
    value = {"value": 0.5, "low": 0.4, "high": 0.6}
    image = {"image": images["image"].iloc[-1], "label": task.labels[0], "probability": 0.9, "reference": 1, "boxes": 2}
    row = {"label": task.labels[0], "boxes": 9, "images": 8, "pointing": value, "energy": value, "iou": {"0.25": value}}
    run.write_json(
        "explanations/index.json",
        {
            "method": "gradcam",
            "layer": "top",
            "images": [{**image, "file": "maps/a.png"}],
            "localisation": {
                "thresholds": [0.25],
                "rows": [{**row, "method": m} for m in ("gradcam", "centre", "random")],
            },
            "sanity": None,
        },
    )


def make_results(run: Run, **options: Any) -> Results:
    return evaluate_run(run, **{"replicates": 60, **options})
