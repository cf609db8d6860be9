"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo.cli import catalogue
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    from zoo.core.tasks import Task
    from zoo.core.thresholds import ThresholdRule

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
METRICS = ("auroc", "auprc", "sensitivity", "specificity", "f1", "accuracy", "balanced_accuracy")
# what else a table may show: it is defined or not by what was predicted, so that means over labels cannot be ranked
SHOWN = (*METRICS, "precision", "npv", "mcc")


class Command(click.Command):
    """A command that warns of plugins that could not be loaded before it runs."""

    def invoke(self, ctx: click.Context) -> Any:
        catalogue.warn()
        return super().invoke(ctx)


def command() -> Callable[[Callable[..., Any]], Command]:
    """Make a function a command that uses plugins."""
    return click.command(cls=Command)


RUNS_DIR = click.option(
    "--runs-dir", type=PATH, default=Path("runs"), show_default=True, metavar="DIR", help="Folder that holds the runs."
)
ACCEPT_CHANGED = click.option(
    "--accept-changed",
    is_flag=True,
    help="Read predictions that were changed since the run was finished; every result says so.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
DEVICE = click.option(
    "--device", default="auto", show_default=True, metavar="DEVICE", help="auto, cpu, gpu or gpu:N for one of several."
)
RUNTIME = click.option(
    "--runtime",
    type=click.Choice(["auto", "keras", "litert", "onnx"]),
    default="auto",
    show_default=True,
    help="Inference runtime; auto: the fastest that is installed.",
)
FORCE = click.option(
    "--force", is_flag=True, help="Read DICOM files even if their tags name another body part or view."
)
CHECKPOINT_EVERY = click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Also save a checkpoint every N steps; results do not change [default: after every epoch].",
)
TRACK = click.option(
    "--track",
    multiple=True,
    metavar="NAME[=PLACE]",
    help="Log epochs and results to a tracker: tensorboard, mlflow, mlflow=URI.  zoo list trackers",
)
PREVALENCE = click.option(
    "--prevalence",
    "prevalences",
    multiple=True,
    metavar="[LABEL=]P",
    help="Also show predictive values at this prevalence: 0.1, or Effusion=0.12 for one label; may be repeated.",
)
LABELS = click.option(
    "--labels",
    type=PATH,
    metavar="FILE",
    help="A CSV file with a second set of reference labels, such as expert labels.",
)
REPLICATES = click.option(
    "--replicates", type=click.IntRange(0), default=1000, show_default=True, help="Bootstrap resamples of the patients."
)
THRESHOLDS = {
    "threshold": click.option("--threshold", type=float, metavar="P", help="Positive at this probability or above."),
    "sensitivity": click.option(
        "--sensitivity", type=float, metavar="T", help="Choose thresholds that reach this sensitivity on validation."
    ),
    "specificity": click.option(
        "--specificity", type=float, metavar="T", help="Choose thresholds that reach this specificity on validation."
    ),
    "youden": click.option(
        "--youden", is_flag=True, help="Choose thresholds by sensitivity + specificity on validation."
    ),
    "f1": click.option("--f1", is_flag=True, help="Choose thresholds by F1 on validation."),
}


def threshold_options(function: Decorated) -> Decorated:
    """Add the options for choosing thresholds; `chosen_rule` reads their values."""
    for each in reversed(THRESHOLDS.values()):
        function = each(function)
    return function


def metrics_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--metric`, which may be given several times; see `chosen_metrics`."""
    return click.option(
        "--metric",
        "metrics",
        type=click.Choice(SHOWN),
        default=["auroc"],
        show_default=True,
        multiple=True,
        help=text,
    )


def chosen_metrics(metrics: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The metric that ranks, and those that are shown beside it.

    Raises:
        UsageError: the first one cannot rank, or one is given twice.
    """
    first, *also = metrics
    if first not in METRICS:
        raise UsageError(f"--metric {first} cannot rank: give it after one that can, which are {', '.join(METRICS)}.")
    if len(set(metrics)) < len(metrics):
        raise UsageError(f"--metric is given twice for {next(m for m in metrics if metrics.count(m) > 1)}.")
    return first, tuple(also)


def chosen_rule(values: dict[str, Any]) -> ThresholdRule | None:
    """The one rule that was asked for, if any.

    Raises:
        UsageError: there are several.
    """
    from zoo.core.thresholds import ThresholdRule

    given = {name: values[name] for name in THRESHOLDS if values[name] is not None and values[name] is not False}
    if len(given) > 1:
        raise UsageError(
            f"choose one of {', '.join(f'--{name}' for name in given)}: each is a rule for the thresholds."
        )
    for name, value in given.items():
        rule: Any = "fixed" if name == "threshold" else name
        return ThresholdRule(rule) if value is True else ThresholdRule(rule, value)
    return None


def chosen_prevalence(given: tuple[str, ...], task: Task) -> dict[str, float] | None:
    """The prevalences of `--prevalence`, by label: P is that of every label without one of its own. None without the option.

    Raises:
        UsageError: one is not valid, given twice, or of a label that the task does not have.
    """
    from zoo.evaluation.operating import assumed_prevalences

    found: dict[str, float] = {}
    for each in given:
        label, _, text = each.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            raise UsageError(
                f"--prevalence takes P or LABEL=P, such as 0.1 or {task.labels[0]}=0.12, not '{each}'."
            ) from None
        if label in found:
            raise UsageError(f"--prevalence is given twice {f'for {label}' if label else 'for all labels'}.")
        found[label] = value
    if not found:
        return None
    everywhere = dict.fromkeys(task.labels, found.pop("")) if "" in found else {}
    assumed_prevalences(task, found or next(iter(everywhere.values())))
    return everywhere | found
