"""The folder of a run: how it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.core.errors import UsageError
from zoo.runs import Run


def test_a_run_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text("seed: 0\n")
    assert Run.find("mine", tmp_path) == Run.find(str(tmp_path / "mine")) == Run(tmp_path / "mine")
    with pytest.raises(UsageError, match=r"no run .mime.\. Did you mean .mine."):
        Run.find("mime", tmp_path)


def test_a_run_of_an_older_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    for name in ("config.yaml", "films.csv"):
        (tmp_path / "old" / name).write_text("")
    with pytest.raises(UsageError, match=r"made by an older zoo, whose runs cannot be read\. Train it again"):
        Run.find("old", tmp_path)
