"""Evaluating a finished run on another dataset, by running its network over all of the images."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config.run_config import Choice
from zoo.core.calls import call
from zoo.core.cells import csv_text
from zoo.core.errors import ZooError
from zoo.core.files import write_text
from zoo.core.registry import Registry
from zoo.data.align import align
from zoo.data.pipeline import ImageSet, load_all, with_writable_names
from zoo.engine.predict import read_ahead
from zoo.evaluation import Predictions
from zoo.inference.runtimes.runtime import Runtime, open_runtime
from zoo.inference.seen import seen_before
from zoo.runs.flow import measure_flow
from zoo.runs.results import Results, measure, stored_rule
from zoo.runs.run import Run

CHUNK = 256  # images passed to a runtime at once: 13 MB at 224 pixels


def evaluate_on(run: Run, data: Choice, root: Path | None, registry: Registry, **options: Any) -> tuple[Results, Path]:
    """Run the network over all images of another dataset and measure it there; thresholds, calibration and baselines are
    those of the run's own images. `options` are the keywords of `zoo.runs.results.evaluate_run`.

    Returns:
        The results, and the folder in the run's evaluations/ where predictions and results are kept.

    Raises:
        ZooError: the run has no trained network, or the dataset has none of its labels.
    """
    info, config, task = run.info(), run.config(), run.task()
    if not run.model_file.exists():
        raise ZooError(
            f"the run {run.name} has no trained network ({run.model_file} is missing; status: {info.get('status')})."
        )
    validation = run.predictions("val", accept_changed=options.pop("accept_changed", False))
    records = with_writable_names(call(registry.get("dataset", data.name).read, root, data.options))
    targets, notes = align(records, task)
    images = load_all(records, targets, int(info["image_size"]), data.name)
    predictions = _predict(run, images)
    folder = run.path / "evaluations" / f"{data.name}-{images.store.fingerprint}"
    predictions.save(folder / "predictions.csv")
    write_text(folder / "set_aside.csv", csv_text(images.set_aside))
    seen, unchecked = seen_before(run, images, registry)
    rule = options.pop("rule", None) or stored_rule(run)
    result = measure(
        run.name, "test", predictions, validation, run.images(), leaks=seen, rule=rule, seed=config["seed"], **options
    )
    labels = {f"label:{name}": predictions.labels[:, k] for k, name in enumerate(task.labels)}
    table = predictions.table.assign(split="test", **labels)
    flow = measure_flow("test", predictions, table, images.set_aside, {"dataset": data.name}, {})
    result = dataclasses.replace(result, notes=(*notes, *unchecked), flow=flow)
    result.save(folder)
    return result, folder


def _predict(run: Run, images: ImageSet) -> Predictions:
    """The network's predictions for all of the images, by the fastest runtime at hand."""
    rows = images.of("test")
    with closing(open_runtime(run, images=len(rows))) as runtime:
        logits = runtime_logits(runtime, images.store.images, images.rows[rows])
    return Predictions(images.task, images.kept_table.iloc[rows].reset_index(drop=True), images.labels[rows], logits)


def runtime_logits(runtime: Runtime, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Logits `(len(rows), K)` float32 of the given rows of `images` `(M, S, S)` uint8, in their order."""
    parts = [rows[start : start + CHUNK] for start in range(0, max(1, len(rows)), CHUNK)]
    return np.concatenate([runtime.predict(pixels)[0] for pixels in read_ahead(images, parts)])
