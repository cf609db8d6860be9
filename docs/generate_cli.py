"""Write docs/cli.md from the --help of every built-in command: `python docs/generate_cli.py`."""

from __future__ import annotations

from pathlib import Path

import click

from zoo.cli.catalogue import BUILTINS
from zoo.cli.main import ZooGroup, cli

TARGET = Path(__file__).parent / "cli.md"
WIDTH = 100
TOP = """---
hide: [navigation]
---

# The command line

Made from `--help` by `python docs/generate_cli.py`; do not edit.
"""


class _Builtins(ZooGroup):
    """The group without the commands of whatever plugins are installed here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(BUILTINS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, builtin.summary) for name, builtin in BUILTINS.items()])


def page() -> str:
    """The text of docs/cli.md."""
    group = _Builtins("zoo", help=cli.help, params=cli.params, context_settings=cli.context_settings)
    top = click.Context(group, info_name="zoo", terminal_width=WIDTH, max_content_width=WIDTH, **cli.context_settings)
    parts = [TOP, _section("zoo", group.get_help(top))]
    for name in group.list_commands(top):
        command = group.get_command(top, name)
        assert command is not None
        parts += _command(command, f"zoo {name}", top)
    return "\n".join(parts)


def _command(command: click.Command, title: str, parent: click.Context) -> list[str]:
    """The section of a command, and those of its own commands."""
    context = click.Context(command, parent=parent, info_name=title.rpartition(" ")[2])
    sections = [_section(title, command.get_help(context))]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            assert each is not None
            sections += _command(each, f"{title} {name}", context)
    return sections


def _section(title: str, text: str) -> str:
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    return f"## {title}\n\n```text\n{lines}\n```\n"


if __name__ == "__main__":
    TARGET.write_text(page())
