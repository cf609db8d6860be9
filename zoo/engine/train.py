"""Training: from a configuration to a run with network, predictions and results."""

from __future__ import annotations

import hashlib
import json
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.config.resolve import resolve
from zoo.config.run_config import RunConfig
from zoo.config.weights import weights_file
from zoo.core.cells import csv_text
from zoo.core.errors import UnwritableRun, UsageError
from zoo.core.files import replacing, write_text
from zoo.core.logs import only_warnings
from zoo.core.observers import Observer, Pruned
from zoo.core.options import as_dict
from zoo.core.records import SPLITS
from zoo.core.registry import Registry
from zoo.data.pipeline import ImageSet, load_images
from zoo.engine import devices, supervisor
from zoo.engine.changes import (
    changed_images,
    changed_sources,
    changed_weights,
    images_table,
    plugins_of,
    software,
    source_digests,
    weights_digest,
)
from zoo.engine.job import Finish, Job
from zoo.engine.predict import predict_images
from zoo.engine.rehearsal import rehearse
from zoo.engine.replicas import DeviceContext, device_context
from zoo.engine.signals import Signals
from zoo.evaluation import Evaluation
from zoo.evaluation.serialise import to_plain
from zoo.nn.keras_compat import settings as keras_settings
from zoo.runs.results import Results, evaluate_run
from zoo.runs.run import Run

if TYPE_CHECKING:
    from zoo.core.contracts import LabelCounts, Model
    from zoo.core.tasks import Task
    from zoo.engine.checkpoints import Checkpoint
    from zoo.engine.process_group import ProcessGroup

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """A finished run with what was measured on its validation and test images."""

    run: Run
    results: Results

    @property
    def validation(self) -> Evaluation:
        assert self.results.validation is not None  # which the results on the test images have beside them
        return self.results.validation

    @property
    def test(self) -> Evaluation:
        return self.results.evaluation


def train(
    config: RunConfig,
    registry: Registry,
    runs_dir: Path,
    name: str | None,
    *,
    finish: Finish | None,
    checkpoint_every: int | None = None,
    group: ProcessGroup | None = None,
    observers: Sequence[Observer] = (),
    check: Callable[[ImageSet], None] | None = None,
) -> Outcome:
    """Train `config` into a new run.

    Args:
        config: the resolved configuration.
        registry: where its strategies are.
        runs_dir: the folder of runs.
        name: the run's name; by date, model and task if None.
        finish: called with the trained network after its predictions are saved; `zoo.inference.training.train` passes
            the one that every run needs.
        checkpoint_every: steps between checkpoints, in addition to one after every epoch; kept in run.json, since it
            changes no result.
        group: the process group of several hosts, of which this must be the first (`zoo.engine.hosts`).
        observers: notified of the start, of every epoch and of the end.
        check: called with the images before anything is built; may raise.

    Raises:
        Pruned: an observer stopped it; the run is kept with the status "pruned".
        ZooError: bad configuration or data, an unwritable folder, or a training that diverged. A failure before the
            first checkpoint removes the run; a later one keeps it with the status "failed".
        Interrupted: Ctrl-C or SIGTERM. The run is kept with the status "interrupted", and can be resumed.
    """
    from zoo.engine.precision import with_precision

    devices.split_cpu(config.settings.devices)
    config, line = with_precision(config)
    if line:
        logger.info(line)
    run = Run.create(runs_dir, name, config.model.name, config.settings.task)
    job = Job(run, config, registry, finish, checkpoint_every, None, group, observers, check)
    try:
        with run.locked():
            _record_request(job)
            return carry_out(job)
    except Exception as error:
        if not _worth_keeping(run, error):
            shutil.rmtree(run.path, ignore_errors=True)
        raise


def _record_request(job: Job) -> None:
    """Record what was asked for and how; from then on a killed run can be resumed."""
    run, config = job.run, job.config
    run.update_info(
        status="preparing",
        model=config.model.name,
        image_size=config.settings.image_size,
        started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        command=shlex.join(["zoo", *sys.argv[1:]]),
        checkpoint_every=job.checkpoint_every,
        versions=software(config, job.registry),
        plugins=plugins_of(config, job.registry),
    )
    write_text(run.path / "config.yaml", config.to_yaml())


def carry_out(job: Job) -> Outcome:
    """Prepare, train and evaluate, from the beginning or from the newest checkpoint.

    Raises:
        ZooError, Interrupted: as `train`; a resumed run is never removed.
    """
    from zoo.engine.checkpoints import CheckpointFolder

    run, settings = job.run, job.config.settings
    errors = job.group.lost_host_errors(job.run) if job.group else nullcontext()
    with Signals() as signals, _recorded(job), errors:
        if job.group:
            _broadcast_job(job, job.group)
        begun = (run.path / "data.json").exists()
        if not begun:
            _check_weights(settings.weights)
        if not job.group:
            rehearse(job.config, job.registry)
        images = load_images(job.config, job.registry)
        if job.check:
            job.check(images)
        if job.changes and begun:
            job.changes.accept(changed_images(run, images))
        folder = CheckpointFolder(run.checkpoints)
        checkpoint = folder.load()
        if job.group:
            checkpoint = _same_start(job.group, images, checkpoint)
        with device_context(settings, job.group) as context:
            logger.info(
                f"Device: {context.line}, {settings.precision}{', deterministic' if settings.deterministic else ''}"
            )
            if job.changes:
                _check_resumed(job, context.line, checkpoint, begun)
            network = _build(job, images)
            network.jit_compile = context.jit(settings.jit)
            _write_start(job, images, context)
            _fit(job, network, images, signals, folder, checkpoint, context)
            if context.replicas == 1:
                return _finish(job, network, images)
        # what remains is the work of one device
        with devices.session(settings.one_device, settings.precision, settings.seed):
            return _finish(job, _on_one_device(network, run), images)


def train_worker(registry: Registry, group: ProcessGroup) -> None:
    """Train the job that the first host broadcasts: the same steps, without writing anything.

    Raises:
        ZooError: as `train`; or this host's images are not those of the first.
        Interrupted: a host received SIGINT or SIGTERM.
    """
    from zoo.engine.checkpoints import CheckpointFolder

    job = _receive_job(registry, group)
    settings = job.config.settings
    with Signals() as signals, group.lost_host_errors(job.run):
        logger.info(f"Host {group.index} of {group.count}: training the run {job.run.name} of host 0, which reports")
        images = load_images(job.config, registry)
        checkpoint = _same_start(group, images, None)
        with device_context(settings, group) as context, only_warnings():  # the first host reports
            network = _build(job, images)
            network.jit_compile = context.jit(settings.jit)
            _fit(job, network, images, signals, CheckpointFolder(job.run.checkpoints), checkpoint, context)


def _broadcast_job(job: Job, group: ProcessGroup) -> None:
    supervisor.report(job.run.path)
    values = {"config": job.config.to_dict(), "run": str(job.run.path), "every": job.checkpoint_every}
    group.put("job", json.dumps(values))


def _receive_job(registry: Registry, group: ProcessGroup) -> Job:
    """The job of the first host."""
    values = json.loads(group.get("job"))
    config = resolve([values["config"]], registry)
    return Job(Run(Path(values["run"])), config, registry, None, values["every"], group=group)


def _same_start(group: ProcessGroup, images: ImageSet, checkpoint: Checkpoint | None) -> Checkpoint | None:
    """Check that all hosts have the same images in the same order, and return the first host's checkpoint."""
    from zoo.engine.checkpoints import pack, unpack

    group.check_equal("images", hashlib.blake2b(images_table(images).encode(), digest_size=16).hexdigest())
    data = group.broadcast("checkpoint", b"" if checkpoint is None else pack(checkpoint))
    return unpack(data) if data else None


def _fit(job: Job, *arguments: Any) -> None:
    from zoo.engine.fit import fit  # Keras: once `devices` has loaded it without its messages

    fit(job, *arguments)


def _on_one_device(network: Any, run: Run) -> Any:
    """The network reloaded on one device."""
    from zoo.engine.load import load_network

    with replacing(run.model_file) as partial:
        network.save(partial)
    return load_network(run)


@contextmanager
def _recorded(job: Job) -> Iterator[None]:
    """Record the run's status and duration; after an early end log how to resume."""
    run, started = job.run, time.monotonic()
    spent = float(run.info().get("seconds") or 0)

    def record(status: str) -> None:
        try:
            run.update_info(seconds=round(spent + time.monotonic() - started, 1), status=status)
        finally:
            for each in job.observers:
                each.on_end(status)

    try:
        yield
        record("complete")
    except KeyboardInterrupt:
        with suppress(OSError):
            record("interrupted")
        logger.warning(f"stopped; go on with: zoo train --resume {run.reference}")
        raise
    except Pruned:
        record("pruned")
        raise
    except UsageError:
        raise  # nothing was done
    except Exception as error:
        if _worth_keeping(run, error):
            with suppress(OSError):
                record("failed")
            logger.warning(f"not finished, what was saved is kept; go on with: zoo train --resume {run.reference}")
        raise


def _worth_keeping(run: Run, error: Exception) -> bool:
    """Whether there is a checkpoint to resume from, or only the disk kept it from being written."""
    return isinstance(error, UnwritableRun) or any(run.checkpoints.glob("checkpoint-*.npz"))


def _check_resumed(job: Job, device: str, checkpoint: Checkpoint | None, begun: bool) -> None:
    """Check for changes of the device, the network's source files and, without a checkpoint, its initial weights."""
    assert job.changes is not None
    before = job.run.info().get("device")
    job.changes.accept([f"the device changed from {before} to {device}"] if before not in (None, device) else [])
    if not begun:
        return
    data = job.run.data()
    job.changes.accept(changed_sources(data, _model(job), job.config.model.options))
    if checkpoint is None:
        job.changes.accept(changed_weights(data, job.config.settings.weights))


def _model(job: Job) -> Model:
    return job.registry.get("model", job.config.model.name)


def _check_weights(weights: str | None) -> None:
    """Refuse a damaged file of initial weights before images are prepared."""
    from zoo.engine.weights_files import check_file

    if weights is not None and Path(weights).expanduser().exists():
        check_file(weights_file(weights))


def _build(job: Job, images: ImageSet) -> Any:
    from zoo.engine.weights import build_network

    config, settings = job.config, job.config.settings
    network, report = build_network(
        _model(job), images.task, int(settings.image_size or 0), settings.weights, config.model.options
    )
    size = f"{settings.image_size}×{settings.image_size}"
    logger.info(f"Model: {config.model.name}, {network.count_params():,} parameters, {size}")
    if report.summary:
        logger.info(report.summary)
    return network


def _write_start(job: Job, images: ImageSet, context: DeviceContext) -> None:
    """Record the data of the run. data.json is written last: where it exists, the other files are complete."""
    run, config = job.run, job.config
    run.update_info(
        status="running",
        task=images.task.kind,
        labels=list(images.task.labels),
        device=context.line,
        devices=context.replicas,
        hosts=context.hosts,
        keras=keras_settings(),
    )
    write_text(run.path / "images.csv", images_table(images))
    write_text(run.path / "set_aside.csv", csv_text(images.set_aside))
    counts = {name: images.count_labels(name) for name in SPLITS}
    run.write_json(
        "data.json",
        {
            "dataset": config.data.name,
            "root": config.root,
            "fingerprint": images.store.fingerprint,
            "store": str(images.store.path),
            "split": "published" if images.official_split else "drawn",
            "images": {name: len(images.of(name)) for name in SPLITS},
            "patients_known": images.patients_known,
            "patients": {n: _patients(images, n) for n in SPLITS},
            "positive": {n: dict(zip(images.task.labels, c.positive.tolist(), strict=True)) for n, c in counts.items()},
            "certain": None if images.certain is None else _by_label(images.task, images.certain),
            "set_aside": len(images.set_aside),
            "where": config.settings.where,
            "filtered_out": images.filtered_out,
            "limited_out": images.limited_out,
            "balance": None if images.balance is None else images.balance.to_dict(),
            "notes": list(images.notes),
            "weights_digest": weights_digest(config.settings.weights),
            "sources": source_digests(_model(job), config.model.options),
        },
    )


def _patients(images: ImageSet, split: str) -> int | None:
    """How many patients a split has; None where they are not known."""
    return int(images.table["patient"].iloc[images.of(split)].nunique()) if images.patients_known else None


def _by_label(task: Task, counts: LabelCounts) -> dict[str, dict[str, int]]:
    return {
        name: dict(zip(task.labels, getattr(counts, name).tolist(), strict=True)) for name in ("positive", "negative")
    }


def _finish(job: Job, network: Any, images: ImageSet) -> Outcome:
    """Save the network, predict validation and test images, choose thresholds on validation, evaluate both."""
    run, settings = job.run, job.config.settings
    with replacing(run.model_file) as partial:
        network.save(partial)
    for split in ("val", "test"):
        run.save_predictions(split, predict_images(network, images, split, settings.batch_size))
    if job.finish is not None:
        job.finish(network, images, run, settings.batch_size)
    outcome = Outcome(run, evaluate_run(run, "test", rule=settings.threshold))
    run.update_info(
        thresholds=outcome.test.thresholds,
        threshold_rule=as_dict(settings.threshold),
        threshold_notes=to_plain(outcome.results.threshold_notes),
    )
    outcome.results.save(run.path)
    outcome.validation.save(run.path)
    return outcome
