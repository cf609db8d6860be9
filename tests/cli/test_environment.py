"""The command line where output is not UTF-8, a terminal is narrow, warnings are errors, and a notebook kernel passes things on."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.progress import BarColumn
from rich.table import Table

from zoo.cli import environment
from zoo.cli.printing import bare_table
from zoo.cli.terminal import TableConsole
from zoo.core.errors import ZooError
from zoo.core.progress import Progress
from zoo.data.store import default_cache
from zoo.report.cells import Lines
from zoo.report.tables import new_table

if TYPE_CHECKING:
    import subprocess

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_what_an_encoding_lacks_is_spelled_out(run_zoo: Run) -> None:
    done = run_zoo("list", "models", PYTHONIOENCODING="latin-1")  # click itself writes UTF-8 where it is told ASCII
    assert done.returncode == 0, done.stderr
    assert "224 (>=32)" in done.stdout
    refused = run_zoo("train", "--model", "é×", PYTHONIOENCODING="ascii")
    assert refused.returncode == 2
    assert "unknown model '?x'" in refused.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_json_stays_json_in_every_encoding(run_zoo: Run, encoding: str) -> None:
    done = run_zoo("info", "tiny-cnn", "--json", PYTHONIOENCODING=encoding)
    assert done.stdout.isascii()
    assert json.loads(done.stdout) == json.loads(run_zoo("info", "tiny-cnn", "--json", PYTHONIOENCODING="utf-8").stdout)
    assert "≥" in str(json.loads(done.stdout))


def test_encodings_that_have_every_character_are_known() -> None:
    assert [environment.is_unicode(each) for each in ("UTF-8", "utf8", "utf-16", None)] == [True] * 4
    assert [environment.is_unicode(each) for each in ("latin-1", "ascii", "cp1252", "ANSI_X3.4-1968")] == [False] * 4


WARN = """
import os, warnings
from zoo.cli import environment
environment.prepare()
warnings.warn("shown", DeprecationWarning)
print(os.environ["MPLBACKEND"], os.environ["PYTHONWARNINGS"])
"""


def test_warnings_are_shown_where_they_would_be_errors(run_python: Run) -> None:
    done = run_python("-c", WARN, PYTHONWARNINGS="error::UserWarning,error,ignore::ImportWarning", MPLBACKEND="inline")
    assert done.returncode == 0, done.stderr
    assert "DeprecationWarning: shown" in done.stderr
    assert done.stdout.strip() == "agg default::UserWarning,default,ignore::ImportWarning"


DRAW = """
import os
from zoo.core.quiet import import_matplotlib
matplotlib = import_matplotlib()
from zoo.report.figures import _drawing, svg
with _drawing() as (figure, axes):
    axes.plot([0, 1])
    print(svg(figure)[:4], os.environ["MPLBACKEND"], "keras" in __import__("sys").modules)
"""


def test_figures_are_drawn_whatever_backend_is_named(run_python: Run) -> None:
    done = run_python("-c", DRAW, MPLBACKEND="of-some-other-environment")
    assert done.stdout.split() == ["<svg", "of-some-other-environment", "False"], done.stderr


def test_a_user_without_a_home_folder_has_a_cache_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_entry(user: int) -> None:
        raise KeyError(user)

    for name in ("HOME", "ZOO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", no_entry)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = default_cache()
    assert found == tmp_path / f"zoo-{os.getuid()}"
    assert found.stat().st_mode & 0o777 == 0o700
    (tmp_path / f"zoo-{os.getuid() + 1}").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: found.stat().st_uid + 1)
    with pytest.raises(ZooError, match="environment variable ZOO_CACHE"):  # another user's folder is not used
        default_cache()


def results() -> Table:
    table = new_table(None, "", Lines("validation\n12 images"), Lines("test\n23 images"), gap=1)
    table.add_row("AUROC", "1.000 [.033, 1.000]", "1.000 [.216, 1.000]")
    table.add_row("sensitivity", ".143 [.006, .815]", "")
    return table


@pytest.mark.parametrize("width", [40, 24])
def test_a_table_too_wide_for_the_terminal_becomes_lines(width: int) -> None:
    console = TableConsole(width=width, highlight=False)
    with console.capture() as printed:
        console.print(results())
    said = printed.get()
    assert max(map(len, said.splitlines())) <= width
    assert said.splitlines()[:2] == ["validation: 12 images", "test: 23 images"]
    assert "AUROC validation 1.000 [.033, 1.000] test 1.000 [.216, 1.000]" in " ".join(said.split())
    assert "sensitivity validation .143 [.006, .815]" in " ".join(said.split())


def test_a_table_that_fits_stays_a_table() -> None:
    table, words = results(), bare_table("name", "meaning")
    words.add_row("pooling", "how feature maps become one vector " * 3)
    for each, width in ((table, 60), (words, 40)):
        console, plain = TableConsole(width=width), Console(width=width)
        with console.capture() as printed, plain.capture() as expected:
            console.print(each)
            plain.print(each)
        assert printed.get() == expected.get()


def test_entries_are_paragraphs_where_their_columns_do_not_fit(run_zoo: Run) -> None:
    lines = run_zoo("list", "models", COLUMNS="40", PYTHONIOENCODING="utf-8").stdout.splitlines()
    assert max(map(len, lines)) <= 40
    assert "densenet121" in lines


def test_a_narrow_terminal_shows_progress_in_numbers_alone() -> None:
    kinds = [{type(each) for each in Progress._make_bar(Console(width=width), True).columns} for width in (80, 40)]
    assert kinds[0] - kinds[1] == {BarColumn}
