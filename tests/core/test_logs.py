"""Log messages: what is shown, where, and what stays as the caller set it; progress as log messages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from loglines import log_lines

from zoo.core import logs, progress
from zoo.core.progress import Progress

LOGGER = logging.getLogger("zoo.some.module")
SILENT = """
import logging, zoo
logging.getLogger("zoo.some.module").warning("a warning")
print(logging.getLogger("zoo").handlers, logging.getLogger("zoo").level, logging.root.handlers)
"""


def test_as_a_library_zoo_shows_nothing_and_configures_nothing(run_python: Callable[..., Any]) -> None:
    done = run_python("-c", SILENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == "[<NullHandler (NOTSET)>] 0 []"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, ["a detail", "a note", "Warning: a warning", "Error: an error"]),
        (logging.INFO, ["a note", "Warning: a warning", "Error: an error"]),
        (logging.WARNING, ["Warning: a warning", "Error: an error"]),
    ],
)
def test_messages_of_the_level_go_to_standard_error(
    level: int, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with logs.shown(level):
        LOGGER.debug("a detail")
        LOGGER.info("a note")
        LOGGER.warning("a warning")
        LOGGER.error("an error")
    streams = capsys.readouterr()
    assert (streams.out, streams.err.splitlines()) == ("", expected)


def test_showing_ends_and_leaves_the_loggers_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    before = (logs.ROOT.level, logs.ROOT.propagate, list(logs.ROOT.handlers), list(logging.root.handlers))
    with logs.shown():
        assert list(logging.root.handlers) == before[3]
    assert (logs.ROOT.level, logs.ROOT.propagate, list(logs.ROOT.handlers), list(logging.root.handlers)) == before
    LOGGER.warning("unseen")
    assert capsys.readouterr().err == ""


def test_a_server_puts_the_time_before_each_message(capsys: pytest.CaptureFixture[str]) -> None:
    with logs.shown():
        logs.show_times()
        LOGGER.info("GET / 200")
    time, _, rest = capsys.readouterr().err.strip().partition(" ")
    assert rest == "GET / 200"
    assert [len(part) for part in time.split(":")] == [2, 2, 2]


def test_only_warnings_pass_meanwhile() -> None:
    with log_lines() as lines:
        with logs.only_warnings():
            LOGGER.info("left out")
            LOGGER.warning("kept")
        LOGGER.info("kept too")
    assert lines == ["Warning: kept", "kept too"]


def test_progress_without_a_terminal_is_logged_now_and_then(logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with Progress("Preparing", 3) as work:
        for _ in range(3):
            work.advance(1)
    assert len(logged) == 2  # the last image ends the work: nothing is left to wait for
    assert logged[0].startswith("Preparing: 1/3 images, ")
    assert logged[1].endswith("s left")


def test_progress_of_an_unknown_total_and_without_a_bar(logged: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with Progress("a.zip", None, unit="files") as work:
        work.advance(5)
    assert len(logged) == 1
    assert logged[0].startswith("a.zip: 5 files, ")
    with Progress("Predicting", 10, bar=False) as work:
        work.advance(5)
    assert len(logged) == 1
    assert work.done == 5
