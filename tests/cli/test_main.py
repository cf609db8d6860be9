from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click
import pytest
from click.testing import CliRunner

from zoo.cli import catalogue
from zoo.cli.main import cli
from zoo.core.errors import DataError, UsageError

Run = Callable[..., "subprocess.CompletedProcess[str]"]

PLUGIN = """
import click
from zoo.core.hookspecs import hookimpl

@click.command("train", help="Steal the command.")
def train():
    click.echo("stolen")

@click.command("greet", help="Say hello.")
@click.option("--loudly", is_flag=True)
def greet(loudly):
    click.echo({}["voice"] if loudly else "hello from a plugin")

@hookimpl
def zoo_commands():
    return [train, greet]
"""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make `zoo evaluate` a command that raises the given error."""

    def make(error: BaseException) -> None:
        @click.command("evaluate")
        def evaluate() -> NoReturn:
            raise error

        monkeypatch.setattr(catalogue.Builtin, "load", lambda self: evaluate)

    return make


def test_help_lists_every_command_with_its_line() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name, builtin in catalogue.BUILTINS.items():
        assert f"  {name} " in result.output
        assert " ".join(builtin.summary.split()) in " ".join(result.output.split())


@pytest.mark.parametrize("name", list(catalogue.BUILTINS))
def test_the_line_in_help_is_the_first_of_the_command_itself(name: str) -> None:
    command = catalogue.BUILTINS[name].load()
    assert command.name == name
    assert command.help is not None
    assert " ".join(command.help.split("\n\n")[0].split()) == catalogue.BUILTINS[name].summary


def test_version_is_that_of_the_distribution() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output == f"zoo {importlib.metadata.version('cxr-zoo')}\n"


def test_unknown_command_says_the_closest_and_exits_2() -> None:
    result = CliRunner().invoke(cli, ["lits"])
    assert result.exit_code == 2
    assert "Error: unknown command 'lits'. Did you mean 'list'?" in result.stderr
    assert "zoo --help" in result.stderr


def test_unknown_option_says_the_closest_and_exits_2() -> None:
    result = CliRunner().invoke(cli, ["list", "--jsn"])
    assert result.exit_code == 2
    assert "--json" in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("images are gone"), 1, "Error: images are gone\n"),
        (UsageError("no such thing"), 2, "Error: no such thing\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "Error: Permission denied: '/x/y'.\n"),
        (
            KeyError("lost"),
            1,
            "Error: internal error: KeyError: 'lost'. Run again with --debug for the traceback and report it.\n",
        ),
        (
            ValueError("two\nlines."),
            1,
            "Error: internal error: ValueError: two lines. Run again with --debug for the traceback and report it.\n",
        ),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_an_exit_code(
    error: BaseException, code: int, said: str, failing: Callable[[BaseException], None]
) -> None:
    failing(error)
    result = CliRunner().invoke(cli, ["evaluate"])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", said)


@pytest.mark.parametrize("words", [["--debug", "evaluate"], ["evaluate", "--debug"]])
def test_debug_shows_the_traceback_on_either_side_of_the_command(
    words: list[str], failing: Callable[[BaseException], None]
) -> None:
    failing(KeyError("lost"))
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "Error: internal error: KeyError: 'lost'" in result.stderr


def test_debug_of_one_call_does_not_stick_to_the_next(failing: Callable[[BaseException], None]) -> None:
    failing(KeyError("lost"))
    CliRunner().invoke(cli, ["evaluate", "--debug"])
    assert "Traceback" not in CliRunner().invoke(cli, ["evaluate"]).stderr


def test_a_command_of_a_plugin_runs_and_cannot_replace_a_builtin(
    run_zoo: Run, make_plugin: Callable[..., Path]
) -> None:
    site = make_plugin(PLUGIN)
    assert run_zoo("greet", path=site).stdout == "hello from a plugin\n"
    lost = run_zoo("greet", "--loudly", path=site)
    assert lost.returncode == 1
    assert lost.stderr.splitlines()[-1].startswith(
        "Error: plugin stranger (stranger 2.5) failed in greet (site/stranger_plugin.py, line "
    )
    assert "KeyError: 'voice'. Tell the author of the plugin; --debug shows the traceback." in lost.stderr
    helped = run_zoo("--help", path=site)
    assert "Commands of plugins" in helped.stdout
    assert "Say hello." in helped.stdout
    assert "Steal the command." not in helped.stdout
    assert "stolen" not in run_zoo("train", "--help", path=site).stdout
    listed = run_zoo("list", path=site)
    assert listed.returncode == 0
    assert (
        "Warning: plugin stranger (stranger 2.5): the command 'train' is built in and cannot be replaced"
        in listed.stderr
    )


def test_an_unknown_command_shows_why_a_plugin_is_missing(run_zoo: Run, make_plugin: Callable[..., Path]) -> None:
    result = run_zoo("greet", path=make_plugin("import not_installed_anywhere"))
    assert result.returncode == 2
    assert "Warning: plugin stranger (stranger 2.5): ModuleNotFoundError" in result.stderr
    assert "Error: unknown command 'greet'." in result.stderr


def test_a_closed_pipe_is_quiet() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from zoo.cli.main import main; main()", "list", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    errors = process.stderr.read().decode()
    process.stderr.close()
    process.wait(timeout=60)
    assert "Traceback" not in errors
    assert "BrokenPipe" not in errors


FORBIDDEN = ("tensorflow", "keras", "jax", "torch", "pandas", "numpy", "PIL", "pydantic", "sklearn")


@pytest.mark.parametrize(
    "words", [["--help"], ["list"], ["list", "--json"], ["info", "mobilenetv3"], ["info", "phantom", "--json"]]
)
def test_looking_around_loads_no_heavy_library(words: list[str], run_python: Run) -> None:
    code = (
        "import sys\n"
        "from zoo.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print(*sorted(m for m in sys.modules if '.' not in m), file=sys.stderr)\n"
    )
    result = run_python("-c", code, *words)
    assert result.returncode == 0, result.stderr
    assert not set(FORBIDDEN) & set(result.stderr.splitlines()[-1].split())


def best_times(commands: dict[str, list[str]], rounds: int, cache: Path) -> dict[str, float]:
    """The best of several alternating runs in seconds, so that another process on the machine does not decide."""
    environment = os.environ | {"PYTHONPYCACHEPREFIX": str(cache), "PYTHONDONTWRITEBYTECODE": ""}
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(rounds):
        for name, words in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


@pytest.mark.slow
def test_zoo_list_takes_at_most_four_times_the_import_of_its_libraries(tmp_path: Path) -> None:
    commands = {
        "list": ["-c", "from zoo.cli.main import main; main()", "list"],
        "libraries": ["-c", "import click, rich, pluggy"],
    }
    best = best_times(commands, 15, tmp_path)
    assert best["list"] <= 4 * best["libraries"]


@pytest.mark.slow
def test_what_reads_saved_results_starts_in_under_a_second(tmp_path: Path) -> None:
    """Everything that the commands import before they open the first file of a run."""
    modules = {
        "evaluate": "zoo.cli.main, zoo.cli.evaluate, zoo.cli.results, zoo.runs.run, zoo.runs.results",
        "compare": "zoo.cli.main, zoo.cli.compare, zoo.runs.leaderboard, zoo.report.leaderboard",
        "report": "zoo.cli.main, zoo.cli.report, zoo.runs.results, zoo.report.page, zoo.report.card",
    }
    best = best_times({name: ["-c", f"import {names}"] for name, names in modules.items()}, 6, tmp_path)
    assert max(best.values()) < 1.0, best
