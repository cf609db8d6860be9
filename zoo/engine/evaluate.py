"""Evaluating a finished run on another dataset, by running its network over all of the images."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.config.run_config import Choice
from zoo.core.errors import DataError, ZooError
from zoo.core.records import Records
from zoo.core.registry import Registry
from zoo.core.tasks import Task
from zoo.data.pipeline import ImageSet, load_all, with_writable_names
from zoo.data.targets import Targets, make_targets
from zoo.engine import devices
from zoo.evaluation import Predictions
from zoo.runs.results import Study, measure, stored_rule
from zoo.runs.run import Run


def evaluate_on(run: Run, data: Choice, root: Path | None, registry: Registry, **options: Any) -> tuple[Study, Path]:
    """Run the network over all images of another dataset and measure it there; thresholds, calibration and floors are those
    of the run's own images. `options` are the keywords of `zoo.runs.results.study`.

    Returns:
        The study, and the folder in the run's evaluations/ where predictions and results are kept.

    Raises:
        ZooError: the run has no trained network, or the dataset has none of its labels.
    """
    info, config, task = run.info(), run.config(), run.task()
    if not run.model_file.exists():
        raise ZooError(
            f"the run {run.name} has no trained network ({run.model_file} is missing; status: {info.get('status')})."
        )
    validation = run.predictions("val")
    records = with_writable_names(registry.get("dataset", data.name).read(root, data.options))
    targets, notes = align(records, task)
    images = load_all(records, targets, int(info["image_size"]), data.name)
    predictions = _predict(run, images)
    folder = run.path / "evaluations" / f"{data.name}-{images.store.fingerprint}"
    predictions.save(folder / "predictions.csv")
    images.set_aside.to_csv(folder / "set_aside.csv", index=False)
    seen = _seen_before(run, images)
    rule = options.pop("rule", None) or stored_rule(run)
    result = measure(
        run.name, "test", predictions, validation, run.images(), leaks=seen, rule=rule, seed=config["seed"], **options
    )
    result = replace(result, notes=(*notes, *result.notes))
    result.save(folder)
    return result, folder


def _predict(run: Run, images: ImageSet) -> Predictions:
    """The network's predictions for all of the images, by the fastest runtime at hand."""
    from zoo.engine.inference import runtime_logits
    from zoo.inference.runtimes.runtime import open_runtime

    rows = images.of("test")
    with closing(open_runtime(run, images=len(rows))) as runtime:
        logits = runtime_logits(runtime, images.store.images, images.rows[rows])
    return Predictions(images.task, images.table.iloc[rows].reset_index(drop=True), images.labels[rows], logits)


def _seen_before(run: Run, images: ImageSet) -> tuple[str, ...]:
    """A sentence where images of another dataset are, pixel for pixel, images the run was trained or chosen on."""
    own = pd.read_csv(run.path / "images.csv", dtype=str)
    known = set(own.loc[own["split"] != "test", "digest"])
    digests = images.store.table["digest"].to_numpy()[images.rows]
    seen = sum(digest in known for digest in digests)
    if not seen:
        return ()
    return (f"{seen:,} of these {len(digests):,} images were used in training or validation: the result is too good.",)


def load_network(run: Run) -> Any:
    """Load the run's trained network in Keras' safe mode.

    Raises:
        ZooError: the file is damaged.
    """
    keras = devices.import_keras()
    try:
        return keras.saving.load_model(run.model_file, compile=False, safe_mode=True)
    except Exception as error:
        raise ZooError(f"{run.model_file} cannot be loaded: {' '.join(str(error).split())[:300]}") from error


def align(records: Records, task: Task) -> tuple[Targets, tuple[str, ...]]:
    """Project another dataset's findings onto the labels of a trained network; names match without regard to case, spaces
    and underscores. A label the dataset does not have is unknown in all its images.

    Returns:
        The targets, and sentences the reader of the result should know.

    Raises:
        DataError: the dataset has none of the labels.
    """
    if task.kind == "multiclass":
        return _align_classes(records, task), ()
    name = task.labels[0]
    if task.kind == "multilabel" or _plain(name) in {_plain(each) for each in records.labels}:
        return _align_findings(records, task), ()
    targets = replace(make_targets(records, "binary"), task=task)
    if _plain(name) == "abnormal":
        return targets, ()
    return targets, (
        f"The dataset has no label {name}: an image with any of {', '.join(records.labels)} counts as {name}.",
    )


def _align_classes(records: Records, task: Task) -> Targets:
    found = make_targets(records, "multiclass")
    column = {_plain(name): i for i, name in enumerate(found.task.labels)}
    known = [column.get(_plain(name)) for name in task.labels]
    _require(any(k is not None for k in known), records, task)
    labels = np.zeros((len(records), task.outputs), np.float32)
    for i, k in enumerate(known):
        if k is not None:
            labels[:, i] = found.labels[:, k]
    reasons = found.reasons.copy()
    reasons[(reasons == "") & (labels.sum(axis=1) == 0)] = "a class the network does not know"
    return Targets(task, labels, reasons)


def _align_findings(records: Records, task: Task) -> Targets:
    column = {_plain(name): name for name in records.labels}
    known = [column.get(_plain(name)) for name in task.labels]
    _require(any(known), records, task)
    labels = np.full((len(records), task.outputs), np.nan, np.float32)
    for i, name in enumerate(known):
        if name is not None:
            labels[:, i] = records.table[name].to_numpy(dtype=np.float32)
    unknown = np.isnan(labels).all(axis=1)
    return Targets(task, labels, np.where(unknown, "every label unknown", "").astype(object))


def _require(any_label: bool, records: Records, task: Task) -> None:
    if not any_label:
        raise DataError(
            f"the dataset has none of the network's labels. The network knows {', '.join(task.labels)}; "
            f"the dataset has {', '.join(records.labels)}."
        )


def _plain(name: str) -> str:
    return name.lower().replace("_", " ").replace("-", " ").strip()
