"""`zoo ensemble`: finished runs joined into one that every other command accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from zoo.cli import catalogue
from zoo.cli.options import RUNS_DIR, chosen_rule, threshold_options
from zoo.core.errors import UsageError

BY = click.Choice(["mean", "weighted", "features"])


@click.command()
@click.argument("references", metavar="RUN RUN [RUN]...", nargs=-1, required=True)
@click.option(
    "--by",
    type=BY,
    help="mean or weighted: of the runs' probabilities; features: a new head on their features side by side "
    "[default: mean, with --weights weighted].",
)
@click.option(
    "--weights",
    metavar="W,W,...",
    help="What each run counts, or fitted: on validation [default, if weighted: fitted].",
)
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Epochs of the new head [default: 20].")
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Learning rate of the new head [default: 2e-3].",
)
@threshold_options
@click.option("--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, gpu or gpu:N.")
@click.option("--run", "run_name", metavar="NAME", help="Name of the new run [default: date, ensemble, task].")
@RUNS_DIR
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def ensemble(
    references: tuple[str, ...],
    by: str | None,
    weights: str | None,
    epochs: int | None,
    lr: float | None,
    device: str,
    run_name: str | None,
    runs_dir: Path,
    as_json: bool,
    **rules: Any,
) -> None:
    """Join finished runs (names or paths) into a new run: one network that takes an image and asks all of them.

    The runs must have been trained for the same task on the same images with the same split. Thresholds are chosen on
    validation, as the first run's unless said otherwise.

    \b
    zoo ensemble FIRST SECOND THIRD
    zoo ensemble FIRST SECOND --weights 2,1
    zoo ensemble FIRST SECOND --weights fitted --run joined
    zoo ensemble FIRST SECOND --by features         (concatenated features, a new head)
    """
    catalogue.warn()
    from zoo.core.registry import registry
    from zoo.engine.signals import Interrupted
    from zoo.ensemble.ensemble import Options
    from zoo.ensemble.ensemble import ensemble as join
    from zoo.runs.run import Run

    options = Options(
        by=by or ("weighted" if weights else "mean"),
        weights=_weights(weights),
        rule=chosen_rule(rules),
        epochs=epochs,
        lr=lr,
        device=device,
    )
    runs = [Run.find(each, runs_dir) for each in references]
    try:
        outcome = join(runs, options, registry(), runs_dir, run_name)
    except Interrupted as stop:
        raise click.exceptions.Exit(stop.exit_code) from stop
    if as_json:
        results = {"val": outcome.validation.to_dict(), "test": outcome.test.to_dict()}
        model = outcome.run.config()["model"]
        click.echo(json.dumps({"run": str(outcome.run.path), "ensemble": model, **results}, indent=2, allow_nan=False))
        return
    from zoo.cli.results import print_outcome

    print_outcome(outcome.run, outcome.study)


def _weights(text: str | None) -> list[float] | str | None:
    """`2,1,1` as numbers; a word stays one."""
    if text is None or text.strip() == "fitted":
        return None if text is None else "fitted"
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights are numbers such as 2,1,1, one per run, or 'fitted', not '{text}'.") from None
