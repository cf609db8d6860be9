"""Finished runs, trained once for all tests of the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commandline import PHANTOM, zoo

Finished = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run of each task that tests may copy, and the cache they all use."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_CACHE", str(folder / "cache"))
        for task in ("binary", "multilabel"):
            result = zoo("train", *PHANTOM, "--task", task, "--run", task, "--runs-dir", str(folder / "runs"), "--json")
            assert result.exit_code == 0, result.output
            (folder / f"{task}.json").write_text(result.stdout)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    """Run in an empty folder, with the cache of the finished runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_CACHE", str(shared / "cache"))


@pytest.fixture
def finished(shared: Path) -> Finished:
    """Put a finished run into runs/NAME; returns its results."""

    def put(name: str = "first", task: str = "binary") -> dict[str, Any]:
        shutil.copytree(shared / "runs" / task, Path("runs", name))
        return dict(json.loads((shared / f"{task}.json").read_text()))

    return put
