"""The options that make a configuration, for every command that trains, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import click

from zoo.cli.options import FINDINGS, PATH, WHERE
from zoo.core.errors import UsageError

Command = TypeVar("Command", bound=Callable[..., Any])
PRECISIONS = click.Choice(["auto", "float32", "mixed_float16", "mixed_bfloat16"])
OPTIONS = [
    click.option("--model", metavar="NAME", help="Network [default: mobilenetv3].  zoo list models"),
    click.option("--task", metavar="TASK", help="binary, multilabel or multiclass [default: binary]."),
    click.option("--data", metavar="NAME", help="Dataset [default: phantom, synthetic images].  zoo list datasets"),
    click.option("--root", type=PATH, metavar="DIR", help="Where the dataset lies."),
    click.option("--loss", metavar="NAME", help="Loss [default: bce, cce for multiclass].  zoo list losses"),
    click.option(
        "--augment", metavar="NAME", help="Augmenter, or several as A+B [default: standard].  zoo list augmenters"
    ),
    click.option("--recipe", metavar="NAME", help="Start from a named configuration.  zoo list recipes"),
    click.option(
        "--config",
        "config_file",
        type=PATH,
        metavar="FILE",
        help="Start from a YAML file, such as RUN/config.yaml.",
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="SECTION.OPTION=VALUE",
        help="Any option, such as model.alpha=0.75.  zoo info NAME",
    ),
    click.option(
        "--weights",
        metavar="WHICH",
        help="imagenet, none, a .keras or .weights.h5 file, or a run [default: imagenet where published; none on phantom].",
    ),
    click.option("--freeze/--no-freeze", default=None, help="Train the head alone first, at ten times --lr, then all."),
    click.option(
        "--freeze-epochs", type=int, metavar="N", help="Epochs of the head alone; implies --freeze [default: 1]."
    ),
    click.option(
        "--freeze-norm/--no-freeze-norm", default=None, help="Keep the batch normalisation of loaded weights as it is."
    ),
    click.option("--epochs", type=int, metavar="N", help="Epochs; 0 with --freeze: the head alone [default: 10]."),
    click.option("--batch-size", type=int, metavar="N", help="Images per step [default: 32]."),
    click.option(
        "--lr", type=float, metavar="RATE", help="Highest learning rate [default: 1e-3, 2e-4 on loaded weights]."
    ),
    click.option("--optimizer", metavar="NAME", help="adam, adamw, adamax or sgd [default: adam]."),
    click.option("--schedule", metavar="NAME", help="cosine, constant or plateau [default: cosine]."),
    click.option(
        "--image-size", type=int, metavar="PX", help="Height and width [default: the dataset's or the model's]."
    ),
    click.option("--limit", type=int, metavar="N", help="Use about N images, whole patients."),
    click.option("--seed", type=int, metavar="N", help="Of every random choice [default: 0]."),
    WHERE,
    FINDINGS,
    click.option(
        "--uncertain",
        type=click.Choice(["ignore", "zero", "one", "half"]),
        help="What an unknown label counts as in training [default: ignore].",
    ),
    click.option(
        "--balance",
        type=click.Choice(["none", "repeat-factor"]),
        help="Show the images of rare labels more often [default: none].",
    ),
    click.option(
        "--monitor",
        metavar="METRIC",
        help="val_auroc, auprc, loss, f1, accuracy, recall or precision picks the best epoch [default: val_auroc].",
    ),
    click.option("--patience", type=int, metavar="N", help="Stop after N epochs without a better value."),
    click.option(
        "--precision", type=PRECISIONS, help="Arithmetic of the network; auto: as measured [default: float32]."
    ),
    click.option("--jit", type=click.Choice(["auto", "on", "off"]), help="Compile with XLA [default: auto]."),
    click.option("--device", metavar="DEVICE", help="auto, cpu, gpu or gpu:N [default: auto]."),
    click.option(
        "--devices",
        metavar="DEVICES",
        help="Several that share each batch: all GPUs, a number of them, or cpu:N to try it (all, N, cpu:N).",
    ),
    click.option(
        "--deterministic/--no-deterministic",
        default=None,
        help="Repeat to the last digit on a GPU too, where that is slower; a CPU always does.",
    ),
    click.option(
        "--allow-outside/--no-allow-outside",
        default=None,
        help="Read images that a table names outside of --root (data.allow_outside).",
    ),
    click.option(
        "--drop-leaks/--no-drop-leaks", default=None, help="Set aside training images that also stand in test."
    ),
]


def configuration(command: Command) -> Command:
    """Give a command all options of a configuration; what they are given is for `configured`."""
    for each in reversed(OPTIONS):
        command = each(command)
    return command


def configured(runs_dir: Path, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The configuration as it was typed, in layers for `zoo.config.resolve.resolve`: the file below, the options above it.

    `given` holds the values of all options of `configuration`; the weights may be the name of a run in `runs_dir`.
    """
    from zoo.config.resolve import parse_set, read_file

    flags = {name: value for name, value in given.items() if value is not None}
    file, sets, root, lr, allow_outside = (
        flags.pop(name, None) for name in ("config_file", "sets", "root", "lr", "allow_outside")
    )
    weights = flags.get("weights")
    if weights and not Path(weights).exists() and (runs_dir / weights / "config.yaml").is_file():
        flags["weights"] = str(runs_dir / weights)
    if flags.get("freeze_epochs"):
        flags.setdefault("freeze", True)
    layers: list[dict[str, Any]] = [read_file(file)] if file is not None else []
    layers.append(flags)
    if root is not None:
        layers.append({"data": {"root": str(root)}})
    if lr is not None:
        layers.append({"optimizer": {"lr": lr}})
    layers.extend(parse_set(each) for each in sets or ())
    if allow_outside is not None:
        layers.append(_outside(layers, allow_outside))
    return layers


def _outside(layers: list[dict[str, Any]], allowed: bool) -> dict[str, Any]:
    """What --allow-outside means for the dataset chosen."""
    from zoo.config.resolve import resolve
    from zoo.core.registry import registry

    data = resolve(layers, registry()).data
    if not hasattr(data.options, "allow_outside"):
        flag = "--allow-outside" if allowed else "--no-allow-outside"
        raise UsageError(
            f"{flag}: the dataset '{data.name}' has no option data.allow_outside; it reads only what lies in its own layout. See "
            f"'zoo info {data.name}'."
        )
    return {"data": {"allow_outside": allowed}}


def refuse_beside_resume(ctx: click.Context, allowed: Collection[str], kept: str, otherwise: str) -> None:
    """What is resumed has its settings: refuse every option typed but those allowed, the names of parameters.

    Raises:
        UsageError: says what is `kept`, and what to do `otherwise`.
    """
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in allowed
        and parameter.name is not None
        and ctx.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"--resume goes on with {kept} and takes no {', '.join(given)}. {otherwise}")
