"""Training a configuration into a run: films, network, phases, the best weights, predictions and results."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.config import RunConfig
from zoo.data.pipeline import Films, load_films
from zoo.data.records import SPLITS
from zoo.engine import devices
from zoo.engine.optimizers import PlateauOptions, build_optimizer
from zoo.errors import UsageError, ZooError
from zoo.evaluation import Evaluation, Predictions
from zoo.evaluation.study import Study, study
from zoo.files import write_text
from zoo.options import as_dict
from zoo.progress import Progress
from zoo.registry import Registry
from zoo.run import Run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """A finished run with what was measured on its validation and test films."""

    run: Run
    study: Study

    @property
    def validation(self) -> Evaluation:
        assert self.study.validation is not None  # a study of the test films has validation beside it
        return self.study.validation

    @property
    def test(self) -> Evaluation:
        return self.study.evaluation


def train(config: RunConfig, registry: Registry, runs_dir: Path, name: str | None, say: Say) -> Outcome:
    """Train `config` into a new run.

    Args:
        config: the resolved configuration.
        registry: where its strategies are.
        runs_dir: the folder of runs.
        name: the run's name; by date, model and task if None.
        say: receives lines for the user.

    Raises:
        ZooError: bad configuration or data, an unwritable place, or a training that diverged. What fails before the first
            step leaves no run behind; later failures leave the run with its checkpoints and the status "failed".
    """
    run = Run.create(runs_dir, name, config.model.name, config.settings.task)
    started = time.time()
    try:
        films = load_films(config, registry, say)
        _write_start(run, config, films, started)
        settings = config.settings
        with devices.session(settings.device, settings.precision, settings.seed) as device:
            say(f"Device: {device}, {settings.precision}")
            network = _build(config, registry, films, say)
            network.jit_compile = devices.jit_setting(settings.jit, device)
            fit(network, config, registry, films, run, say)
            outcome = _finish(network, config, films, run)
        run.update_info(status="complete", seconds=round(time.time() - started, 1))
    except BaseException:
        if (run.path / "metrics.csv").exists():
            run.update_info(status="failed", seconds=round(time.time() - started, 1))
            say(f"Not finished. The checkpoints so far are kept: --weights {run.path} starts from them.")
        else:
            shutil.rmtree(run.path, ignore_errors=True)
        raise
    return outcome


def _build(config: RunConfig, registry: Registry, films: Films, say: Say) -> Any:
    from zoo.engine.weights import build_network

    settings = config.settings
    model = registry.get("model", config.model.name)
    network, report = build_network(
        model, films.task, int(settings.image_size or 0), settings.weights, config.model.options
    )
    say(
        f"Model: {config.model.name}, {network.count_params():,} parameters, {settings.image_size}×{settings.image_size}"
    )
    if report.summary:
        say(report.summary)
    return network


def fit(network: Any, config: RunConfig, registry: Registry, films: Films, run: Run, say: Say) -> None:
    """Train in phases and leave the best epoch's weights in `network`.

    Raises:
        UsageError: `freeze` is asked of a network without a layer named backbone.
        ZooError: the loss is no longer finite.
    """
    from zoo.data.batches import TrainingBatches
    from zoo.engine.epochs import BEST, EpochCallback, Phase, ProgressCallback
    from zoo.engine.fused_norm import fused_batch_norm
    from zoo.engine.training import Trainer

    settings = config.settings
    loss = registry.get("loss", config.loss.name).build(films.task, films.counts("train"), config.loss.options)
    augment = registry.get("augmenter", config.augment.name).build(settings.image_size, config.augment.options)
    rows = films.of("train")
    # labels by row of the store, so that one index serves both
    labels = _by_store_row(films)
    batches = TrainingBatches(films.store.images, labels, films.rows[rows], settings.batch_size, settings.seed)
    trainer = Trainer(network, films.task, loss, augment, settings.seed)
    frozen = settings.freeze_epochs if settings.freeze else 0
    phases = [Phase("head", 0, frozen)] if frozen else []
    phases.append(Phase("all", frozen, settings.epochs))
    plateau = config.schedule.options if isinstance(config.schedule.options, PlateauOptions) else None
    total = (frozen + settings.epochs) * batches.steps * settings.batch_size
    with fused_batch_norm(network) as fused, Progress("Training", total) as progress:
        callback = EpochCallback(
            trainer,
            films,
            batches,
            run,
            monitor=settings.monitor,
            patience=settings.patience,
            plateau=plateau,
            jit=network.jit_compile,
            say=say,
            progress=progress,
        )
        for phase in phases:
            _freeze(network, phase.name == "head", settings.freeze_norm)
            callback.begin(phase)
            _fit_phase(trainer, phase, config, batches, [ProgressCallback(progress, settings.batch_size), callback])
    network.load_weights(run.checkpoints / BEST)
    run.update_info(best_epoch=callback.best_epoch, monitor=settings.monitor, fused_norm_layers=fused)


def _fit_phase(trainer: Any, phase: Any, config: RunConfig, batches: Any, callbacks: list[Any]) -> None:
    from zoo.engine.feed import training_feed

    settings = config.settings
    # the head alone trains at a constant rate ten times that of the whole network: it starts from nothing
    head = phase.name == "head"
    schedule = "constant" if head else config.schedule.name
    optimizer = build_optimizer(
        config.optimizer.name,
        config.optimizer.options,
        schedule,
        config.schedule.options,
        phase.epochs * batches.steps,
        settings.precision,
        scale=10.0 if head else 1.0,
    )
    trainer.compile(optimizer=optimizer, jit_compile=trainer.network.jit_compile)
    trainer.fit(
        training_feed(batches, phase.first_epoch, phase.epochs),
        initial_epoch=phase.first_epoch,
        epochs=phase.first_epoch + phase.epochs,
        steps_per_epoch=batches.steps,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )


def _freeze(network: Any, backbone: bool, norm: bool) -> None:
    """Freeze or thaw the backbone, and with `norm` its batch normalisation in any case."""
    import keras

    if "backbone" not in [layer.name for layer in network.layers]:
        if backbone or norm:
            raise UsageError(f"freezing needs a network with a layer named 'backbone'; {network.name} has none.")
        return
    network.get_layer("backbone").trainable = not backbone
    if norm:
        for layer in network.get_layer("backbone")._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def _by_store_row(films: Films) -> Any:
    import numpy as np

    labels = np.full((len(films.store.images), films.labels.shape[1]), np.nan, np.float32)
    labels[films.rows] = films.labels
    return labels


def _write_start(run: Run, config: RunConfig, films: Films, started: float) -> None:
    write_text(run.path / "config.yaml", config.to_yaml())
    counts = {name: films.counts(name) for name in SPLITS}
    run.write_json(
        "data.json",
        {
            "dataset": config.data.name,
            "root": config.root,
            "fingerprint": films.store.fingerprint,
            "store": str(films.store.path),
            "split": "published" if films.official_split else "drawn",
            "films": {name: len(films.of(name)) for name in SPLITS},
            "patients": {n: int(films.table.loc[films.table["split"] == n, "patient"].nunique()) for n in SPLITS},
            "positive": {n: dict(zip(films.task.labels, c.positive.tolist(), strict=True)) for n, c in counts.items()},
            "set_aside": len(films.set_aside),
            "notes": list(films.notes),
        },
    )
    digests = films.store.films["digest"].to_numpy()[films.rows]
    labels = {f"label:{name}": films.labels[:, k] for k, name in enumerate(films.task.labels)}
    films.table.assign(digest=digests, **labels).to_csv(run.path / "films.csv", index=False)
    films.set_aside.to_csv(run.path / "set_aside.csv", index=False)
    run.update_info(
        status="running",
        task=films.task.kind,
        labels=list(films.task.labels),
        model=config.model.name,
        image_size=config.settings.image_size,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        command=shlex.join(["zoo", *sys.argv[1:]]),
        versions=devices.versions(),
    )


def _finish(network: Any, config: RunConfig, films: Films, run: Run) -> Outcome:
    """Save the network, predict validation and test, choose thresholds on validation and measure both."""
    from zoo.files import replacing

    with replacing(run.model_file) as partial:
        network.save(partial)
    predictions = {split: predict_films(network, films, split, config.settings.batch_size) for split in ("val", "test")}
    for split, each in predictions.items():
        each.save(run.predictions_file(split))
    outcome = Outcome(run, study(run, "test", rule=config.settings.threshold))
    run.update_info(
        thresholds=outcome.test.thresholds,
        threshold_rule=as_dict(config.settings.threshold),
        threshold_notes=list(outcome.study.threshold_notes),
    )
    outcome.study.save(run.path)
    outcome.validation.save(run.path)
    return outcome


def predict_films(network: Any, films: Films, split: str, batch_size: int) -> Predictions:
    """Run the network over one split of prepared films.

    Raises:
        ZooError: the films are not of the network's input size.
    """
    from zoo.engine.fused_norm import fused_batch_norm
    from zoo.engine.inference import predict_logits

    rows = films.of(split)
    if tuple(network.input_shape[1:3]) != films.store.images.shape[1:]:
        raise ZooError(
            f"the network takes {network.input_shape[1:3]} pixels, the films are {films.store.images.shape[1:]}."
        )
    with fused_batch_norm(network):
        logits = predict_logits(network, films.store.images, films.rows[rows], batch_size)
    return Predictions(films.task, films.table.iloc[rows].reset_index(drop=True), films.labels[rows], logits)
