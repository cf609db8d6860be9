"""Joins finished runs into a new run: averages their networks or trains a new head, and evaluates it like any other run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config.resolve import resolve
from zoo.config.run_config import OF_THE_IMAGES, RunConfig
from zoo.core.errors import DataError, UsageError, unknown
from zoo.core.options import as_dict
from zoo.core.registry import Registry
from zoo.core.thresholds import ThresholdRule
from zoo.data.pipeline import ImageSet
from zoo.engine.changes import changed_images
from zoo.ensemble.combine import combine, fit_weights, log_loss
from zoo.ensemble.members import check_members
from zoo.ensemble.strategy import NAME, with_ensembles
from zoo.evaluation.predictions import Predictions
from zoo.inference.training import Outcome, train
from zoo.runs.results import stored_rule
from zoo.runs.run import Run

logger = logging.getLogger(__name__)

FITTED = "fitted"
EPOCHS = 20
RATE = 2e-3  # of the new head, as of any head on loaded weights
AGREEMENT = 1e-3  # a larger difference of a probability means that a member's network did not make its predictions


@dataclass(frozen=True)
class Options:
    """How to join runs.

    `by` is a key of `zoo.ensemble.strategy.WAYS`; `weights` are numbers, one per run, or "fitted"; None fits them where `by`
    is "weighted". `rule` chooses the thresholds on validation, that of the first run if None. `epochs` and `lr` are for the
    new head of "features"; `device` is where it is computed.
    """

    by: str = "mean"
    weights: Sequence[float] | str | None = None
    rule: ThresholdRule | None = None
    epochs: int | None = None
    lr: float | None = None
    device: str = "auto"


def ensemble(runs: Sequence[Run], options: Options, registry: Registry, runs_dir: Path, name: str | None) -> Outcome:
    """Join finished runs into a new one.

    Args:
        runs: two or more, trained for one task on one split of the same images.
        options: how.
        registry: where their dataset's reader is.
        runs_dir: the folder of runs.
        name: the new run's name; by date and task if None.

    Raises:
        UsageError, DataError: the runs cannot be joined, or an option does not fit.
        ZooError: as `zoo.inference.training.train`.
    """
    _check_options(runs, options)
    check_members(runs)
    validation = [run.predictions("val") for run in runs]
    weights = _weights(runs, options, validation)
    config = configuration(runs, options, weights, with_ensembles(registry))

    def check(images: ImageSet) -> None:
        changes = changed_images(runs[0], images)
        if changes:
            raise DataError(
                f"since the run {runs[0].name} was trained {'; '.join(changes)}: an ensemble needs its split's images unchanged."
            )

    outcome = train(config, with_ensembles(registry), runs_dir, name, check=check)
    if options.by != "features":
        _compare(outcome.run, weights, validation)
    return outcome


def configuration(runs: Sequence[Run], options: Options, weights: Sequence[float], registry: Registry) -> RunConfig:
    """The configuration of an ensemble: images and precision of its first run, and the training of its head, if any."""
    first = runs[0].config()
    features = options.by == "features"
    values: dict[str, Any] = {key: first[key] for key in OF_THE_IMAGES if key in first}
    values |= {"image_size": int(runs[0].info()["image_size"]), "batch_size": first["batch_size"], "weights": "none"}
    values["model"] = {"name": NAME, "members": [str(run.path.resolve()) for run in runs], "by": options.by}
    if not features:
        fitted = options.by == "weighted" and options.weights in (None, FITTED)
        values["model"] |= {"weights": [float(weight) for weight in weights], "fitted": fitted}
    values |= {"augment": "none", "monitor": first["monitor"], "device": options.device, "epochs": 0}
    values |= {"freeze": features, "freeze_epochs": (options.epochs or EPOCHS) if features else 0}
    values["threshold"] = as_dict(options.rule or stored_rule(runs[0]))
    # a head alone trains at ten times the rate
    values["optimizer"] = {"name": "adam", "lr": (options.lr or RATE) / 10}
    return resolve([values], registry)


def _check_options(runs: Sequence[Run], options: Options) -> None:
    from zoo.ensemble.strategy import WAYS

    if options.by not in WAYS:
        raise unknown("way to join runs", options.by, WAYS)
    if options.by != "weighted" and options.weights is not None:
        raise UsageError(f"--weights goes with --by weighted, not with --by {options.by}.")
    if options.by != "features" and (options.epochs is not None or options.lr is not None):
        raise UsageError(f"--epochs and --lr are for the head of --by features; --by {options.by} trains nothing.")
    if options.weights is None or isinstance(options.weights, str):
        if options.weights not in (None, FITTED):
            raise UsageError(f"--weights are numbers, one per run, or '{FITTED}', not '{options.weights}'.")
        return
    given = np.asarray(options.weights, float)
    if len(given) != len(runs):
        raise UsageError(f"--weights has {len(given)} numbers for {len(runs)} runs: give one for each, in their order.")
    if not (np.isfinite(given) & (given > 0)).all():
        raise UsageError(
            f"--weights are numbers above 0, not {', '.join(f'{w:g}' for w in given)}; leave a run out instead."
        )


def _weights(runs: Sequence[Run], options: Options, validation: Sequence[Predictions]) -> list[float]:
    """The weight of each run; they sum to 1."""
    if options.by != "weighted":
        return [1 / len(runs)] * len(runs)
    if options.weights not in (None, FITTED):
        given = np.asarray(options.weights, float)
        return [float(weight) for weight in given / given.sum()]
    task, labels, logits = validation[0].task, validation[0].labels, _logits(validation)
    found = fit_weights(task, labels, logits)
    equal = log_loss(task, labels, combine(task, logits, [1 / len(runs)] * len(runs)))
    shown = ", ".join(f"{run.name} {weight:.3f}" for run, weight in zip(runs, found, strict=True))
    logger.info(
        f"Weights fitted to {len(labels):,} validation images: {shown} (log-loss there "
        f"{log_loss(task, labels, combine(task, logits, list(found))):.4f}, with equal weights {equal:.4f})"
    )
    logger.warning(
        "results on the validation images, intervals included, are now too optimistic: use those on the test images."
    )
    for run, weight in zip(runs, found, strict=True):
        if not weight:
            logger.warning(f"{run.name} has no weight and is left out of the network.")
    return [float(weight) for weight in found]


def _logits(several: Sequence[Predictions]) -> np.ndarray:
    """`(M, N, K)` of the same images, in the order of the first."""
    names = several[0].table["image"].astype(str)
    found = []
    for each in several:
        place = {image: row for row, image in enumerate(each.table["image"].astype(str))}
        missing = [name for name in names if name not in place]
        if missing or len(place) != len(names):
            raise DataError("the runs have predictions for different validation images; one of them was edited.")
        found.append(each.logits[[place[name] for name in names]])
    return np.stack(found)


def _compare(run: Run, weights: Sequence[float], validation: Sequence[Predictions]) -> None:
    """Log how far the network's predictions are from the members' saved ones combined."""
    own = run.predictions("val")
    logits = _logits([own, *validation])
    expected = Predictions(own.task, own.table, own.labels, combine(own.task, logits[1:], weights)).probabilities
    largest = float(np.abs(expected - own.probabilities).max())
    logger.info(f"Agreement: its validation probabilities are those of the runs combined, to {largest:.1g}")
    if largest > AGREEMENT:
        logger.warning(
            "this difference is large. One of the runs was trained on another kind of device or in lower precision, or its "
            "model.keras did not make its predictions."
        )
