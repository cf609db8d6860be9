"""`zoo train`: configuration in, run out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import catalogue
from zoo.cli.options import RUNS_DIR
from zoo.errors import UsageError

if TYPE_CHECKING:
    from zoo.engine.hosts import Cluster
    from zoo.engine.train import Outcome

# what may stand beside --resume: it changes no result, or asks for --allow-changed where it does
WITH_RESUME = {"resumed", "allow_changed", "checkpoint_every", "runs_dir", "as_json", "devices"}
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
PRECISIONS = click.Choice(["auto", "float32", "mixed_float16", "mixed_bfloat16"])


@click.command()
@click.option("--model", metavar="NAME", help="Network [default: mobilenetv3].  zoo list models")
@click.option("--task", metavar="TASK", help="binary, multilabel or multiclass [default: binary].")
@click.option("--data", metavar="NAME", help="Dataset [default: phantom, synthetic films].  zoo list datasets")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Where the dataset lies.")
@click.option("--loss", metavar="NAME", help="Loss [default: bce, cce for multiclass].  zoo list losses")
@click.option("--augment", metavar="NAME", help="Augmenter [default: standard].  zoo list augmenters")
@click.option("--recipe", metavar="NAME", help="Start from a named configuration.  zoo list recipes")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Start from a YAML file, such as RUN/config.yaml.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="SECTION.OPTION=VALUE",
    help="Any option, such as model.alpha=0.75.  zoo info NAME",
)
@click.option(
    "--weights",
    metavar="WHICH",
    help="imagenet, none, a .keras or .weights.h5 file, or a run [default: imagenet where published; none on phantom].",
)
@click.option("--freeze/--no-freeze", default=None, help="Train the head alone first, at ten times --lr, then all.")
@click.option("--freeze-epochs", type=int, metavar="N", help="Epochs of the head alone; implies --freeze [default: 1].")
@click.option(
    "--freeze-norm/--no-freeze-norm", default=None, help="Keep the batch normalisation of loaded weights as it is."
)
@click.option("--epochs", type=int, metavar="N", help="Epochs [default: 10].")
@click.option("--batch-size", type=int, metavar="N", help="Films per step [default: 32].")
@click.option("--lr", type=float, metavar="RATE", help="Highest learning rate [default: 1e-3, 2e-4 on loaded weights].")
@click.option("--optimizer", metavar="NAME", help="adam, adamw, adamax or sgd [default: adam].")
@click.option("--schedule", metavar="NAME", help="cosine, constant or plateau [default: cosine].")
@click.option("--image-size", type=int, metavar="PX", help="Height and width [default: the dataset's or the model's].")
@click.option("--limit", type=int, metavar="N", help="Use about N films, whole patients.")
@click.option("--seed", type=int, metavar="N", help="Of every random choice [default: 0].")
@click.option("--monitor", metavar="METRIC", help="val_auroc, val_auprc or val_loss picks the best epoch.")
@click.option("--patience", type=int, metavar="N", help="Stop after N epochs without a better value.")
@click.option("--precision", type=PRECISIONS, help="Arithmetic of the network; auto: as measured [default: float32].")
@click.option("--jit", type=click.Choice(["auto", "on", "off"]), help="Compile with XLA [default: auto].")
@click.option("--device", metavar="DEVICE", help="auto, cpu, gpu or gpu:N [default: auto].")
@click.option(
    "--devices",
    metavar="DEVICES",
    help="Several that share each batch: all GPUs, a number of them, or cpu:N to try it (all, N, cpu:N).",
)
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
@click.option(
    "--deterministic/--no-deterministic",
    default=None,
    help="Repeat to the last digit on a GPU too, where that is slower; a CPU always does.",
)
@click.option(
    "--allow-outside/--no-allow-outside",
    default=None,
    help="Read images that a table names outside of --root (data.allow_outside).",
)
@click.option("--drop-leaks/--no-drop-leaks", default=None, help="Set aside training films that also stand in test.")
@click.option("--run", "run_name", metavar="NAME", help="Name of the run [default: date, model, task].")
@RUNS_DIR
@click.option("--resume", "resumed", metavar="RUN", help="Go on with a run (a name or a path) that did not finish.")
@click.option(
    "--allow-changed", is_flag=True, help="With --resume: go on although films, software or device have changed."
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
    recipe: str | None,
    config_file: Path | None,
    sets: tuple[str, ...],
    root: Path | None,
    lr: float | None,
    run_name: str | None,
    runs_dir: Path,
    as_json: bool,
    hosts: str | None,
    host: int | None,
    coordinator: str | None,
    host_timeout: int,
    allow_outside: bool | None,
    **flags: Any,
) -> None:
    """Train a network and evaluate it on validation and test films.

    Without --data it trains on phantom: synthetic chest films that zoo makes itself, so that it works offline.

    \b
    zoo train --model mobilenetv3 --task binary
    zoo train --model densenet121 --task multilabel --data nih --root DIR
    zoo train --config runs/NAME/config.yaml        (repeats a run)
    zoo train --resume NAME                         (goes on after a kill, Ctrl-C or an error)
    """
    catalogue.warn()
    saving: dict[str, Any] = {"checkpoint_every": checkpoint_every}
    cluster = _cluster(ctx, hosts, host, coordinator, host_timeout)
    if resumed is not None:
        _refuse_configuration(ctx)
        saving |= {"allow_changed": allow_changed, "devices": flags.get("devices"), "cluster": cluster}
        _report(lambda: _resume(resumed, runs_dir, **saving), as_json)
        return
    if allow_changed:
        raise UsageError("--allow-changed goes with --resume RUN.")
    layers = _layers(recipe, config_file, sets, root, lr, runs_dir, flags)
    if allow_outside is not None:
        layers.append(_outside(layers, allow_outside))
    _report(lambda: _train(layers, runs_dir, run_name, cluster=cluster, **saving), as_json)


def _outside(layers: list[dict[str, Any]], allowed: bool) -> dict[str, Any]:
    """What --allow-outside means for the dataset chosen."""
    from zoo.config import resolve
    from zoo.registry import registry

    data = resolve(layers, registry()).data
    if not hasattr(data.options, "allow_outside"):
        flag = "--allow-outside" if allowed else "--no-allow-outside"
        raise UsageError(
            f"{flag}: the dataset '{data.name}' has no option data.allow_outside; it reads only what lies in its own layout. See "
            f"'zoo info {data.name}'."
        )
    return {"data": {"allow_outside": allowed}}


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


def _layers(
    recipe: str | None,
    config_file: Path | None,
    sets: tuple[str, ...],
    root: Path | None,
    lr: float | None,
    runs_dir: Path,
    flags: dict[str, Any],
) -> list[dict[str, Any]]:
    """The configuration as it was typed: the file below, the options above it."""
    from zoo.config import parse_set, read_file

    weights = flags.get("weights")
    if weights and not Path(weights).exists() and (runs_dir / weights / "config.yaml").is_file():
        flags["weights"] = str(runs_dir / weights)
    if flags.get("freeze_epochs") and flags.get("freeze") is None:
        flags["freeze"] = True
    layers: list[dict[str, Any]] = []
    if config_file is not None:
        layers.append(read_file(config_file))
    given = {key: value for key, value in flags.items() if value is not None}
    if recipe is not None:
        given["recipe"] = recipe
    layers.append(given)
    if root is not None:
        layers.append({"data": {"root": str(root)}})
    if lr is not None:
        layers.append({"optimizer": {"lr": lr}})
    layers.extend(parse_set(each) for each in sets)
    return layers


def _train(
    layers: list[dict[str, Any]], runs_dir: Path, run_name: str | None, cluster: Cluster | None, **saving: Any
) -> Outcome | None:
    from zoo.config import resolve
    from zoo.engine.train import train as train_run
    from zoo.registry import registry

    config = resolve(layers, registry())
    if (
        config.data.name == "phantom"
        and not any("data" in layer for layer in layers)
        and config.settings.recipe is None
    ):
        _say("No --data given: training on phantom, synthetic chest films made on the spot (zoo info phantom)")
    if cluster is not None:
        from zoo.engine.hosts import train_together

        return train_together(config, registry(), runs_dir, run_name, _say, cluster, **saving)
    return train_run(config, registry(), runs_dir, run_name, _say, **saving)


def _resume(reference: str, runs_dir: Path, cluster: Cluster | None, **options: Any) -> Outcome | None:
    from zoo.engine.resume import resume
    from zoo.registry import registry
    from zoo.run import Run

    if cluster is not None:
        from zoo.engine.hosts import resume_together

        try:
            run = Run.find(reference, runs_dir)
        except UsageError:
            if cluster.index == 0:
                raise
            run = None  # the first host alone needs it
        return resume_together(run, registry(), _say, cluster, **options)
    return resume(Run.find(reference, runs_dir), registry(), _say, **options)


def _refuse_configuration(ctx: click.Context) -> None:
    """A resumed run has its configuration: refuse every option that would change it."""
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in WITH_RESUME
        and parameter.name is not None
        and ctx.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(
            f"--resume goes on with the run's own configuration and takes no {', '.join(given)}. To train anew with other "
            "settings: zoo train --config RUN/config.yaml and the options."
        )


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


def _say(line: str) -> None:
    click.echo(line, err=True)
