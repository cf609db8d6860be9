"""`zoo sweep`: many trainings of one configuration, some settings varying, and one table."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.configuration import configuration, configured, refuse_beside_resume
from zoo.cli.options import AS_JSON, CHECKPOINT_EVERY, RUNS_DIR, TRACK, chosen_metrics, command, metrics_option
from zoo.cli.printing import plain_console, print_json
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.search.folder import Definition, Folder
    from zoo.search.trials import Results

logger = logging.getLogger(__name__)

# what may stand beside --resume: it is not part of what the sweep was asked for
WITH_RESUME = {"resumed", "runs_dir", "as_json", "retry_failed", "take_over", "storage", "checkpoint_every"}


@command()
@click.argument("name", required=False)
@configuration
@click.option(
    "--over",
    "overs",
    multiple=True,
    metavar="KEY=V1,V2,…",
    help="Vary a setting: model=vgg16,resnet50 or augment=none,standard; with --trials also a range: "
    "model.dropout=0:0.5, batch_size=8:64:8, optimizer.lr=log:1e-5:1e-2. Once per setting.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    metavar="N",
    help="Search with N trials (Optuna) instead of trying all combinations.",
)
@metrics_option(
    "Validation metric that picks the best trial; given again, metrics of the test images to show beside it."
)
@click.option(
    "--prune/--no-prune",
    default=None,
    help="With --trials: stop trials that fall behind on validation [default: if the metric is known per epoch].",
)
@click.option(
    "--storage",
    envvar="ZOO_SWEEP_STORAGE",
    metavar="URL",
    help="With --trials: a database that several machines share [default: an SQLite file in the sweep's folder].",
)
@click.option(
    "--take-over", is_flag=True, help="With --storage: continue the trials of machines that are gone for good."
)
@click.option("--retry-failed", is_flag=True, help="Grid only: run failed trials again.")
@click.option("--resume", "resumed", metavar="NAME", help="Continue a sweep, as repeating its command would.")
@CHECKPOINT_EVERY
@RUNS_DIR
@TRACK
@AS_JSON
@click.pass_context
def sweep(
    ctx: click.Context,
    name: str | None,
    overs: tuple[str, ...],
    resumed: str | None,
    storage: str | None,
    take_over: bool,
    retry_failed: bool,
    runs_dir: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Train many configurations, as a grid or a search, and rank them in one table.

    Each trial is an ordinary run, NAME-01, NAME-02 and so on, that zoo evaluate, compare and predict take. The best is chosen
    on validation, never on test. After a kill the same command continues and skips finished trials; values added to a grid are
    trained in addition.

    \b
    zoo sweep first --over model=mobilenetv3,densenet121 --over augment=none,standard
    zoo sweep tuned --trials 30 --over optimizer.lr=log:1e-5:1e-2 --over loss=bce,focal
    zoo sweep --resume first
    """
    from zoo.search.folder import Folder

    if (name is None) == (resumed is None):
        raise UsageError("name the sweep: zoo sweep NAME --over KEY=V1,V2, or zoo sweep --resume NAME.")
    folder = Folder(runs_dir, name or resumed or "")
    folder.check_name()
    if resumed is not None:
        refuse_beside_resume(
            ctx,
            WITH_RESUME,
            "what the sweep was asked for",
            "To add values, give the whole command with them.",
        )
        definition = _kept(folder, storage, options["checkpoint_every"])
    else:
        definition = _defined(folder, overs, storage, options)
    if (storage or take_over) and definition.trials is None:
        raise UsageError("--storage and --take-over are for a search: give --trials N.")
    if retry_failed and definition.trials is not None:
        raise UsageError(
            "--retry-failed is for a grid: a search learns from what failed; give it more --trials instead."
        )
    results = _run(folder, definition, storage, take_over=take_over, retry_failed=retry_failed)
    if as_json:
        print_json(results.to_dict())
    else:
        _print(results, folder)
    if not results.complete:
        ctx.exit(1)


def _defined(folder: Folder, overs: tuple[str, ...], storage: str | None, options: dict[str, Any]) -> Definition:
    """What the command line asks for."""
    from zoo.core.registry import registry
    from zoo.engine.tracking import parse
    from zoo.search.folder import Definition
    from zoo.search.process import without_passwords
    from zoo.search.space import given_twice, parse_overs
    from zoo.search.trials import epoch_column

    trials, metrics, prune = (options.pop(key) for key in ("trials", "metrics", "prune"))
    metric, also = chosen_metrics(metrics)
    every, track = options.pop("checkpoint_every"), options.pop("track")
    parse(track, registry())
    dimensions = parse_overs(overs, ranges=trials is not None)
    if prune is not None and trials is None:
        raise UsageError("--prune and --no-prune are for a search: give --trials N.")
    layers = configured(folder.runs_dir, options)
    files = int(options.get("config_file") is not None)
    contradiction = given_twice(layers[files:], dimensions)
    if contradiction is not None:
        raise contradiction
    return Definition(
        name=folder.name,
        over=[str(each) for each in dimensions],
        below=layers[:files],
        above=layers[files:],
        metric=metric,
        also=list(also),
        trials=trials,
        prune=epoch_column(metric) is not None if prune is None else prune,
        track=list(track),
        storage=without_passwords([storage])[0] if storage else None,
        checkpoint_every=every,
    )


def _kept(folder: Folder, storage: str | None, every: int | None) -> Definition:
    """What the sweep was asked for when it began."""
    from dataclasses import replace

    definition, _ = folder.require()
    if definition.storage is not None and storage is None:
        raise UsageError(
            f"the sweep '{folder.name}' keeps its trials in {definition.storage}: give --storage URL, or set ZOO_SWEEP_STORAGE."
        )
    return replace(definition, checkpoint_every=every or definition.checkpoint_every)


def _run(
    folder: Folder, definition: Definition, storage: str | None, *, take_over: bool, retry_failed: bool
) -> Results:
    """Check everything, then train; after Ctrl-C or SIGTERM, say how to go on and end with the code shells expect."""
    from zoo.core.registry import registry
    from zoo.engine.signals import Interrupted
    from zoo.search import grid, tuner
    from zoo.search.process import Processes, Stop, without_passwords
    from zoo.search.runner import Runner

    with Stop() as stop:
        runner = Runner(folder, definition, Processes(stop, without_passwords(sys.argv[1:])), stop)
        try:
            if definition.trials is None:
                trials = grid.plan(definition, folder, registry())
                with folder.locked(shared=False):
                    return grid.run(runner, trials, retry_failed=retry_failed)
            config = tuner.check(definition, registry())
            tuner.import_optuna()
            tuner.check_folder(folder, definition)
            with folder.locked(shared=storage is not None):
                search = tuner.Search(folder, definition, storage, config)
                return tuner.run(runner, search, registry(), take_over=take_over)
        except Interrupted as interrupted:
            logger.warning(f"stopped; go on with: zoo sweep --resume {folder.reference}")
            raise click.exceptions.Exit(interrupted.exit_code) from interrupted


def _print(results: Results, folder: Folder) -> None:
    from zoo.core.text import RESEARCH_ONLY
    from zoo.report.sweep import sentences, sweep_table

    console = plain_console()
    console.print(sweep_table(results, console))
    for line in sentences(results):
        console.print(line)
    where = "" if folder.runs_dir == Path("runs") else f" --runs-dir {folder.runs_dir}"
    best = results.best
    if best is not None:
        console.print(f"More: zoo evaluate {best.run}{where} · zoo compare '{folder.name}-*'{where}", soft_wrap=True)
    console.print(f"Saved: {folder.path}/results.csv, sweep.json", soft_wrap=True)
    console.print(RESEARCH_ONLY)
