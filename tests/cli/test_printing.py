"""What names from outside can do to a terminal: nothing. Through each way that text reaches one."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from commandline import zoo
from rich.text import Text

from zoo.cli.main import ZooGroup
from zoo.cli.printing import bare_table, plain_console, print_json, print_line
from zoo.core import logs
from zoo.core.errors import DataError
from zoo.core.progress import Progress
from zoo.report.card import escape
from zoo.report.cells import Lines
from zoo.report.tables import new_table

EVIL = "\x1b[31m[red]x[/red][link=http://x]\x9b2J\u202e\nError: forged\r\udcff"
SHOWN = r"\x1b[31m[red]x[/red][link=http://x]\x9b2J\u202e\nError: forged\r\udcff"


def in_table(narrow: bool) -> None:
    table = bare_table(EVIL, EVIL, numbers=[EVIL])
    table.add_row(EVIL, Text(EVIL), EVIL)
    table.title = EVIL
    console = plain_console()
    console.width = 40 if narrow else 800
    console.print(table)


def in_page_table() -> None:
    table = new_table(EVIL, EVIL, EVIL)
    table.add_row(EVIL, EVIL)
    console = plain_console()
    console.width = 400
    console.print(table)


def logged(message: str, *more: str) -> None:
    with logs.shown():
        logging.getLogger("zoo.any").warning(message, extra={logs.LINES: more})


def with_traceback() -> None:
    with logs.shown():
        try:
            raise ValueError(EVIL.replace("\n", "\x1b"))
        except ValueError:
            logging.getLogger("zoo.any").exception(EVIL)


WAYS: dict[str, Callable[[], None]] = {
    "line": lambda: print_line(EVIL),
    "console": lambda: plain_console().print(EVIL, soft_wrap=True),
    "styled": lambda: plain_console().print(EVIL, style="bold red", soft_wrap=True),
    "table": lambda: in_table(narrow=False),
    "table as lines": lambda: in_table(narrow=True),
    "page's table": in_page_table,
    "log": lambda: logged(EVIL),
    "log with lines": lambda: logged("a", EVIL),
    "traceback": with_traceback,
}


@pytest.mark.parametrize("way", WAYS)
def test_names_neither_control_the_terminal_nor_forge_a_line(way: str, capfd: pytest.CaptureFixture[str]) -> None:
    WAYS[way]()
    text = "".join(capfd.readouterr())
    assert not any(sign in text for sign in "\x1b\x9b\u202e\r\udcff")
    assert not any(line.strip().startswith("Error: forged") for line in text.splitlines())
    if way != "table as lines":  # which folds them
        assert SHOWN in text


def test_lines_of_zoos_own_stay(capsys: pytest.CaptureFixture[str]) -> None:
    table = bare_table("name", Lines("test\n1,234 images"))
    table.add_row("a", Lines("0.9\n[0.8, 1.0]"))
    plain_console().print(table)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [*lines[:2], *lines[3:5]] == [["test"], ["name", "1,234", "images"], ["a", "0.9"], ["[0.8,", "1.0]"]]


def test_json_stays_exact(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({EVIL: [EVIL]})
    text = capsys.readouterr().out
    assert json.loads(text) == {EVIL: [EVIL]}
    assert not any(sign in text for sign in "\x1b\x9b\u202e\r")


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        (DataError(EVIL, "  layout\n    below"), [f"Error: {SHOWN}", "  layout", "    below"]),
        (OSError(13, "Permission denied", EVIL), [f"Error: Permission denied: '{SHOWN}'."]),
        (click.UsageError(EVIL), [f"Error: {SHOWN}"]),
        (click.ClickException(EVIL), [f"Error: {SHOWN}"]),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("flags", [(), ("--debug",)], ids=["", "debug"])
def test_an_error_is_one_line_whatever_it_names(error: Exception, lines: list[str], flags: tuple[str, ...]) -> None:
    @click.group(cls=ZooGroup, params=logs_options())
    def group() -> None: ...

    def fail() -> None:
        raise error

    group.get_command = lambda ctx, name: click.Command("fail", callback=fail)  # type: ignore[method-assign]
    result = CliRunner().invoke(group, [*flags, "fail"])
    assert result.stderr.splitlines()[-len(lines) :] == lines
    assert not any(sign in result.stderr for sign in "\x1b\x9b\u202e\r")


def logs_options() -> list[click.Option]:
    from zoo.cli.logs import options

    return options()


def test_a_command_that_gets_such_a_file_names_it_escaped(tmp_path: Path) -> None:
    root = tmp_path / "no\x1b[31m\nError: forged"
    result = zoo("data", "audit", "--data", "folder", "--root", str(root))
    assert result.exit_code
    assert "\x1b" not in result.output
    assert r"no\x1b[31m\nError: forged" in result.stderr
    assert "Error: forged" not in result.stderr.splitlines()


def test_progress_reads_no_markup() -> None:
    from rich.console import Console

    with open(os.devnull, "w") as nowhere, Progress(EVIL, 1) as progress:
        bar = Progress._make_bar(Console(file=nowhere), True)
        bar.add_task(progress.what, total=1, rate="")
        text = "".join(str(bar.columns[0](task)) for task in bar.tasks)
    assert text == SHOWN


def test_a_model_card_shows_them_escaped() -> None:
    assert not any(sign in escape(EVIL) for sign in "\x1b\x9b\u202e\n\r")
