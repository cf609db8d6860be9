"""`zoo evaluate`: a run's results, from its saved predictions or on another dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from zoo.cli import catalogue


@click.command()
@click.argument("run_reference", metavar="RUN")
@click.option("--split", type=click.Choice(["val", "test"]), help="Which of the run's own films [default: test].")
@click.option("--data", metavar="NAME", help="Evaluate on all films of this dataset instead.  zoo list datasets")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Where that dataset lies.")
@click.option("--set", "sets", multiple=True, metavar="data.OPTION=VALUE", help="Options of that dataset.")
@click.option(
    "--runs-dir",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    metavar="DIR",
    help="Folder of runs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def evaluate(
    run_reference: str,
    split: str | None,
    data: str | None,
    root: Path | None,
    sets: tuple[str, ...],
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Show the results of RUN (a name or a path) with 95% intervals.

    \b
    zoo evaluate NAME
    zoo evaluate NAME --data csv --root DIR         (all films of another dataset)
    """
    catalogue.warn()
    from zoo.errors import UsageError
    from zoo.run import Run

    run = Run.find(run_reference, runs_dir)
    if data is None:
        if root is not None or sets:
            raise UsageError("--root and --set say where another dataset lies: name it with --data.")
        from zoo.engine.evaluate import evaluate_split

        result = evaluate_split(run, split or "test")
    else:
        if split is not None:
            raise UsageError("--split is for the run's own films; with --data all films of the dataset are evaluated.")
        result = _evaluate_on(run, data, root, sets)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, allow_nan=False))
        return
    from zoo.cli.results import print_evaluation

    print_evaluation(result)


def _evaluate_on(run: Any, data: str, root: Path | None, sets: tuple[str, ...]) -> Any:
    from zoo.config import merge, parse_set
    from zoo.engine.evaluate import evaluate_on, parse_data
    from zoo.registry import registry

    choice = parse_data(data, root, merge(parse_set(each) for each in sets), registry())
    return evaluate_on(run, choice, root, registry(), lambda line: click.echo(line, err=True))
