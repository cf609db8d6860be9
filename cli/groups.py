"""Commands that consist of several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from zoo.cli.logs import accept
from zoo.core.errors import unknown

if TYPE_CHECKING:
    from zoo.cli.catalogue import Builtin


class LazyGroup(click.Group):
    """A command of several, such as `zoo data`: each of `builtins` is imported when it runs, and not to be listed."""

    def __init__(self, *args: Any, builtins: Mapping[str, Builtin], **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.builtins = builtins

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.builtins)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.builtins:
            return None
        command = self.builtins[cmd_name].load()
        accept(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not args[0].startswith("-") and args[0] not in self.builtins:
            raise unknown("command", args[0], self.builtins, f"See '{ctx.command_path} --help'.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, builtin.summary) for name, builtin in self.builtins.items()])
