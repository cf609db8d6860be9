"""`zoo report`: a run as one page and as a model card."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.options import ACCEPT_CHANGED, LABELS, PREVALENCE, RUNS_DIR, chosen_prevalence, command
from zoo.cli.printing import print_line

FOLDER = click.Path(path_type=Path, file_okay=False)


@command()
@click.argument("run_reference", metavar="RUN")
@click.option("--out", type=FOLDER, metavar="DIR", help="Where to write [default: the run's own folder].")
@click.option("--split", type=click.Choice(["val", "test"]), default="test", show_default=True, help="Which images.")
@PREVALENCE
@LABELS
@click.option("--no-images", is_flag=True, help="Leave all images out, so that the page can be shared.")
@ACCEPT_CHANGED
@RUNS_DIR
def report(
    run_reference: str,
    out: Path | None,
    split: str,
    prevalences: tuple[str, ...],
    labels: Path | None,
    no_images: bool,
    accept_changed: bool,
    runs_dir: Path,
) -> None:
    """Write a run's report as one HTML page and its model card.

    RUN is a name or a path. report.html holds everything and opens offline. model-card.md follows CLAIM 2024 and TRIPOD+AI and
    marks what its authors still have to fill in. checklists.csv and checklists.json have every item of TRIPOD+AI, CLAIM 2024
    and STARD-AI with its value, as the page does.

    \b
    zoo report NAME
    zoo report NAME --labels expert_labels.csv --out site
    """
    from zoo.report.card import OPEN, write_card
    from zoo.report.page import write_report
    from zoo.runs.results import evaluate_run
    from zoo.runs.run import Run

    run = Run.find(run_reference, runs_dir)
    prevalence = chosen_prevalence(prevalences, run.task())
    found = evaluate_run(run, split, prevalence=prevalence, labels=labels, accept_changed=accept_changed)
    target = out or run.path
    page = write_report(run, found, target, pictures=not no_images)
    card = write_card(run, found, target)
    print_line(f"{page}  ({page.stat().st_size / 1e6:.1f} MB)")
    left = card.read_text(encoding="utf-8").count(OPEN)
    print_line(f"{card}  ({left} items for its authors to fill in)")
