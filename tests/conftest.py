"""Fixtures that several test files share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loglines import log_lines

ROOT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as shells start their background jobs; tests of Ctrl-C, and the processes they start, must be able to hear it
    signal.signal(signal.SIGINT, signal.default_int_handler)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """What zoo logs, as the lines a user would see."""
    with log_lines() as lines:
        yield lines


@pytest.fixture
def run_python(tmp_path: Path) -> Run:
    """Run `python *words` in a fresh interpreter and an empty folder; `path` is put before its module path."""

    def run(*words: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "COLUMNS", "NO_COLOR")}
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        return subprocess.run(
            [sys.executable, *words],
            cwd=work,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    return run


@pytest.fixture
def run_zoo(run_python: Run) -> Run:
    """Run `zoo *words` in a fresh interpreter and an empty folder."""

    def run(*words: str, **keywords: object) -> subprocess.CompletedProcess[str]:
        return run_python("-c", "from zoo.cli.main import main; main()", *words, **keywords)

    return run


@pytest.fixture
def make_plugin(tmp_path: Path) -> Callable[..., Path]:
    """Write an installed distribution with one plugin module; returns the folder to put on the module path."""

    def make(code: str, name: str = "stranger", module: str = "stranger_plugin") -> Path:
        site = tmp_path / "site"
        metadata = site / f"{name}-2.5.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        (metadata / "entry_points.txt").write_text(f"[zoo]\n{name} = {module}\n")
        (site / f"{module}.py").write_text(code)
        return site

    return make
