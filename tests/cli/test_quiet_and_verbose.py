"""--quiet, --verbose and how messages look on a terminal and elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from commandline import zoo

ZOO = "from zoo.cli.main import main; main()"
PREPARE = ["data", "prepare", "--data", "phantom", "--set", "data.patients=12", "--image-size", "32"]


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))


def on_terminal(code: str, *words: str) -> tuple[str, str]:
    """What Python code writes to standard output, a pipe, and to standard error, a terminal of 100 columns."""
    primary, secondary = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "100"}
    command = [sys.executable, "-c", code, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=secondary, env=environment, text=True) as process:
        os.close(secondary)
        shown = b""
        with suppress(OSError):  # as Linux reports that nobody writes to a terminal any more
            while part := os.read(primary, 65536):
                shown += part
        os.close(primary)
        assert process.stdout is not None
        return process.stdout.read(), shown.decode()


def test_quiet_prints_the_results_alone() -> None:
    loud = zoo(*PREPARE)
    assert "Preparing" in loud.stderr
    for words in (["--quiet", *PREPARE], [*PREPARE, "--quiet"]):
        quiet = zoo(*words)
        assert (quiet.exit_code, quiet.stderr) == (0, "")
        assert quiet.stdout == loud.stdout


def test_verbose_adds_details() -> None:
    zoo(*PREPARE)
    usual = zoo(*PREPARE).stderr.splitlines()
    for words in (["--verbose", *PREPARE], [*PREPARE, "--verbose"]):
        added = [line for line in zoo(*words).stderr.splitlines() if line not in usual]
        assert added == [f"Prepared images: {next(Path('cache').iterdir()).resolve()}"]


def test_quiet_keeps_errors_and_cannot_be_verbose() -> None:
    result = zoo("data", "prepare", "--quiet", "--data", "nhi")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    for words in (["--quiet", "list", "--verbose"], ["--quiet", "--verbose", "list"]):
        result = zoo(*words)
        assert result.exit_code == 2
        assert "choose one of --quiet and --verbose" in result.stderr


def test_a_terminal_gets_colour_and_a_bar_and_a_pipe_plain_lines() -> None:
    output, shown = on_terminal(ZOO, *PREPARE)
    assert "images at 32×32 once" in shown
    assert "\x1b[" in shown  # the bar
    assert "\x1b" not in output
    assert "\x1b" not in zoo(*PREPARE).stderr
    assert "\x1b[31mError: " in on_terminal(ZOO, "data", "prepare", "--data", "nhi")[1]
    assert on_terminal(ZOO, *PREPARE, "--quiet")[1] == ""


def test_messages_stand_above_the_bar_and_are_not_torn() -> None:
    code = """
import logging, time
from zoo.core.logs import shown
from zoo.core.progress import Progress
with shown(), Progress("Working", 40) as work:
    for number in range(40):
        logging.getLogger("zoo.x").info(f"message {number} of a length that would show where a bar cuts it")
        work.advance(1)
        time.sleep(0.01)
"""
    text = on_terminal(code)[1]
    for number in range(40):
        assert f"message {number} of a length that would show where a bar cuts it\r\n" in text
    assert "Working" in text
