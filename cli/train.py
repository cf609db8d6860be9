"""`zoo train`: configuration in, run out."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import catalogue
from zoo.cli.configuration import configuration, configured, refuse_beside_resume
from zoo.cli.options import RUNS_DIR, TRACK
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


@click.command()
@configuration
@click.option(
    "--hosts",
    envvar="ZOO_HOSTS",
    metavar="N",
    help="Train on N hosts (JAX); auto: as Slurm, Open MPI or Kubernetes say.",
)
@click.option(
    "--host", type=click.IntRange(min=0), envvar="ZOO_HOST", metavar="I", help="With --hosts: this one, from 0."
)
@click.option(
    "--coordinator", envvar="ZOO_COORDINATOR", metavar="ADDRESS:PORT", help="With --hosts: where host 0 is reached."
)
@click.option(
    "--host-timeout",
    type=click.IntRange(min=5),
    default=60,
    show_default=True,
    envvar="ZOO_HOST_TIMEOUT",
    metavar="SECONDS",
    help="With --hosts: one not heard of for so long is lost, and the run ends.",
)
@click.option("--run", "run_name", metavar="NAME", help="Name of the run [default: date, model, task].")
@RUNS_DIR
@TRACK
@click.option("--resume", "resumed", metavar="RUN", help="Go on with a run (a name or a path) that did not finish.")
@click.option(
    "--allow-changed", is_flag=True, help="With --resume: go on although images, software or device have changed."
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Save after every N steps too; changes no result [default: after every epoch].",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
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
    """Train a network and evaluate it on validation and test images.

    Without --data it trains on phantom: synthetic chest X-rays that zoo makes itself, so that it works offline.

    \b
    zoo train --model mobilenetv3 --task binary
    zoo train --model densenet121 --task multilabel --data nih --root DIR
    zoo train --config runs/NAME/config.yaml        (repeats a run)
    zoo train --resume NAME                         (goes on after a kill, Ctrl-C or an error)
    """
    catalogue.warn()
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
        _report(lambda: _resume(resumed, runs_dir, **saving), as_json)
        return
    if allow_changed:
        raise UsageError("--allow-changed goes with --resume RUN.")
    layers = configured(runs_dir, flags)
    _report(lambda: _train(layers, runs_dir, run_name, cluster=cluster, **saving), as_json)


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
    from zoo.runs.run import Run

    run: Run | None = None
    try:
        run = Run.find(reference, runs_dir)
        options["observers"] = observers(track or run.info().get(RECORDED, ()), registry())
    except UsageError:
        if cluster is None or cluster.index == 0:
            raise  # of several hosts the first alone needs the run
    if cluster is not None:
        return training.resume_together(run, registry(), cluster, **options)
    assert run is not None
    return training.resume(run, with_ensembles(registry()), **options)


def _report(work: Callable[[], Outcome | None], as_json: bool) -> None:
    """Print what came out, if it is for this host to say; after Ctrl-C or SIGTERM, which were answered, end with the code
    that shells expect.
    """
    from zoo.engine.signals import Interrupted

    try:
        outcome = work()
    except Interrupted as stop:
        raise click.exceptions.Exit(stop.exit_code) from stop
    if outcome is None:
        return
    if as_json:
        results = {"val": outcome.validation.to_dict(), "test": outcome.test.to_dict()}
        click.echo(json.dumps({"run": str(outcome.run.path), **results}, indent=2, allow_nan=False))
        return
    from zoo.cli.results import print_outcome

    print_outcome(outcome.run, outcome.study)
