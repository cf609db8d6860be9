"""Files that lie below a folder: what is checked is what is opened, whatever is swapped meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.core import files
from zoo.core.errors import DataError
from zoo.core.files import open_inside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a file in a folder, beside a folder of the same names."""
    for name, text in (("root", "inside"), ("elsewhere", "secret")):
        (tmp_path / name / "a").mkdir(parents=True)
        (tmp_path / name / "a/b").write_text(text)
    return tmp_path / "root"


def test_files_and_links_within_the_folder_are_read(root: Path) -> None:
    (root / "link").symlink_to("a/b")
    (root / "folder").symlink_to("a")
    for name in ("a/b", "link", "folder/b", "a/../a/b", str(root / "a/b")):
        with open_inside(root, name) as stream:
            assert stream.read() == b"inside"


@pytest.mark.parametrize("name", ["../elsewhere/a/b", "link", "folder/b", "up/elsewhere/a/b", "{elsewhere}/a/b"])
def test_what_leads_out_is_not_opened(root: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "link").symlink_to(root.parent / "elsewhere/a/b")
    (root / "folder").symlink_to("../elsewhere/a")
    (root / "up").symlink_to("..")
    monkeypatch.setattr(os, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(DataError, match="leads out of"):
        open_inside(root, name.format(elsewhere=root.parent / "elsewhere"))


def test_a_folder_beside_it_of_a_longer_name_is_outside(root: Path) -> None:
    (root.parent / "root2").mkdir()
    (root.parent / "root2/b").write_text("secret")
    with pytest.raises(DataError, match="leads out of"):
        open_inside(root, "../root2/b")


@pytest.mark.parametrize("what", ["fifo", "a"])
def test_what_is_no_regular_file_is_refused_at_once(root: Path, what: str) -> None:
    os.mkfifo(root / "fifo")
    with pytest.raises(DataError, match=f"{what} is (no regular file|a directory), which is not read"):
        open_inside(root, what)


def test_a_missing_file_is_missing(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_inside(root, "a/c")


def to_link(place: Path) -> None:
    os.rename(place, place.with_name("moved"))
    os.symlink(str(place).replace("/root", "/elsewhere"), place)


@pytest.mark.parametrize("swapped", ["a", "a/b"])
def test_what_is_swapped_between_check_and_open_is_refused(
    root: Path, swapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = os.path.realpath
    seen: list[Any] = []

    def hooked(path: Any, **options: Any) -> str:
        found = check(path, **options)
        seen.append(path)
        if len(seen) == 2:  # root and file are checked
            to_link(root / swapped)
        return found

    monkeypatch.setattr(files.os.path, "realpath", hooked)
    with pytest.raises(DataError, match="a/b became a link while it was opened"):
        open_inside(root, "a/b")


@pytest.mark.parametrize("swapped", ["a", "a/b"])
def test_no_read_gets_out_while_links_are_swapped_in_and_out(root: Path, swapped: str) -> None:
    place, end = root / swapped, time.monotonic() + 0.7
    os.symlink(str(place).replace("/root", "/elsewhere"), link := root / "link")

    def swap() -> None:
        while time.monotonic() < end:
            os.rename(place, kept := place.with_name("kept"))
            os.rename(link, place)
            os.rename(place, link)
            os.rename(kept, place)

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes: dict[str, int] = {}
    while thread.is_alive():
        outcome = _outcome(lambda: open_inside(root, "a/b"))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert outcomes.get("inside", 0) > 10, outcomes
    assert "secret" not in outcomes
    assert sum(outcomes.values()) > outcomes["inside"], outcomes


def _outcome(read: Callable[[], Any]) -> str:
    try:
        with read() as stream:
            return str(stream.read().decode())
    except (DataError, OSError) as error:
        return type(error).__name__
