"""A corpus that proves the harness: one case of each kind that it must let pass, and one of each fault that it must report."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

from harness import Case, Refused, outside, zoo

from zoo.core.errors import DataError
from zoo.core.records import BadImage
from zoo.core.tables import read_table


def _nothing(folder: Path) -> None:
    """Write no file."""


def _table(folder: Path, text: str = "a,b\n1,2\n") -> None:
    (folder / "t.csv").write_text(text)


def _refuse(error: type[Exception], folder: Path) -> None:
    raise error("of the file")


def _slowly(folder: Path) -> None:
    time.sleep(60)


def _greedily(folder: Path) -> int:
    return len(bytearray(b"1") * 400_000_000)


def _child_greedily(folder: Path) -> int:
    return os.system("python3 -c \"import time; x = b'1' * 400_000_000; time.sleep(30)\"")


def _crash(folder: Path) -> None:
    os.abort()


def _write(path: str, folder: Path) -> None:
    (folder / path).write_text("x")


def _read_outside(folder: Path) -> str:
    return outside(folder).read_text()


def _through_a_link(folder: Path) -> str:
    (folder / "link").symlink_to(outside(folder))
    return (folder / "link").read_text()


def _without_following(folder: Path) -> None:
    (folder / "link").symlink_to(outside(folder))
    os.open(folder / "link", os.O_RDONLY | os.O_NOFOLLOW)


def _move(folder: Path) -> None:
    (folder / "t.csv").rename(folder.parent / "outside" / "moved")


def _value(expected: str, folder: Path) -> bool:
    return bool(read_table(folder / "t.csv")[0].loc[0, "b"] == expected)


GOOD = [
    Case("a table is read", _table, lambda folder: read_table(folder / "t.csv"), None),
    Case("a value is checked", _table, partial(_value, "2"), None),
    Case(
        "an empty table is refused",
        partial(_table, text="a,b\n"),
        lambda f: read_table(f / "t.csv"),
        r"t\.csv has no rows",
    ),
    Case("an image is refused", _nothing, partial(_refuse, BadImage), "of the file"),
    Case("a status is a refusal", _nothing, partial(_refuse, Refused), "^of the file$"),
    Case("a command answers", _nothing, lambda folder: "0.1.0" in zoo("--version"), None),
    Case("a command refuses", _nothing, lambda folder: zoo("evaluate", "none"), "Error: there is no run 'none'"),
    Case("its folder is written", _nothing, partial(_write, "file"), None),
    Case("a temporary file is written", _nothing, partial(_write, "../tmp/file"), None),
]
BAD = {  # what the harness must say of each
    Case("memory", _nothing, _greedily, None): r"took \d+ MB of memory",
    Case("memory of a child", _nothing, _child_greedily, None): r"took \d+ MB of memory",
    Case("hang", _nothing, _slowly, None): "took more than 3 s",
    Case("crash", _nothing, _crash, None): "the process ended with -6",
    Case("exit", _nothing, lambda folder: os._exit(0), "of the file"): "the process ended with 0",
    Case("internal", _nothing, partial(_refuse, KeyError), "of the file"): "internal error: KeyError",
    Case("interrupt", _nothing, partial(_refuse, SystemExit), "of the file"): "internal error: SystemExit",
    Case("silent", _table, lambda folder: read_table(folder / "t.csv"), "no rows"): "a silent pass",
    Case("words", _nothing, partial(_refuse, DataError), "of memory"): "refused without the words 'of memory'",
    Case("refused", _nothing, partial(_refuse, DataError), None): "refused, but should be read",
    Case("value", _table, partial(_value, "3"), None): "read, but not as it should be",
    Case("reads outside", _nothing, _read_outside, None): "read .*outside/secret",
    Case("reads a link", _nothing, _through_a_link, None): "read .*outside/secret",
    Case("writes outside", _nothing, partial(_write, "../outside/new"), None): "wrote .*outside/new",
    Case("moves outside", _table, _move, None): "wrote .*outside/moved",
    Case("runs a program", _nothing, lambda folder: os.system("true"), None): "ran b'true'",
}
# a failed open of a link that is not followed is an OSError, which no face may let out, and no access
BAD[Case("link not followed", _nothing, _without_following, None)] = "internal error: OSError: [^;]*$"
CASES = [*GOOD, *BAD]
