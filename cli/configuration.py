"""The flags of a configuration, made from its settings, for every command that trains."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from zoo.config.settings import all_settings
from zoo.core.errors import UsageError, unknown

Command = TypeVar("Command", bound=Callable[..., Any])
SETTINGS = {each.name: each for each in all_settings() if each.metadata.get("flag", True)}
FILES = (
    click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Start from a YAML file, such as RUN/config.yaml.",
    ),
    click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="SECTION.OPTION=VALUE",
        help="Set any option, such as model.alpha=0.75 (zoo info NAME, zoo info train).",
    ),
)


class Flag(click.Option):
    """A flag that shows its setting's default but is None where it is not given."""

    def __init__(self, *args: Any, default_text: str, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.default_text = default_text

    def get_help_extra(self, ctx: click.Context) -> Any:
        return {"default": self.default_text} if self.default_text else {}


class Choice(click.Choice[str]):
    """One of several words; the error for another one names the closest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            raise unknown(str(param.name if param else "value"), str(value), self.choices, "See 'zoo info train'.")
        return str(value)


def configuration(command: Command) -> Command:
    """Give a command the flags of all settings, --config and --set; `configured` reads what they are given."""
    for each in reversed([*(flag(name) for name in SETTINGS), *FILES]):
        command = each(command)
    return command


def flag(name: str) -> Callable[[Command], Command]:
    """The flag of one setting: its type, bounds or choices, default and meaning. Not given, its value is None."""
    setting = SETTINGS[name]
    word = name.replace("_", "-")
    text = f"{setting.help[0].upper()}{setting.help[1:]}."
    kind = _type(setting.hint)
    if kind is click.BOOL:
        return click.option(f"--{word}/--no-{word}", default=None, help=text)
    metavar = setting.metadata.get("metavar")
    if metavar is None:
        metavar = None if isinstance(kind, Choice) else "N" if isinstance(kind, click.types.IntParamType) else "NAME"
    default = setting.default_text if setting.default is not None or setting.metadata["none"] else ""
    return click.option(f"--{word}", type=kind, metavar=metavar, help=text, cls=Flag, default_text=default)


def _type(hint: Any) -> click.ParamType[Any]:
    """The click type of a type hint; text where it is neither a choice, nor a number, nor yes or no."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        some = [each for each in args if each is not type(None)]
        return _type(some[0]) if len(some) == 1 else click.STRING
    if origin is typing.Literal:
        return Choice(args)
    if origin is typing.Annotated:
        low, high = (_bound(args[1:], names) for names in (("ge", "gt"), ("le", "lt")))
        ranged: Any = click.IntRange if args[0] is int else click.FloatRange
        return ranged(low[0], high[0], min_open=low[1], max_open=high[1])
    return {bool: click.BOOL, int: click.INT, float: click.FLOAT}.get(hint, click.STRING)


def _bound(notes: tuple[Any, ...], names: tuple[str, str]) -> tuple[Any, bool]:
    """A bound from annotations such as Ge(0) or Gt(0), and whether it is excluded."""
    found = [(getattr(note, name), name == names[1]) for note in notes for name in names if hasattr(note, name)]
    return found[0] if found else (None, False)


def configured(runs_dir: Path, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configuration as it was typed, in layers for `zoo.config.resolve.resolve`: the file below, the flags above it.

    Args:
        runs_dir: the folder of runs; --weights may name one of them.
        given: the values of all flags of `configuration`.
    """
    from zoo.config.arguments import layers
    from zoo.config.resolve import parse_set, read_file
    from zoo.core.registry import registry
    from zoo.runs.missing import demand_plugins
    from zoo.runs.run import Run

    flags = dict(given)
    file, sets = flags.pop("config_file"), flags.pop("sets")
    if file is not None and (file.parent / "run.json").is_file():  # that of a run, which knows its plugins
        demand_plugins(Run(file.parent), registry())
    return [
        *([read_file(file)] if file is not None else []),
        *layers(flags, runs_dir),
        *(parse_set(each) for each in sets),
    ]


def refuse_beside_resume(ctx: click.Context, allowed: Collection[str], kept: str, otherwise: str) -> None:
    """Refuse every flag beside --resume but those `allowed` (names of parameters): a resumed run has its settings.

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
