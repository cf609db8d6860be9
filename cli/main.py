"""The frame of the command line: finds commands, turns errors into one line and an exit code."""

from __future__ import annotations

import logging
import os
from typing import Any, NoReturn

import click

from zoo.cli import catalogue, environment, logs
from zoo.core.calls import ADVICE, culprit, describe
from zoo.core.errors import ZooError, unknown
from zoo.core.logs import LINES
from zoo.core.origins import Origin
from zoo.core.text import is_unicode, printable

logger = logging.getLogger(__name__)

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


class ZooGroup(click.Group):
    """A group whose built-in commands are imported when they run, and whose errors are one line on stderr."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*catalogue.BUILTINS, *catalogue.plugin_commands()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        builtin = catalogue.BUILTINS.get(cmd_name)
        command = builtin.load() if builtin else catalogue.plugin_commands().get(cmd_name)
        if command is not None:
            logs.accept(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            catalogue.warn()
            raise unknown("command", name, self.list_commands(ctx), "See 'zoo --help'.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = [(name, builtin.summary) for name, builtin in catalogue.BUILTINS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(lines)
        commands = catalogue.plugin_commands().items()
        added = [(printable(name), printable(command.get_short_help_str(120))) for name, command in commands]
        if added:
            with formatter.section("Commands of plugins"):
                formatter.write_dl(added)

    def invoke(self, ctx: click.Context) -> Any:
        logs.show(ctx)
        try:
            return super().invoke(ctx)
        except click.ClickException as error:  # click shows it
            vars(error)["message"] = printable(error.message)  # its stubs call it final
            raise
        except (click.exceptions.Exit, BrokenPipeError):
            raise  # these end quietly
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            _fail(ctx, error)


def _fail(ctx: click.Context, error: Exception) -> NoReturn:
    """Print an error as one line on stderr, with the traceback where --debug was given, and end."""
    if ctx.find_root().meta.get(logs.DEBUG):
        import traceback

        click.echo(printable(traceback.format_exc(), keep="\n"), err=True, nl=False)
    code, lines = 1, list[str]()
    if isinstance(error, ZooError):
        code = error.exit_code
        message, *more = map(str, error.args or ("",))
        lines = [line for text in more if text for line in text.split("\n")]
    elif where := culprit(error, registered()):
        message = f"{where}: {describe(error)}".removesuffix(".") + f". {ADVICE}"
    elif isinstance(error, UnicodeEncodeError) and not is_unicode(error.object[error.start : error.end]):
        near = error.object[max(0, error.start - 40) : error.end + 40]  # of what may be a whole file
        message = f"a name is not Unicode (UTF-8) and cannot be written: '…{near}…'. Rename it, or name a link to it."
    elif isinstance(error, OSError) and error.strerror:  # a file or a device, not a bug
        message = f"{error.strerror}: '{error.filename}'." if error.filename else f"{error.strerror}."
    else:
        message = f"internal error: {describe(error)}"
        message += "" if message.endswith(".") else "."
        message += " Run again with --debug for the traceback and report it."
    logger.error(message, extra={LINES: lines})
    ctx.exit(code)


def registered() -> tuple[Origin, ...]:
    """The plugins that are loaded."""
    from zoo.core.registry import registry

    return registry().origins


@click.group(cls=ZooGroup, params=logs.options(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cxr-zoo", prog_name="zoo", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Train, evaluate and compare chest X-ray classifiers.

    Start with 'zoo train --model mobilenetv3 --task binary': it works offline, on data that zoo makes itself.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """The `zoo` command."""
    environment.prepare()
    cli(prog_name="zoo")
