"""`zoo train`: configuration in, run out."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.configuration import configuration, configured, refuse_beside_resume
from zoo.cli.options import AS_JSON, CHECKPOINT_EVERY, RUNS_DIR, TRACK, command
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.engine.hosts import Cluster
    from zoo.inference.training import Outcome

logger = logging.getLogger(__name__)

# what may stand beside --resume: it changes no result, or asks for --allow-changed where it does
WITH_RESUME = {"resumed", "allow_changed", "checkpoint_every", "runs_dir", "as_json", "devices", "track"}
WITH_RESUME |= {"hosts", "host", "coordinator", "host_timeout"}
# ends at once: what JAX would do at the end of a process waits for hosts that may be gone
SUPERVISED = """
import os, sys
from zoo.cli.main import main
code = 1
try:
    main()
except SystemExit as end:
    code = end.code if isinstance(end.code, int) else int(end.code is not None)
finally:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
"""


@command()
@configuration
@click.option(
    "--hosts",
    envvar="ZOO_HOSTS",
    metavar="N",
    help="Train on N hosts (JAX); auto: read it from Slurm, Open MPI or Kubernetes.",
)
@click.option(
    "--host",
    type=click.IntRange(min=0),
    envvar="ZOO_HOST",
    metavar="I",
    help="With --hosts: index of this host, from 0.",
)
@click.option(
    "--coordinator", envvar="ZOO_COORDINATOR", metavar="ADDRESS:PORT", help="With --hosts: address of host 0."
)
@click.option(
    "--host-timeout",
    type=click.IntRange(min=5),
    default=60,
    show_default=True,
    envvar="ZOO_HOST_TIMEOUT",
    metavar="SECONDS",
    help="With --hosts: end the run when a host has not answered for so long.",
)
@click.option("--run", "run_name", metavar="NAME", help="Name of the run [default: date, model, task].")
@RUNS_DIR
@TRACK
@click.option("--resume", "resumed", metavar="RUN", help="Continue a run (a name or a path) that did not finish.")
@click.option(
    "--allow-changed", is_flag=True, help="With --resume: continue even if images, software or device have changed."
)
@CHECKPOINT_EVERY
@AS_JSON
@click.pass_context
def train(
    ctx: click.Context,
    resumed: str | None,
    allow_changed: bool,
    checkpoint_every: int | None,
    run_name: str | None,
    runs_dir: Path,
    track: tuple[str, ...],
    as_json: bool,
    hosts: str | None,
    host: int | None,
    coordinator: str | None,
    host_timeout: int,
    **flags: Any,
) -> None:
    """Train a model and evaluate it on validation and test images.

    Writes a run folder (runs/NAME) with the trained model, its checkpoints, predictions and results, which the other commands
    read. Without --data it trains on phantom: synthetic chest X-rays that zoo draws itself, so that it works offline.

    \b
    zoo train --model mobilenetv3 --task binary
    zoo train --model densenet121 --task multilabel --data nih --root DIR
    zoo train --config runs/NAME/config.yaml        (repeats a run)
    zoo train --resume NAME                         (goes on after a kill, Ctrl-C or an error)
    """
    from zoo.cli.results import report_training

    saving: dict[str, Any] = {"checkpoint_every": checkpoint_every, "track": track}
    cluster = _cluster(ctx, hosts, host, coordinator, host_timeout)
    if resumed is not None:
        refuse_beside_resume(
            ctx,
            WITH_RESUME,
            "the run's own configuration",
            "To train anew with other settings: zoo train --config RUN/config.yaml and the options.",
        )
        saving |= {"allow_changed": allow_changed, "devices": flags.get("devices"), "cluster": cluster}
        report_training(lambda: _resume(resumed, runs_dir, **saving), as_json)
        return
    if allow_changed:
        raise UsageError("--allow-changed goes with --resume RUN.")
    layers = configured(runs_dir, flags)
    report_training(lambda: _train(layers, runs_dir, run_name, cluster=cluster, **saving), as_json)


def _cluster(
    ctx: click.Context, hosts: str | None, host: int | None, coordinator: str | None, timeout: int
) -> Cluster | None:
    """The hosts, where there are several; then the training itself is done by a process that this one watches over."""
    if hosts is None:
        if host is not None or coordinator is not None:
            raise UsageError("--host and --coordinator go with --hosts N.")
        return None
    from zoo.engine.hosts import parse_cluster
    from zoo.engine.supervisor import supervise, supervised

    cluster = parse_cluster(hosts, host, coordinator, timeout)
    if not supervised():
        ctx.exit(supervise([sys.executable, "-c", SUPERVISED, *sys.argv[1:]], timeout))
    return cluster


def _train(
    layers: list[dict[str, Any]],
    runs_dir: Path,
    run_name: str | None,
    cluster: Cluster | None,
    track: tuple[str, ...],
    **saving: Any,
) -> Outcome | None:
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry
    from zoo.engine.tracking import observers
    from zoo.ensemble.strategy import refuse_to_train
    from zoo.inference import training

    refuse_to_train(layers)
    config = resolve(layers, registry())
    if (
        config.data.name == "phantom"
        and not any("data" in layer for layer in layers)
        and config.settings.recipe is None
    ):
        logger.info("No --data given: training on phantom, synthetic chest X-rays made on the spot (zoo info phantom)")
    saving["observers"] = observers(track, registry())
    if cluster is not None:
        return training.train_together(config, registry(), runs_dir, run_name, cluster, **saving)
    return training.train(config, registry(), runs_dir, run_name, **saving)


def _resume(
    reference: str, runs_dir: Path, cluster: Cluster | None, track: tuple[str, ...], **options: Any
) -> Outcome | None:
    from zoo.core.registry import registry
    from zoo.engine.tracking import RECORDED, observers
    from zoo.ensemble.strategy import with_ensembles
    from zoo.inference import training
    from zoo.runs.missing import demand_plugins
    from zoo.runs.run import Run

    run: Run | None = None
    try:
        run = Run.find(reference, runs_dir)
        demand_plugins(run, registry())
        options["observers"] = observers(track or run.info().get(RECORDED, ()), registry())
    except UsageError:
        if cluster is None or cluster.index == 0:
            raise  # of several hosts the first alone needs the run
    if cluster is not None:
        return training.resume_together(run, registry(), cluster, **options)
    assert run is not None
    return training.resume(run, with_ensembles(registry()), **options)
