from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from zoo.cli.main import cli
from zoo.core import limits
from zoo.core.errors import DataError, UsageError
from zoo.core.files import open_regular, read_bytes
from zoo.core.records import BadImage

PAGE = Path(__file__).parents[2] / "docs" / "security.md"


@pytest.mark.parametrize("name", limits.TABLE)
def test_what_is_at_a_limit_is_read_and_what_is_beyond_is_refused(name: str) -> None:
    limit = limits.TABLE[name]
    limits.check(name, limit.default, "a.csv")
    with pytest.raises(DataError, match=rf"^a\.csv: .* over the limit of .* {limit.variable} ") as refused:
        limits.check(name, limit.default + 1, "a.csv")
    assert limits.quantity(limit.default, limit.unit) in str(refused.value)


def test_the_environment_sets_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MAX_TABLE_COLUMNS", "1_000")
    limits.check("table_columns", 1_000, "a.csv")
    with pytest.raises(BadImage, match="1,001 columns, over the limit of 1,000 columns for a table"):
        limits.check("table_columns", 1_001, "a.csv", BadImage)


@pytest.mark.parametrize("wrong", ["0", "-1", "1e9", "1.5", "many", "٣", "_", str(2**63)])
def test_a_wrong_setting_is_an_error_of_usage(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MAX_PIXELS", wrong)
    with pytest.raises(UsageError, match=f"ZOO_MAX_PIXELS is '{wrong}', not a whole number of pixels"):
        limits.value("pixels")


@given(st.integers(0, 10**12), st.integers(0, 10**15))
def test_expansion_counts_beyond_both_of_its_limits(packed: int, unpacked: int) -> None:
    allowed = max(limits.value("expansion_from"), limits.value("expansion") * packed)
    if unpacked <= allowed:
        limits.check_expansion(packed, unpacked, "a.zip")
    else:
        with pytest.raises(DataError, match=r"a\.zip: .* or more from .*ZOO_MAX_EXPANSION "):
            limits.check_expansion(packed, unpacked, "a.zip")


def test_memory_that_runs_out_is_an_error_of_the_file() -> None:
    with pytest.raises(DataError, match=r"^a\.csv takes more memory"), limits.memory_of("a.csv"):
        raise MemoryError


def test_the_limits_in_force_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MAX_TABLE_COLUMNS", "77")
    shown = CliRunner().invoke(cli, ["info", "limits"]).stdout
    assert re.search(r"ZOO_MAX_TABLE_COLUMNS +77 columns +a table", shown)
    (found,) = json.loads(CliRunner().invoke(cli, ["info", "limits", "--json"]).stdout)
    assert {row["name"]: row["value"] for row in found["limits"]} == {
        **{name: each.default for name, each in limits.TABLE.items()},
        "table_columns": 77,
    }
    monkeypatch.setenv("ZOO_MAX_TABLE_COLUMS", "77")
    refused = CliRunner().invoke(cli, ["info", "limits"])
    assert refused.exit_code == 2
    assert "Did you mean 'ZOO_MAX_TABLE_COLUMNS'?" in refused.stderr


def test_the_page_on_security_lists_every_limit() -> None:
    rows = re.findall(r"^\| `(ZOO_MAX_\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE)
    table = limits.TABLE.values()
    assert rows == [(each.variable, limits.quantity(each.default, each.unit), each.bounds) for each in table]


def test_only_regular_files_of_the_allowed_size_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("/dev/zero")
    assert read_bytes(tmp_path / "file", "table_bytes") == b"12345"
    with pytest.raises(DataError, match=r"fifo is no regular file"):
        open_regular(tmp_path / "fifo")
    with pytest.raises(DataError, match=r"link is no regular file"):
        open_regular(tmp_path / "link")
    with pytest.raises(DataError, match=r"is a directory"):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    monkeypatch.setenv("ZOO_MAX_TABLE_BYTES", "4")
    with pytest.raises(DataError, match=r"file: 5 bytes, over the limit of 4 bytes"):
        read_bytes(tmp_path / "file", "table_bytes")
