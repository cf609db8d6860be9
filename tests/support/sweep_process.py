"""Sweeps whose trials cost nothing, for tests: a stand-in for training that leaves the files of a run, and a process around
it that kills itself at a chosen moment.

    python sweep_process.py grid|search LIMIT

LIMIT is the number of the event before which it kills itself, 0 for none: an event is a file opened, renamed or made in the
folder of runs, or a call to the search's database. It prints the number of events it has seen.
"""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from zoo.core.files import replacing, write_text
from zoo.core.registry import registry
from zoo.core.tasks import Task
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.predictions import Predictions
from zoo.runs.run import Run
from zoo.search import grid, tuner
from zoo.search.folder import Definition, Folder
from zoo.search.process import Ended, Job, Stop, Watch
from zoo.search.runner import Runner
from zoo.search.trials import Results

LAYER: dict[str, Any] = {"model": "tiny-cnn", "image_size": 16, "data": "phantom", "epochs": 4}
GRID = ["model.width=4,8", "augment=none,mixup"]
SPACE = ["optimizer.lr=log:1e-05:0.01", "model.width=4:16:4", "augment=none,mixup"]
COLUMNS = ["epoch", "val_loss", "val_auroc", "val_auprc", "seconds", "images_per_second"]
TASK = Task("binary", ("Abnormal",))
DATABASE = ("set_trial_param", "set_trial_state_values", "set_trial_user_attr", "set_trial_intermediate_value")


def score(config: dict[str, Any], epoch: int) -> float:
    """In (0, 1), by the configuration and the epoch alone."""
    text = f"{config['model']} {config['augment']} {config['optimizer']} {epoch}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little") / 2**32


def pretend(job: Job, watch: Watch) -> Ended:
    """What a trial's process does, without a network: epochs one by one, and after a kill only those that are missing."""
    run, config = Run(Path(job["runs_dir"], job["run"])), job["config"]
    run.path.mkdir(parents=True, exist_ok=True)
    run.update_info(status="running")
    write_text(run.path / "config.yaml", yaml.safe_dump(config))
    rows: list[dict[str, Any]] = []
    if (run.path / "metrics.csv").exists():
        with (run.path / "metrics.csv").open(newline="") as file:
            rows = [
                {k: float(v) for k, v in row.items()} | {"epoch": int(row["epoch"])} for row in csv.DictReader(file)
            ]
    told = 0
    while True:
        for row in rows[told:]:
            if job["prune"] and row["epoch"] < config["epochs"] and not watch(row):
                run.update_info(status="pruned", seconds=1.0)
                return Ended("pruned", f"pruned after epoch {row['epoch']}")
        told = len(rows)
        if told == config["epochs"]:
            break
        value = score(config, told + 1)
        rows.append(dict(zip(COLUMNS, [told + 1, 1 - value, value, value, 1.0, 100.0], strict=True)))
        with replacing(run.path / "metrics.csv") as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    values = [row["val_auroc"] for row in rows]
    for split in ("val", "test"):
        evaluate(predictions(max(values), split), {"Abnormal": 0.5}, split=split, replicates=20).save(run.path)
    run.update_info(status="complete", best_epoch=1 + int(np.argmax(values)), seconds=2.0)
    return Ended("complete")


def predictions(quality: float, split: str) -> Predictions:
    """30 images of 30 patients, told apart the better the higher the quality; the same images for every trial."""
    rng = np.random.default_rng(["val", "test"].index(split))
    labels = (np.arange(30) % 2).astype(float)[:, None]
    images = pd.DataFrame(
        {"image": [f"{split}-{i}" for i in range(30)], "patient": [f"{split}-{i}" for i in range(30)]}
    )
    return Predictions(TASK, images, labels, 3 * quality * labels + rng.normal(size=labels.shape))


def definition(kind: str, **changes: Any) -> Definition:
    over, trials = (GRID, None) if kind == "grid" else (SPACE, 12)
    return Definition(**{"name": "s", "over": over, "above": [LAYER], "trials": trials} | changes)


def sweep(
    wanted: Definition,
    execute: Any = pretend,
    *,
    runs: str = "runs",
    storage: str | None = None,
    retry_failed: bool = False,
    take_over: bool = False,
) -> Results:
    """Run a sweep in a folder of runs, or what is left of it; a search's trials are in `storage`, a database's address."""
    folder = Folder(Path(runs), wanted.name)
    runner = Runner(folder, wanted, execute, Stop())
    if wanted.trials is None:
        trials = grid.plan(wanted, folder, registry())
        with folder.locked(shared=False):
            return grid.run(runner, trials, retry_failed=retry_failed)
    config = tuner.check(wanted, registry())
    tuner.check_folder(folder, wanted)
    with folder.locked(shared=storage is not None):
        return tuner.run(runner, tuner.Search(folder, wanted, storage, config), registry(), take_over=take_over)


def watched(inner: Callable[..., Any], event: Callable[[], None]) -> Callable[..., Any]:
    def outer(*args: Any, **words: Any) -> Any:
        event()
        found = inner(*args, **words)
        event()
        return found

    return outer


def main() -> None:
    kind, limit, count = sys.argv[1], int(sys.argv[2]), 0

    def event() -> None:
        nonlocal count
        count += 1
        if count == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(name: str, args: tuple[Any, ...]) -> None:
        if name in ("open", "os.rename", "os.remove", "os.mkdir") and "runs" in str(args[0]):
            event()

    if kind == "search":
        import optuna

        storage: Any = optuna.storages.RDBStorage
        for name in DATABASE:
            setattr(storage, name, watched(getattr(storage, name), event))
    sys.addaudithook(hook)
    sweep(definition(kind))
    print(count)


if __name__ == "__main__":
    main()
