"""--quiet, --verbose and --debug, which every command takes, before its name or after it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import click

from zoo.core import logs

DEBUG, LEVEL = "zoo.cli.debug", "zoo.cli.level"


def show(ctx: click.Context) -> None:
    """Show log messages on standard error until the context of the `zoo` command ends."""
    ctx.with_resource(logs.shown(ctx.meta.get(LEVEL, logging.INFO)))


def verbose() -> bool:
    """Whether --verbose was given."""
    return logs.ROOT.isEnabledFor(logging.DEBUG)


def options() -> list[click.Option]:
    """The options, made anew: click keeps state in each."""
    return [
        _flag("--quiet", _level(logging.WARNING), "Print results, warnings and errors only."),
        _flag("--verbose", _level(logging.DEBUG), "Print details as well."),
        _flag("--debug", _debug, "Show the traceback of an error."),
    ]


def accept(command: click.Command) -> None:
    """Let `zoo train --quiet` and `zoo data prepare --quiet` do what `zoo --quiet train` does."""
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in options() if taken.isdisjoint(option.opts)]
    if isinstance(command, click.Group):
        for each in command.commands.values():  # those of a LazyGroup are seen to when they are loaded
            accept(each)


def _flag(name: str, remember: Callable[[click.Context], None], text: str) -> click.Option:
    def callback(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            remember(ctx)

    return click.Option([name], is_flag=True, is_eager=True, expose_value=False, callback=callback, help=text)


def _level(level: int) -> Callable[[click.Context], None]:
    def remember(ctx: click.Context) -> None:
        if ctx.meta.setdefault(LEVEL, level) != level:
            raise click.UsageError("choose one of --quiet and --verbose.")
        if ctx.parent is not None:  # behind the command's name: messages are shown already
            logs.ROOT.setLevel(level)

    return remember


def _debug(ctx: click.Context) -> None:
    ctx.meta[DEBUG] = True
