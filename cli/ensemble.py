"""`zoo ensemble`: finished runs joined into one that every other command accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli.options import AS_JSON, DEVICE, RUNS_DIR, chosen_rule, command, threshold_options
from zoo.core.errors import UsageError

BY = click.Choice(["mean", "weighted", "features"])


@command()
@click.argument("references", metavar="RUN RUN [RUN]...", nargs=-1, required=True)
@click.option(
    "--by",
    type=BY,
    help="mean or weighted: average the probabilities; features: train a new head on the concatenated features "
    "[default: mean, with --weights weighted].",
)
@click.option(
    "--weights",
    metavar="W,W,...",
    help="One weight per run, or fitted: fit them on validation [default, if weighted: fitted].",
)
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Epochs of the new head [default: 20].")
@click.option(
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATE",
    help="Learning rate of the new head [default: 2e-3].",
)
@threshold_options
@DEVICE
@click.option("--run", "run_name", metavar="NAME", help="Name of the new run [default: date, ensemble, task].")
@RUNS_DIR
@AS_JSON
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
    """Combine finished runs into a new run that averages their probabilities or trains a head on their features.

    The new run is one network, and every other command takes it. The runs must share task, images and split. Thresholds are
    chosen on validation, by the rule of the first run unless you choose another.

    \b
    zoo ensemble FIRST SECOND THIRD
    zoo ensemble FIRST SECOND --weights 2,1
    zoo ensemble FIRST SECOND --weights fitted --run joined
    zoo ensemble FIRST SECOND --by features         (concatenated features, a new head)
    """
    from zoo.cli.results import report_training
    from zoo.core.registry import registry
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
    report_training(
        lambda: join(runs, options, registry(), runs_dir, run_name),
        as_json,
        lambda run: {"ensemble": run.config()["model"]},
    )


def _weights(text: str | None) -> list[float] | str | None:
    """`2,1,1` as numbers; a word stays one."""
    if text is None or text.strip() == "fitted":
        return None if text is None else "fitted"
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights are numbers such as 2,1,1, one per run, or 'fitted', not '{text}'.") from None
